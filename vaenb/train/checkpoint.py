"""Checkpoints: plain arrays and JSON in one .npz, written whole or not at all, never pickled."""

import dis
import hashlib
import json
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, SimpleNamespace

import numpy as np
import torch

from vaenb.errors import VaenbError
from vaenb.files import whole

LAYOUT = 3  # of the files: raised when what they hold changes


def _source() -> str:
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(p for part in ("models", "train") for p in (package / part).glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


SOURCE = _source()  # of networks and steps as imported, not as edited during a long run


def _code(function, above=()) -> str:
    """What a function does, whatever file and line it stands in.

    Its code, the functions of its closure and those of its own module that it calls by name, and
    the values among its defaults, its closure and the globals it reads, as `_told` tells them; of
    a method also its object. Functions of other modules and decorated functions are not followed.
    """
    if isinstance(function, partial):
        parts = _code(function.func, above), _told(function.args, above)
        return "|".join([*parts, _told(function.keywords, above)])
    if isinstance(function, MethodType):
        return "|".join([_code(function.__func__, above), _told(function.__self__, above)])
    if not hasattr(function, "__code__"):
        return _told(function, above)
    if any(function is known for known in above):
        return function.__name__
    code = function.__code__
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
              if not callable(value) or getattr(value, "__globals__", None) is outside
              or isinstance(value, torch.nn.Module) or _own(type(value))}
    values |= {name: cell.cell_contents for name, cell in closure}
    values |= {f"{i}": value for i, value in enumerate(function.__defaults__ or ())}
    values |= function.__kwdefaults__ or {}
    return [f"{name}={_told(value, above)}" for name, value in sorted(values.items())]


def _globals_read(code) -> set[str]:
    found = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    return found.union(*(_globals_read(c) for c in code.co_consts if hasattr(c, "co_code")))


def _constant(value) -> bool:
    if isinstance(value, tuple):
        return all(map(_constant, value))
    return value is None or isinstance(value, (bool, int, float, str, bytes))


def _told(value, above=()) -> str:
    """A value by what it holds and never by its address, so that it is the same in another run.

    Numbers and texts, lists, tuples, sets and dicts of what can be told, arrays and tensors,
    modules by their tensors, functions, data classes and name spaces, and what objects of a
    reader's own that can be called hold and do. Of all else the name or the type.
    """
    if _constant(value):
        return repr(value)
    if isinstance(value, (FunctionType, MethodType, partial)):
        return _code(value, above)
    if any(value is known for known in above):
        return "itself"
    above = (*above, value)
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist() if value.dtype.kind not in "biufc" else torch.as_tensor(value)
    if isinstance(value, torch.Tensor):
        held = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return f"{value.dtype}{tuple(value.shape)}{hashlib.sha256(held).hexdigest()}"
    if isinstance(value, dict):
        pairs = [f"{_told(k, above)}:{_told(v, above)}" for k, v in value.items()]
        return f"{{{','.join(sorted(pairs))}}}"
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_told(v, above) for v in value]
        return f"[{','.join(sorted(items) if isinstance(value, (set, frozenset)) else items)}]"
    if isinstance(value, torch.nn.Module):
        return repr(value) + _told(value.state_dict(), above) + repr(_attributes(value))
    kind = type(value)
    name = getattr(value, "__qualname__", f"{kind.__module__}.{kind.__qualname__}")
    called = callable(value) and not isinstance(value, type) and _own(kind)
    if called or is_dataclass(kind) or isinstance(value, SimpleNamespace):
        held = _told(getattr(value, "__dict__", {}), above)
        return f"{name}{held}{_code(kind.__call__, above) if called else ''}"
    return name


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
