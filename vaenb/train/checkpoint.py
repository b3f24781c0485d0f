"""Checkpoints: plain arrays and JSON in one .npz, written whole or not at all, never pickled."""

import dis
import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np

from vaenb.errors import VaenbError
from vaenb.files import whole

LAYOUT = 2  # of the files: raised when what they hold changes


def _source() -> str:
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(p for part in ("models", "train") for p in (package / part).glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


SOURCE = _source()  # of networks and steps as imported, not as edited during a long run


def _code(function, above=()) -> str:
    """What a function does, whatever file and line it stands in.

    Its code, the functions of its closure and those of its own module that it calls by name, and
    the constants among its defaults, its closure and the globals it reads. Functions of other
    modules, methods and decorated functions are not followed.
    """
    if isinstance(function, partial):
        given = repr((function.args, sorted(function.keywords.items())))
        return "|".join([_code(function.func, above), given])
    code = getattr(function, "__code__", None)
    if code is None or function in above:
        return repr(function) if code is None else function.__name__
    parts = [_code_of_constant(c) for c in code.co_consts if c != function.__doc__]
    parts += _captured(function, (*above, function))
    return "|".join([code.co_code.hex(), *code.co_names, *parts])


def _code_of_constant(constant) -> str:
    if hasattr(constant, "co_code"):
        parts = map(_code_of_constant, constant.co_consts)
        return "|".join([constant.co_code.hex(), *constant.co_names, *parts])
    return repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)


def _captured(function, above) -> list[str]:
    code, outside = function.__code__, function.__globals__
    closure = zip(code.co_freevars, function.__closure__ or (), strict=True)
    values = {name: outside[name] for name in _globals_read(code) if name in outside}
    values = {name: value for name, value in values.items()
              if _constant(value) or getattr(value, "__globals__", None) is outside}
    values |= {name: cell.cell_contents for name, cell in closure}
    values |= {f"{i}": value for i, value in enumerate(function.__defaults__ or ())}
    values |= function.__kwdefaults__ or {}
    follow = {name: _code(v, above) for name, v in values.items() if hasattr(v, "__code__")}
    plain = {name: repr(v) for name, v in values.items() if _constant(v)}
    return [f"{name}={told}" for name, told in sorted((plain | follow).items())]


def _globals_read(code) -> set[str]:
    found = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    return found.union(*(_globals_read(c) for c in code.co_consts if hasattr(c, "co_code")))


def _constant(value) -> bool:
    if isinstance(value, tuple):
        return all(map(_constant, value))
    return value is None or isinstance(value, (bool, int, float, str, bytes))


def fingerprint(loss, lr, steps, batch, clip, every, data, valid=None, *more) -> str:
    """What a member's file depends on beside its own row and model: schedule, loss and data."""
    facts = _code(loss), _code(lr), steps, batch, clip, every, *more
    digest = hashlib.sha256(repr(facts).encode())
    for part in data + (valid or ()):
        digest.update(repr((part.dtype, part.shape)).encode())
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Checkpoint:
    """One member's file in ``folder``, named by all that its path depends on.

    That is `fingerprint`, the row, the model's first values, the source of vaenb's networks and
    training, and the methods of a reader's own modules.
    """

    def __init__(self, folder, prints: str, row: dict, model):
        layout = [(n, tuple(t.shape)) for n, t in model.state_dict().items()]
        initial = hashlib.sha256()
        for tensor in model.state_dict().values():
            initial.update(tensor.cpu().contiguous().numpy().tobytes())
        facts = [prints, sorted(row.items()), layout, repr(model), initial.hexdigest(), SOURCE]
        name = repr(tuple(facts + _attributes(model) + _methods(model)))
        self.path = Path(folder) / f"{hashlib.sha256(name.encode()).hexdigest()[:20]}.npz"

    def load(self):
        """(arrays, facts), or None when there is no checkpoint yet.

        Raises VaenbError when the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with open(self.path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(str(arrays.pop("facts")))
        except Exception as error:  # zipfile and zlib have error types of their own
            raise self.damaged(error) from None
        if facts.get("layout") != LAYOUT:
            raise VaenbError(
                f"the checkpoint {self.path} was written by another version of vaenb: delete it "
                f"and run again, or finish the run with that version"
            )
        return arrays, facts

    def damaged(self, reason) -> VaenbError:
        """What to raise for a file that is not what was saved."""
        told = " ".join(str(reason).split())
        return VaenbError(
            f"the checkpoint {self.path} is damaged ({told}): delete it and run again")

    def save(self, tensors: dict, facts: dict) -> None:
        """Write beside the old file, then replace it: a reader sees the old one or the new one.

        Raises VaenbError when it cannot be written; the old file stays.
        """
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        try:
            with whole(self.path) as file:
                np.savez(file, facts=np.array(json.dumps(facts | dict(layout=LAYOUT))), **arrays)
        except OSError as error:
            raise VaenbError(
                f"the checkpoint {self.path} cannot be written ({error.strerror or error}): make "
                f"room there and run again; the last one saved is whole"
            ) from None


def _own(kind: type) -> bool:
    """Whether a class is a reader's: torch's and vaenb's show or name theirs."""
    return kind.__module__.split(".")[0] not in ("torch", "vaenb", "builtins", "typing", "abc")


def _methods(model) -> list:
    """What the methods of a reader's own modules do."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__ if _own(kind)}
    return [(kind.__qualname__, name, _code(value))
            for kind in sorted(kinds, key=lambda kind: kind.__qualname__)
            for name, value in sorted(vars(kind).items()) if hasattr(value, "__code__")]


def _attributes(model) -> list:
    """Numbers and strings that a reader's own modules hold beside their tensors."""
    found = []
    for place, module in model.named_modules():
        if _own(type(module)):
            found += [
                (place, name, value)
                for name, value in sorted(vars(module).items())
                if name[0] != "_" and name != "training" and _constant(value)
            ]
    return found
