"""Checkpoints: plain arrays and JSON in one .npz, written whole or not at all, never pickled."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from vaenb.errors import VaenbError


def _code(function) -> str:
    """What a function does, whatever file and line it stands in."""
    code = getattr(function, "__code__", None)
    if code is None:
        return repr(function)
    parts = [_code_of_constant(c) for c in code.co_consts if c != function.__doc__]
    return "|".join([code.co_code.hex(), *code.co_names, *parts])


def _code_of_constant(constant) -> str:
    if hasattr(constant, "co_code"):
        return "|".join([constant.co_code.hex(), *constant.co_names, *map(_code_of_constant, constant.co_consts)])
    return repr(constant)


def fingerprint(loss, lr, steps, batch, clip, every, data) -> str:
    """What a member's path depends on beside its own row and model: schedule, loss and data."""
    digest = hashlib.sha256(repr((_code(loss), _code(lr), steps, batch, clip, every)).encode())
    for part in data:
        digest.update(repr((part.dtype, part.shape)).encode())
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Checkpoint:
    """One member's file in ``folder``, named by all that its path depends on."""

    def __init__(self, folder, prints: str, row: dict, model):
        layout = [(n, tuple(t.shape)) for n, t in model.state_dict().items()]
        initial = hashlib.sha256()
        for tensor in model.state_dict().values():
            initial.update(tensor.cpu().contiguous().numpy().tobytes())
        name = repr((prints, sorted(row.items()), layout, repr(model), initial.hexdigest()))
        self.path = Path(folder) / f"{hashlib.sha256(name.encode()).hexdigest()[:20]}.npz"

    def load(self):
        """(arrays, facts), or None when there is no checkpoint yet.

        Raises VaenbError when the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return arrays, json.loads(str(arrays.pop("facts")))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise VaenbError(f"the checkpoint {self.path} is damaged ({error}): delete it and run again") from None
        except Exception as error:  # zipfile and zlib have error types of their own
            raise VaenbError(f"the checkpoint {self.path} is damaged ({error}): delete it and run again") from None

    def save(self, tensors: dict, facts: dict) -> None:
        """Write beside the old file, then replace it: a reader sees the old one or the new one.

        Raises VaenbError when it cannot be written; the old file stays.
        """
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        temporary = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                np.savez(file, facts=np.array(json.dumps(facts)), **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise VaenbError(
                f"the checkpoint {self.path} cannot be written ({error.strerror}): make room there "
                f"and run again; the last one saved is whole"
            ) from None
