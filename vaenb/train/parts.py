"""Steps of parts of a model, and a loop of one's own that can be stopped at any moment.

For training that `fit` does not know, such as an encoder that moves many times before the decoder
moves once: the loop stands in its chapter, and these are its steps.
"""

import math
import time

import torch

from vaenb.errors import OutOfTime, VaenbError
from vaenb.train.checkpoint import Checkpoint
from vaenb.train.loop import SAVE_SECONDS, pause_after


class NotFinite(VaenbError):
    """A loss or a parameter that is no number any more: training stops there."""


class Parts:
    """A model in named ``parts`` (modules), each with an optimiser of its own.

    ``make_optimiser`` gives one from parameters: a `torch.optim.SGD` or `Adam`, say, by a lambda.
    ``clip`` is the largest norm of the gradient of all parts together, whichever of them then
    moves; 0: none. Raises VaenbError for parameters in two parts or in none.
    """

    def __init__(self, model, make_optimiser, clip: float = 0.0, **parts):
        if "best" in parts:
            raise VaenbError("no part can be called 'best', which names what a loop keeps: take "
                             "another name")
        self.model, self.make, self.clip = model, make_optimiser, clip
        self.parameters = {name: list(part.parameters()) for name, part in parts.items()}
        together = [id(p) for group in self.parameters.values() for p in group]
        if sorted(together) != sorted(id(p) for p in model.parameters()):
            raise VaenbError(f"the parts {', '.join(parts)} must hold each parameter of the model "
                             f"once: some are in two of them or in none")
        self.renew()

    def renew(self, scale: float = 1.0) -> None:
        """Optimisers without memory; their learning rates ``scale`` times the first ones."""
        self.optimisers = {n: self.make(group) for n, group in self.parameters.items()}
        for name in self.optimisers:
            self.speed(name, scale)

    def speed(self, name: str, scale: float) -> None:
        """Multiply the learning rate of a part."""
        for group in self.optimisers[name].param_groups:
            group["lr"] *= scale

    def step(self, loss: torch.Tensor, *names: str) -> dict[str, torch.Tensor]:
        """Follow the gradient of ``loss`` [] with the named parts; the others stand still.

        Returns the norm [] of each part's gradient before clipping, tensors on the device.
        Raises VaenbError for a name that no part has.
        """
        for name in names:
            if name not in self.optimisers:
                raise VaenbError(f"there is no part {name!r} to move: the parts are "
                                 f"{', '.join(self.optimisers)}")
        every = [p for group in self.parameters.values() for p in group]
        for p in every:  # a walk through the modules would cost 1 to 2 % of a small model's step
            p.grad = None
        loss.backward()
        norms = {name: _norm(group, loss) for name, group in self.parameters.items()}
        if self.clip:
            whole = torch.linalg.vector_norm(torch.stack(list(norms.values())))
            torch.nn.utils.clip_grads_with_norm_(every, self.clip, whole)
        for name in names:
            self.optimisers[name].step()
        return norms

    def told(self) -> list:
        """What a path depends on beside model and data: clip, and each part's optimiser."""
        return [self.clip, *((name, type(optimiser).__name__, len(self.parameters[name]),
                              sorted(optimiser.defaults.items()))
                             for name, optimiser in self.optimisers.items())]

    def arrays(self) -> dict[str, torch.Tensor]:
        """Parameters, buffers and the optimisers' memory, by name, each in its own shape."""
        found = {f"model.{n}": t for n, t in self.model.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            for k, memory in optimiser.state_dict()["state"].items():
                found |= {f"{name}.{k}.{key}": torch.as_tensor(v) for key, v in memory.items()
                          if v is not None}
            rates = [group["lr"] for group in optimiser.param_groups]
            found[f"{name}.lr"] = torch.tensor(rates, dtype=torch.float64)
        return found

    def load(self, arrays: dict) -> None:
        """Take over what `arrays` gave (tensors or NumPy arrays)."""
        arrays = {n: torch.as_tensor(a) for n, a in arrays.items()}
        self.model.load_state_dict({n.removeprefix("model."): a for n, a in arrays.items()
                                    if n.startswith("model.")})
        for name, optimiser in self.optimisers.items():
            memory: dict = {}
            for key, value in arrays.items():
                if key.startswith(f"{name}.") and key != f"{name}.lr":
                    k, _, what = key.removeprefix(f"{name}.").partition(".")
                    memory.setdefault(int(k), {})[what] = value.clone()
            optimiser.load_state_dict(optimiser.state_dict() | dict(state=memory))
            for group, lr in zip(optimiser.param_groups, arrays[f"{name}.lr"], strict=True):
                group["lr"] = float(lr)


def _norm(parameters, like):
    """The norm [] of the gradient of some parameters: 0, on ``like``'s device, where none has
    one."""
    grads = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(grads) if grads else like.new_zeros(())


class Saved:
    """What a loop needs to go on after an interruption, in one file of ``folder`` (None: none).

    ``row`` (dict of numbers and strings) and ``prints`` name the file, with the optimisers of
    ``parts``: everything that the path depends on. ``facts`` holds what the loop itself counts
    (JSON), ``best`` the arrays that it wants kept, under names of its own. As

        saved = Saved(folder, parts, row, prints, dict(epoch=0, at=0))
        while saved.facts["epoch"] < epochs: ...
            saved.tick()
    """

    def __init__(self, folder, parts: Parts, row: dict, prints: str, facts: dict,
                 deadline: float | None = None):
        self.parts, self.row, self.facts, self.deadline = parts, row, dict(facts), deadline
        self.best: dict[str, torch.Tensor] = {}
        prints = f"{prints} {parts.told()}"
        self.store = folder and Checkpoint(folder, prints, row, parts.model)
        found = self.store.load() if self.store else None
        if found:
            arrays, self.facts = found
            self.facts.pop("layout", None)
            self.best = {n.removeprefix("best."): torch.as_tensor(a) for n, a in arrays.items()
                         if n.startswith("best.")}
            try:
                parts.load({n: a for n, a in arrays.items() if not n.startswith("best.")})
            except (LookupError, RuntimeError, TypeError, ValueError) as error:
                raise self.store.damaged(error) from None
        self.last, self.pause = time.monotonic(), SAVE_SECONDS

    def tick(self) -> None:
        """Save if half a minute has passed since the last time, or longer where saving is slow.

        Raises `OutOfTime` after the deadline, when all is saved, and `NotFinite` as `save`.
        """
        clock = time.monotonic()
        late = self.deadline is not None and clock > self.deadline
        if late or clock - self.last > self.pause:
            self.save()
            self.pause = pause_after(self.last - clock)
        if late:
            raise OutOfTime("time is up: run the same command again to go on")

    def save(self) -> None:
        """Save now. Raises `NotFinite` where a parameter is no longer finite; what was saved
        before stays."""
        self.check()
        if self.store:
            best = {f"best.{n}": t for n, t in self.best.items()}
            self.store.save(self.parts.arrays() | best, self.facts)
        self.last = time.monotonic()

    def close(self) -> None:
        """Save for the last time: the parameters as they stand and what was kept beside them, but
        no other model (``best``'s names in "model.") and no optimiser's memory."""
        self.best = {n: t for n, t in self.best.items() if not n.startswith("model.")}
        self.parts.renew()
        self.save()

    def check(self, loss: float = 0.0) -> None:
        """Raises `NotFinite` if ``loss`` (a number, of a whole part, say) or a parameter is not
        finite."""
        fine = math.isfinite(loss) and all(
            bool(p.isfinite().all()) for p in self.parts.model.parameters())
        if not fine:
            names = dict(epoch="epoch", at="batch", steps="step")
            at = {name: self.facts[k] for k, name in names.items() if k in self.facts}
            where = ", ".join(f"{k} {v}" for k, v in (at | self.row).items())
            raise NotFinite(f"training met a number that is not finite (by {where}): what was "
                            f"saved before is kept; take a smaller learning rate")
