"""`fit`: train one setting or a list of settings of one model, seeded, resumable, without waiting.

The contract: an ordinary module, and ``loss(model, x, hp) -> (scalar, dict of scalars)`` written
for one model, one batch ``x`` and one row of settings, reached as ``hp.beta`` and so on, beside
``hp.rng`` (noise that depends on seed and step alone) and ``hp.step`` (training steps done). A
member's path depends on its own row and nothing else. This is the plain backend: one member after
another.
"""

import math
import sys
import time
from types import SimpleNamespace

import torch

from vaenb.data import unit
from vaenb.errors import VaenbError
from vaenb.train.checkpoint import Checkpoint, fingerprint
from vaenb.train.rng import Rng, key

SAVE_SECONDS = 30.0  # an interrupted run loses at most this much work


class OutOfTime(Exception):
    """The deadline came: the state is saved, and the same call goes on from there."""


def device(name: str = "auto") -> torch.device:
    """"auto" (a GPU when there is one), "cpu" or "cuda".

    Raises VaenbError when it is unknown or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise VaenbError(f"device {name!r} is unknown: take auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise VaenbError("device cuda was asked for and torch sees no GPU: take auto or cpu")
    return torch.device(name)


_choose = device  # `fit` has an argument of that name


class Runs:
    """What `fit` returns: ``runs[k]`` is the trained module of row k, in evaluation mode.

    ``settings[k]``, ``history[k]`` (dict of equal-length lists: step, loss, what the loss
    returned, valid_...; each entry is the mean over the steps since the one before), ``alive[k]``
    (False: the member met a number that is not finite and stands still since), ``seconds[k]`` of
    training.
    """

    def __init__(self):
        self.models, self.settings, self.history, self.alive, self.seconds = [], [], [], [], []

    def __getitem__(self, k: int) -> torch.nn.Module:
        return self.models[k]

    def __len__(self) -> int:
        return len(self.models)


class _Member:
    """One model in training: its parameters, gradients and moments as flat vectors."""

    def __init__(self, make_model, row, where):
        self.row = {"seed": 0, **row}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.row["seed"])
            self.model = make_model()
        self.model.to(where).train()
        params = list(self.model.parameters())
        if not params:
            raise VaenbError("the model has no parameters to train")
        dense = [p.detach().clone() for p in params]
        self.p = torch.cat([d.as_strided((d.numel(),), (1,)) for d in dense])  # as they lie
        self.g, self.m, self.v = (torch.zeros_like(self.p) for _ in range(3))
        start = 0
        for p, d in zip(params, dense, strict=True):  # become views of the flat ones
            shape, stride = d.shape, d.stride()
            p.data = self.p.as_strided(shape, stride, start)
            p.grad = self.g.as_strided(shape, stride, start)
            start += p.numel()
        self.alive = torch.ones((), dtype=torch.bool, device=where)
        self.t, self.seconds, self.history, self.totals = 0, 0.0, {}, {}
        self.hp = {}
        for name, value in self.row.items():
            kind = torch.int64 if isinstance(value, int) else self.p.dtype
            self.hp[name] = torch.tensor(value, device=where, dtype=kind)

    def settings(self, purpose: str, index: int) -> SimpleNamespace:
        """The row as the loss sees it, with the noise of training step or item ``index``."""
        where = self.p.device
        rng = Rng(key(self.hp["seed"], purpose, index, where))
        return SimpleNamespace(**self.hp, rng=rng, step=torch.full((), self.t, device=where))

    def step(self, loss, x, lr, clip):
        """One Adam step (Kingma & Ba 2015); reads nothing back from the device."""
        hp = self.settings("noise", self.t)
        self.g.zero_()
        buffers = [(b, b.clone()) for b in self.model.buffers()]
        value, extras = loss(self.model, x, hp)
        value.backward()
        norm = self.g.norm()
        self.alive &= norm.isfinite() & value.detach().isfinite()
        for buffer, before in buffers:
            buffer.copy_(torch.where(self.alive, buffer, before))
        self.t += 1
        rate = self.row["lr"] if "lr" in self.row else lr(hp) if callable(lr) else lr
        c1, c2 = 1 - 0.9**self.t, 1 - 0.999**self.t
        if clip:
            self.g.mul_((clip / (norm + 1e-6)).clamp(max=1))
        self.g.masked_fill_(~self.alive, 0)
        self.m.lerp_(self.g, 0.1)
        self.v.mul_(0.999).addcmul_(self.g, self.g, value=0.001)
        rate = self.alive.to(self.p.dtype) * (rate / c1)
        self.p.sub_(self.m / (self.v / c2).sqrt_().add_(1e-8) * rate)
        for name, scalar in {"loss": value, **extras}.items():
            total = scalar.detach().clone()
            self.totals[name] = self.totals[name] + total if name in self.totals else total

    def log(self, window, valid):
        """Close a logging window: the only place that waits for the device."""
        entry = {"step": self.t, **{k: float(v) / window for k, v in self.totals.items()}, **valid}
        for name, value in entry.items():
            self.history.setdefault(name, []).append(value)
        self.totals = {}

    @torch.no_grad()
    def validate(self, loss, valid, batch):
        """Mean of everything the loss returns over the validation data, in evaluation mode."""
        self.model.eval()
        sums, count = {}, len(valid[0])
        for i in range(0, count, batch):
            part = tuple(_floats(d[i : i + batch]) for d in valid)
            value, extras = loss(self.model, _unwrap(part), self.settings("evaluation", i))
            for name, scalar in {"loss": value, **extras}.items():
                sums[name] = sums.get(name, 0) + scalar * (len(part[0]) / count)
        self.model.train()
        return {f"valid_{name}": float(total) for name, total in sums.items()}

    def state(self) -> dict:
        """Everything a resumed run needs, as tensors and plain numbers."""
        return {
            "p": self.p,
            "m": self.m,
            "v": self.v,
            **{f"buffer.{n}": b for n, b in self.model.named_buffers()},
            **{f"total.{n}": t for n, t in self.totals.items()},
            "alive": self.alive,
        }

    def load(self, arrays: dict, facts: dict):
        for name, mine in self.state().items():
            mine.copy_(torch.from_numpy(arrays[name]).view_as(mine))
        totals = {n[6:]: a for n, a in arrays.items() if n.startswith("total.")}
        self.totals = {n: torch.from_numpy(a).to(self.p.device) for n, a in totals.items()}
        self.t, self.seconds, self.history = facts["t"], facts["seconds"], facts["history"]


def _floats(d):
    return unit(d) if d.dtype == torch.uint8 else d


def _unwrap(parts):
    return parts[0] if len(parts) == 1 else parts


def _number(value) -> bool:
    whole = isinstance(value, int) and abs(value) < 2**63
    return not isinstance(value, bool) and (
        whole or (isinstance(value, float) and math.isfinite(value))
    )


def _check(data, valid, sweep, steps, batch, every, lr, clip):
    for name, value in (("steps", steps), ("batch", batch), ("every", every)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise VaenbError(f"{name} is {value!r} and must be a whole number of at least 1")
    if not callable(lr) and not (_number(lr) and lr > 0):
        raise VaenbError(f"lr is {lr!r} and must be a number above 0, or a function of hp")
    if not (_number(clip) and clip >= 0):
        raise VaenbError(f"clip is {clip!r} and must be a number above 0, or 0 for no clipping")
    for parts, what in ((data, "training data"), (valid or data, "validation data")):
        for part in parts:
            if not isinstance(part, torch.Tensor):
                raise VaenbError(
                    f"the {what} hold a {type(part).__name__}: give tensors, such as "
                    f"torch.from_numpy(array)"
                )
        lengths = [len(d) for d in parts]
        if len(set(lengths)) != 1:
            raise VaenbError(f"the parts of the {what} have lengths {lengths}: they must agree")
    if len(data[0]) < batch:
        raise VaenbError(
            f"batch {batch} is larger than the {len(data[0])} training items: take a smaller batch"
        )
    if not sweep:
        raise VaenbError(
            "the sweep is empty: give at least one row of settings, such as [dict(seed=0)]"
        )
    for k, row in enumerate(sweep):
        if not isinstance(row, dict):
            raise VaenbError(
                f"sweep row {k} is {row!r} and must be a dict of numbers, such as dict(seed=0)"
            )
        for name, value in row.items():
            if name in ("rng", "step"):
                raise VaenbError(
                    f"setting {name!r} of sweep row {k} has a name that hp keeps for itself: "
                    f"take another"
                )
            if not _number(value):
                raise VaenbError(
                    f"setting {name!r} of sweep row {k} is {value!r} and must be a finite number: "
                    f"what is not a number belongs into the model, in a fit of its own"
                )
        if not isinstance(row.get("seed", 0), int):
            raise VaenbError(
                f"the seed of sweep row {k} is {row['seed']!r} and must be a whole number"
            )
        if row.get("lr", 1) <= 0:
            raise VaenbError(
                f"the learning rate of sweep row {k} is {row['lr']} and must be above 0"
            )


def fit(
    make_model,
    loss,
    data,
    sweep,
    steps: int,
    *,
    batch: int = 128,
    lr=1e-3,
    clip: float = 0.0,
    valid=None,
    every: int = 100,
    device="auto",
    checkpoint=None,
    deadline: float | None = None,
    progress: bool = True,
    label: str = "",
) -> Runs:
    """Train ``make_model()`` once for each row of ``sweep`` (one run is a sweep of one).

    data: a tensor [N, ...] or a tuple of such (images and labels), kept on the device; uint8
        batches reach the loss as floats in [0, 1]. Each epoch is a fresh order keyed by the row's
        seed; a last incomplete batch is dropped. valid: the same for validation, every ``every``
        steps and at the end, in evaluation mode, with the same noise each time.
    sweep: list of dicts of numbers; "seed" (default 0) keys initialisation, order and noise, so
        that rows of equal seed share all three; "lr", when given, wins over ``lr``.
    lr: a number, or a function of ``hp`` (for schedules). clip: largest gradient norm; 0: none.
    checkpoint: a folder; the state is written there every half minute and at the end, and the same
        call continues from it to the same bits on a CPU (on a GPU to the rounding of its kernels).
    deadline: a `time.monotonic()` instant at which to save and raise `OutOfTime`.

    Raises VaenbError for settings that cannot be, before any training.
    """
    data, valid = (d if d is None or isinstance(d, tuple) else (d,) for d in (data, valid))
    _check(data, valid, sweep, steps, batch, every, lr, clip)
    where = device if isinstance(device, torch.device) else _choose(device)
    data = tuple(d.to(where) for d in data)
    valid = valid and tuple(d.to(where) for d in valid)
    prints = checkpoint and fingerprint(loss, lr, steps, batch, clip, every, data, valid)
    runs = Runs()
    bar = _bar(steps * len(sweep), label, progress)
    for row in sweep:
        member = _Member(make_model, row, where)
        store = checkpoint and Checkpoint(checkpoint, prints, member.row, member.model)
        if store and (saved := store.load()):
            member.load(*saved)
        bar.update(member.t)
        bar.set_description_str(" ".join([label, *(f"{k}={v:g}" for k, v in row.items())]).strip())
        _train(member, loss, data, valid, steps, batch, lr, clip, every, store, deadline, bar)
        runs.models.append(member.model.eval())
        runs.settings.append(member.row)
        runs.history.append(member.history)
        runs.alive.append(bool(member.alive))
        runs.seconds.append(member.seconds)
    bar.close()
    return runs


def _train(member, loss, data, valid, steps, batch, lr, clip, every, store, deadline, bar):
    if member.t >= steps:
        return  # finished by an earlier call
    count = len(data[0])
    per_epoch = count // batch
    began = saved = time.monotonic()
    before, order = member.seconds, None

    def save():
        member.seconds = before + time.monotonic() - began
        if store:
            facts = dict(t=member.t, seconds=member.seconds, history=member.history)
            store.save(member.state(), facts)

    while member.t < steps:
        epoch, k = divmod(member.t, per_epoch)
        if order is None or k == 0:
            shuffle = Rng(key(member.hp["seed"], "order", epoch, member.p.device))
            order = shuffle.bits(count).argsort()
        picked = order[k * batch : (k + 1) * batch]
        member.step(loss, _unwrap(tuple(_floats(d[picked]) for d in data)), lr, clip)
        bar.update(1)
        if member.t % every == 0 or member.t == steps:
            window = (member.t - 1) % every + 1
            checked = member.validate(loss, valid, batch) if valid else {}
            member.log(window, checked)
            bar.set_postfix_str(f"loss {member.history['loss'][-1]:.4g}", refresh=False)
        now = time.monotonic()
        if now - saved > SAVE_SECONDS:
            save()
            saved = now
        if deadline is not None and now > deadline and member.t < steps:
            save()
            bar.close()
            raise OutOfTime(
                f"time is up at step {member.t} of {steps}: run the same command again to go on"
            )
    save()


def _bar(total, label, progress):
    from tqdm import tqdm

    return tqdm(
        total=total,
        desc=label,
        disable=not progress,
        file=sys.stdout,
        mininterval=1.0,
        unit="step",
    )
