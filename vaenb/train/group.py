"""Members of a sweep in lockstep: one tensor dimension for parameters, moments, settings, noise.

A group of one runs the author's module as it is. A larger one runs the same module and the same
loss under `torch.func`, with every parameter stacked on a leading dimension. Either way the state
is four matrices with a row a member, and the same Adam moves them.
"""

import copy
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call, vjp, vmap

from vaenb.data import unit
from vaenb.errors import VaenbError
from vaenb.train.rng import Rng, key


class Settings(SimpleNamespace):
    """The row of a member, as a loss sees it; a name that the row has not is an error."""

    def __getattr__(self, name):
        raise MissingSetting(
            f"hp.{name} is asked for and the rows of the sweep have {', '.join(vars(self))}: give "
            f"every row a {name!r}")


class MissingSetting(VaenbError, AttributeError):
    """A setting that a loss or schedule asks for and no row has."""


class Work(NamedTuple):
    """What all members of a sweep have in common; see `vaenb.train.fit`."""

    loss: Callable
    data: tuple[torch.Tensor, ...]
    valid: tuple[torch.Tensor, ...] | None
    steps: int
    batch: int
    lr: object
    every: int
    best: str

    @property
    def device(self) -> torch.device:
        """Where the data lie, and so where members train."""
        return self.data[0].device


def initial(make_model, seed: int) -> nn.Module:
    """The model of a seed, by torch's own generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = make_model()
    if not any(True for _ in model.parameters()):
        raise VaenbError("the model has no parameters to train")
    return model


class Group:
    """E members: ``p``, ``g``, ``m``, ``v`` [E, P] hold parameters, gradients and moments.

    ``models[k]`` becomes a view of row k. Nothing in `step` reads a value back from the device.
    ``stacked`` says which of the two ways a step takes: the plain one is for one member.
    """

    def __init__(self, models: list[nn.Module], rows: list[dict], work: Work, stacked: bool):
        where = work.device
        self.models = [model.to(where).train() for model in models]
        self.rows, self.work, self.stacked, count = rows, work, stacked, len(rows)
        self.p = torch.stack([_flat(model) for model in self.models])
        self.g, self.m, self.v = (torch.zeros_like(self.p) for _ in range(3))
        self.params, self.grads, start = {}, {}, 0
        for name, param in self.models[0].named_parameters():
            shape, stride = (count, *param.shape), (self.p.shape[1], *_dense(param).stride())
            self.params[name] = self.p.as_strided(shape, stride, start)
            self.grads[name] = self.g.as_strided(shape, stride, start)
            start += param.numel()
        each = [dict(model.named_buffers()) for model in self.models]
        self.buffers = {name: torch.stack([buffers[name] for buffers in each])
                        for name, first in each[0].items() if first.numel()}
        for k, model in enumerate(self.models):
            self._bind(model, k)
        self.bound = _Bound(self.models[0])
        self.trained = {n for n, p in self.models[0].named_parameters() if p.requires_grad}
        self.alive = torch.ones(count, dtype=torch.bool, device=where)
        self.clock = torch.zeros((), dtype=torch.int64, device=where)
        self.hp = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            whole = all(isinstance(value, int) for value in values)
            kind = torch.int64 if whole else self.p.dtype
            self.hp[name] = torch.tensor(values, device=where, dtype=kind)
        self.order = torch.zeros(count, len(work.data[0]), dtype=torch.int64, device=where)
        self.columns = torch.arange(work.batch, device=where)
        self.totals, self.history, self.looked = {}, [{} for _ in rows], False
        self.t, self.logged, self.seconds = 0, [True] * count, [0.0] * count
        self.best_p = self.p.clone() if work.best else None
        self.best_buffers = {n: b.clone() for n, b in self.buffers.items()} if work.best else {}
        self.best = [(math.inf, 0)] * count

    def __len__(self) -> int:
        return len(self.rows)

    def _bind(self, model, k):
        """Let a module's tensors be row k of the stacked ones."""
        for name, param in model.named_parameters():
            param.data, param.grad = self.params[name][k], self.grads[name][k]
        for name, stacked in self.buffers.items():
            place, _, leaf = name.rpartition(".")
            model.get_submodule(place)._buffers[leaf] = stacked[k]

    def shuffle(self):
        """The order of the epoch that begins: keyed by seed and epoch."""
        count = len(self.work.data[0])
        epoch, seen = self.t // (count // self.work.batch), {}
        for k, row in enumerate(self.rows):
            seed = row["seed"]
            if seed not in seen:
                rng = Rng(key(seed, "order", epoch, self.p.device))
                seen[seed] = rng.bits(count).argsort()
            self.order[k].copy_(seen[seed])

    def step(self):
        """One Adam step of every member that is alive (Kingma & Ba 2015)."""
        work = self.work
        per_epoch = len(work.data[0]) // work.batch
        picked = self.order[:, (self.clock % per_epoch) * work.batch + self.columns]
        x = tuple(_floats(d[picked]) for d in work.data)
        before = {n: b.clone() for n, b in self.buffers.items()}
        rate = self._rate()
        value, extras = self._stacked(x) if self.stacked else self._plain(x)
        norm = torch.linalg.vector_norm(self.g, dim=1)
        self.alive &= norm.isfinite() & value.isfinite()
        for name, buffer in self.buffers.items():
            buffer.copy_(torch.where(_column(self.alive, buffer), buffer, before[name]))
        self.clock += 1
        self._adam(rate)
        for name, scalar in {"loss": value, **extras}.items():
            if name in self.totals:
                self.totals[name] += scalar
            else:
                self.totals[name] = scalar.clone()

    def _adam(self, rate):
        """One step of torch's own fused Adam for each member; it skips those not alive."""
        step, dead = self.clock.float(), (~self.alive).float()
        for k in range(len(self)):
            torch._fused_adam_(
                [self.p[k]], [self.g[k]], [self.m[k]], [self.v[k]], [], [step], lr=rate[k],
                beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
                found_inf=dead[k],
            )  # fmt: skip

    def _rate(self):
        """Each member's learning rate: the common one, or what the function of ``hp`` says."""
        if not callable(self.work.lr):
            return [self.work.lr] * len(self)
        if not self.stacked:
            hp = {n: h[0] for n, h in self.hp.items()}
            return [self.work.lr(Settings(**hp, step=self.clock))]
        return vmap(lambda hp: torch.as_tensor(
            self.work.lr(Settings(**hp, step=self.clock)), device=self.p.device
        ))(self.hp)  # fmt: skip

    def _keys(self, purpose, index):
        return key(self.hp["seed"], purpose, index, self.p.device)

    def _plain(self, x):
        """Loss [1], extras, and the gradient in ``g``, of the module as it is."""
        self.g.zero_()
        hp = {n: h[0] for n, h in self.hp.items()}
        rng = Rng(self._keys("noise", self.clock)[0])
        hp = Settings(**hp, rng=rng, step=self.clock)
        x, before = _unwrap(tuple(d[0] for d in x)), self.looked or _torch_state()
        value, extras = _checked(self.work.loss(self.models[0], x, hp))
        if before != (self.looked or _torch_state()):
            raise VaenbError("the loss, or a layer such as dropout, draws from torch's own "
                             "generator, which no seed of a sweep keys: draw from hp.rng, such as "
                             "hp.rng.normal_like(mean)")
        self.looked = True  # once is enough, and another thread may draw later
        value.backward()
        return value.detach()[None], {n: e.detach()[None] for n, e in extras.items()}

    def _stacked(self, x):
        """The same for all members at once: [E], through vmap of each one's own gradient."""

        def member(params, buffers, x, hp, k):
            hp = Settings(**hp, rng=Rng(k), step=self.clock)

            def objective(trained):
                moved = {n: b.clone() for n, b in buffers.items()}
                value, extras = _checked(
                    self.bound.call(params | trained, moved, self.work.loss, _unwrap(x), hp))
                return value, (value.detach(), extras, moved)

            trained = {n: p for n, p in params.items() if n in self.trained}
            value, back, told = vjp(objective, trained, has_aux=True)
            # func.grad would build a graph of the gradient: two to four times the memory
            gradient = back(torch.ones_like(value), retain_graph=False, create_graph=False)[0]
            return gradient, *told

        gradient, value, extras, moved = vmap(member)(
            self.params, self.buffers, x, self.hp, self._keys("noise", self.clock)
        )
        for name, grad in gradient.items():
            self.grads[name].copy_(grad)
        for name, buffer in moved.items():
            self.buffers[name].copy_(buffer)
        return value, {n: e.detach() for n, e in extras.items()}

    @torch.no_grad()
    def validate(self) -> dict:
        """Means of what the loss returns over the validation data: name -> [E].

        In evaluation mode, with the same noise each time; a smaller last batch weighs less.
        """
        work, sums, count = self.work, {}, len(self.work.valid[0])
        self.models[0].eval()
        for i in range(0, count, work.batch):
            part = _unwrap(tuple(_floats(d[i : i + work.batch]) for d in work.valid))
            keys = self._keys("evaluation", torch.full_like(self.hp["seed"], i))

            def settings(hp, k):
                return Settings(**hp, rng=Rng(k), step=self.clock)

            def member(params, buffers, hp, k, part=part):
                return self.bound.call(params, buffers, work.loss, part, settings(hp, k))

            if self.stacked:
                buffers = {n: b.clone() for n, b in self.buffers.items()}
                value, extras = vmap(member)(self.params, buffers, self.hp, keys)
            else:
                hp = settings({n: h[0] for n, h in self.hp.items()}, keys[0])
                value, extras = work.loss(self.models[0], part, hp)
            weight = min(work.batch, count - i) / count
            for name, scalar in {"loss": value, **extras}.items():
                sums[name] = sums.get(name, 0) + scalar * weight
        self.models[0].train()
        return {f"valid_{name}": total.reshape(-1) for name, total in sums.items()}

    def log(self):
        """Close a logging window: the only place that waits for the device.

        A member that broke has its last entry in the window in which it did.
        """
        window = (self.t - 1) % self.work.every + 1
        checked = self.validate() if self.work.valid else {}
        told = {n: (v / window).tolist() for n, v in self.totals.items()}
        told |= {n: v.tolist() for n, v in checked.items()}
        alive, kept = self.alive.tolist(), f"valid_{self.work.best}"
        if self.work.best and kept not in told:
            names = ", ".join(n.removeprefix("valid_") for n in checked)
            raise VaenbError(
                f"the loss returns no {self.work.best!r} to keep the best of: {names}"
            )
        for k, history in enumerate(self.history):
            if self.logged[k]:
                history.setdefault("step", []).append(self.t)
                for name, values in told.items():
                    history.setdefault(name, []).append(values[k])
                if self.work.best and alive[k]:
                    self._judge(k, told[kept][k])
        self.logged = alive
        for total in self.totals.values():
            total.zero_()

    def _judge(self, k, value):
        """Keep the parameters of the best validation."""
        if value < self.best[k][0]:
            self.best[k] = value, self.t
            self.best_p[k].copy_(self.p[k])
            for name, kept in self.best_buffers.items():
                kept[k].copy_(self.buffers[name][k])

    def state(self, k: int) -> dict:
        """What a resumed run needs of member k, as tensors: the moments until it has ended."""
        found = dict(p=self.p[k], alive=self.alive[k])
        if self.t < self.work.steps and self.logged[k]:
            found |= dict(m=self.m[k], v=self.v[k])
        found |= {f"buffer.{n}": b[k] for n, b in self.buffers.items()}
        if self.work.best:
            found |= {f"best.{n}": b[k] for n, b in self.best_buffers.items()}
            found["best_p"] = self.best_p[k]
        return found

    def facts(self, k: int) -> dict:
        """The same as plain numbers."""
        told = {n: (t[k].item(), str(t.dtype).removeprefix("torch."))
                for n, t in self.totals.items()}
        return dict(t=self.t, seconds=self.seconds[k], history=self.history[k], totals=told,
                    logged=self.logged[k], best=self.best[k])  # fmt: skip

    def load(self, k: int, arrays: dict, facts: dict):
        """Put member k where a checkpoint left it, in place. Raises LookupError where that lacks
        something."""
        self.t, self.logged[k] = facts["t"], facts["logged"]
        for name, mine in self.state(k).items():
            if name not in arrays or arrays[name].size != mine.numel():
                raise LookupError(f"{name!r} is missing or of another size")
            mine.copy_(torch.from_numpy(arrays[name]).view_as(mine))
        for name, (value, kind) in facts["totals"].items():
            if name not in self.totals:
                self.totals[name] = torch.zeros_like(self.alive, dtype=getattr(torch, kind))
            self.totals[name][k] = value
        self.seconds[k], self.history[k] = facts["seconds"], facts["history"]
        self.clock.fill_(self.t)
        self.best[k] = tuple(facts["best"])

    def model(self, k: int) -> nn.Module:
        """Member k as an ordinary module, in evaluation mode."""
        for param in self.models[k].parameters():
            param.grad = None
        return self.models[k].eval()

    def best_model(self, k: int) -> nn.Module | None:
        """Member k as it was at its best validation; None if none was asked for or none came."""
        if not self.best[k][1]:
            return None
        model, start = copy.deepcopy(self.models[k]), 0
        for param in model.parameters():
            part = self.best_p[k, start : start + param.numel()]
            param.data.copy_(part.as_strided(param.shape, param.stride()))
            start += param.numel()
        for name, buffer in model.named_buffers():
            if name in self.best_buffers:
                buffer.copy_(self.best_buffers[name][k])
        return model.eval()


class _Bound(nn.Module):
    """Lets `functional_call` swap the weights under any function of the model."""

    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, function, *arguments):
        return function(self.inner, *arguments)

    def call(self, params, buffers, function, *arguments):
        tensors = {f"inner.{n}": t for n, t in (params | buffers).items()}
        return functional_call(self, tensors, (function, *arguments))


def _checked(found):
    """What a loss returned. Raises VaenbError for what is not (tensor, dict of tensors)."""
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
        raise VaenbError("the loss must return a pair: the loss [] and a dict of what to log")
    for name, value in (("the loss", found[0]), *found[1].items()):
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            raise VaenbError(f"{name}, which the loss returns, is {value!r:.60} and must be a "
                             f"tensor of one number, without .item()")
    return found


def _torch_state() -> bytes:
    """Where torch's own generator stands (the CPU's: read without waiting for a GPU)."""
    return torch.get_rng_state().numpy().tobytes()


def _dense(param):
    return param.detach().clone()


def _flat(model):
    """All parameters as one vector, each as it lies in memory."""
    dense = [_dense(p) for p in model.parameters()]
    return torch.cat([d.as_strided((d.numel(),), (1,)) for d in dense])


def _column(mask, like):
    return mask.view(-1, *[1] * (like.dim() - 1))


def _floats(d):
    return unit(d) if d.dtype == torch.uint8 else d


def _unwrap(parts):
    return parts[0] if len(parts) == 1 else parts
