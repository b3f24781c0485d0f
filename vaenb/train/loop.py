"""`fit`: train one setting or a list of settings of one model, seeded, resumable, without waiting.

The contract: an ordinary module, and ``loss(model, x, hp) -> (scalar, dict of scalars)`` written
for one model, one batch ``x`` and one row of settings, reached as ``hp.beta`` and so on, beside
``hp.rng`` (noise that depends on seed and step alone) and ``hp.step`` (training steps done). A
member's path depends on its own row and nothing else: members train one after another or many
together, as pays on the device, with the same results.
"""

import math
import sys
import time

import numpy as np
import torch

from vaenb.errors import OutOfTime, VaenbError
from vaenb.train.checkpoint import Checkpoint, fingerprint
from vaenb.train.group import Group, Work, initial
from vaenb.train.together import Captured, is_out_of_memory, members_together

SAVE_SECONDS = 30.0  # an interrupted run loses little more work than this
SAVE_SHARE = 0.2  # of the time goes at most into saving: large sweeps save less often


def pause_after(spent: float) -> float:
    """Seconds to the next save, for one that took ``spent``."""
    return max(SAVE_SECONDS, spent * (1 / SAVE_SHARE - 1))


def in_time(deadline: float | None, items):
    """``items`` one after another, such as trained models to measure; after the first, raises
    `OutOfTime` where ``deadline`` (a `time.monotonic()` instant) has passed."""
    for k, item in enumerate(items):
        if k and deadline is not None and time.monotonic() > deadline:
            raise OutOfTime("time is up between two measurements: run the same command again to "
                            "go on")
        yield item


def half_cosine(lr: float, steps: int):
    """``lr`` of `fit`, falling from ``lr`` to 0 over ``steps`` by half a cosine, and then 0."""
    return lambda hp: lr / 2 * (1 + (math.pi * hp.step.clamp(max=steps) / steps).cos())


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
    training (in lockstep: its share), ``best[k]`` (the module at its best validation, or None
    when none was asked for or the member met no finite one) and ``best_step[k]``.
    """

    def __init__(self, rows):
        count = len(rows)
        self.settings, self.history, self.models = list(rows), [None] * count, [None] * count
        self.alive, self.seconds = [True] * count, [0.0] * count
        self.best, self.best_step = [None] * count, [0] * count

    def __getitem__(self, k: int) -> torch.nn.Module:
        return self.models[k]

    def __len__(self) -> int:
        return len(self.models)

    def _take(self, group, k, at):
        """Member k of a group that has ended becomes row ``at``."""
        self.models[at], self.history[at] = group.model(k), group.history[k]
        self.seconds[at], self.best[at] = group.seconds[k], group.best_model(k)
        self.best_step[at], self.alive[at] = group.best[k][1], bool(group.alive[k])


def _number(value) -> bool:
    whole = isinstance(value, int) and abs(value) < 2**63
    return not isinstance(value, bool) and (
        whole or (isinstance(value, float) and math.isfinite(value))
    )


def _check_numbers(lr, **numbers):
    for name, value in numbers.items():
        least = 0 if name == "chunk" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise VaenbError(f"{name} is {value!r} and must be a whole number of at least {least}")
    if not callable(lr) and not (_number(lr) and lr > 0):
        raise VaenbError(f"lr is {lr!r} and must be a number above 0, or a function of hp")


def _check_data(data, valid, batch, best):
    if best and not valid:
        raise VaenbError(
            "best needs validation data (valid=...): name the validation mean to keep the lowest "
            "of, such as best='loss'"
        )
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
        if not lengths[0]:
            raise VaenbError(f"the {what} are empty: give at least one item, or no {what} at all")
    if len(data[0]) < batch:
        raise VaenbError(
            f"batch {batch} is larger than the {len(data[0])} training items: take a smaller batch"
        )


def _checked_rows(sweep) -> list[dict]:
    """The rows of a sweep in Python's own numbers, each with a seed, or VaenbError."""
    rows = []
    for k, row in enumerate(sweep or ()):
        if not isinstance(row, dict):
            raise VaenbError(
                f"sweep row {k} is {row!r} and must be a dict of numbers, such as dict(seed=0)"
            )
        row = {n: v.item() if isinstance(v, np.generic) else v for n, v in row.items()}
        if rows and set(row) != set(rows[0]):
            raise VaenbError(
                f"sweep row {k} has the settings {', '.join(sorted(row))} and row 0 has "
                f"{', '.join(sorted(rows[0]))}: give all rows the same names"
            )
        if row in rows:
            raise VaenbError(
                f"sweep rows {rows.index(row)} and {k} are equal ({row}): drop one, or give them "
                f"different seeds"
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
            if value < 0 and name.startswith(("beta", "lam")):
                raise VaenbError(
                    f"setting {name!r} of sweep row {k} is {value} and must not be below 0: "
                    f"take 0 to leave its term out"
                )
        if not isinstance(row.get("seed", 0), int):
            raise VaenbError(
                f"the seed of sweep row {k} is {row['seed']!r} and must be a whole number"
            )
        rows.append(row)
    if not rows:
        raise VaenbError(
            "the sweep is empty: give at least one row of settings, such as [dict(seed=0)]"
        )
    return [row | {"seed": row.get("seed", 0)} for row in rows]


def fit(
    make_model,
    loss,
    data,
    sweep,
    steps: int,
    *,
    batch: int = 128,
    lr=1e-3,
    valid=None,
    best: str = "",
    every: int = 100,
    chunk: int = 0,
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
    sweep: list of dicts of numbers with the same names; "seed" (default 0) keys initialisation,
        order and noise, so that rows of equal seed share all three.
    lr: a number, or a function of ``hp``: for schedules, and for rates of the rows' own
        (``lambda hp: hp.lr`` where each has an "lr").
    best: the name of a validation mean ("loss", or what the loss returns) to keep the lowest of:
        ``runs.best[k]``.
    chunk: members in lockstep; 0: as many as pay and fit (one on a CPU unless the nets are tiny).
        In float64 the results are the same to about 1e-15, whatever the chunk. A loss with an
        ``if`` on a setting, or a module that `torch.func` cannot batch, trains one by one.
    checkpoint: a folder; the state is written there every half minute (less often where that
        would take a fifth of the time) and at the end, and the same call continues from it to the
        same bits on a CPU (on a GPU with torch's deterministic kernels switched on; else to the
        rounding of its kernels). A member's file holds its parameters, and Adam's two moments of
        each until it has ended.
    deadline: a `time.monotonic()` instant at which to save and raise `OutOfTime`.

    Raises VaenbError for settings that cannot be, before any training.
    """
    if isinstance(make_model, torch.nn.Module):
        raise VaenbError("fit takes a function that makes the model, since each row of the sweep "
                         "begins with its own: lambda: VAE(), say")
    data = data if isinstance(data, tuple) else (data,)
    valid = valid if valid is None or isinstance(valid, tuple) else (valid,)
    _check_numbers(lr, steps=steps, batch=batch, every=every, chunk=chunk)
    _check_data(data, valid, batch, best)
    rows = _checked_rows(sweep)
    where = device if isinstance(device, torch.device) else _choose(device)
    data = tuple(d.to(where) for d in data)
    valid = valid and tuple(d.to(where) for d in valid)
    work = Work(loss, data, valid, steps, batch, lr, every, best)
    # the 0.0 and the 0 are the clip and the patience of earlier versions: files keep their names
    prints = checkpoint and fingerprint(
        loss, lr, steps, batch, 0.0, every, data, valid, *([best, 0] if best else []))
    runs = Runs(rows)

    def store(row, model):
        return Checkpoint(checkpoint, prints, row, model) if checkpoint else None

    size, why = members_together(make_model, rows, work, chunk)
    bar = _Bar(steps * len(rows), label, progress)
    if why:
        bar.say(f"{len(rows)} members, {size} at a time: {why}")
    if checkpoint and where.type == "cuda":
        exact = torch.are_deterministic_algorithms_enabled()
        bar.say(f"a resumed run ends {'with the same bits' if exact else 'the same to rounding'}")
    waiting = list(range(len(rows)))
    while waiting:
        now, waiting = waiting[:size], waiting[size:]
        try:
            _train_some(make_model, now, work, size > 1, store, runs, deadline, bar)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(now) == 1:
                raise VaenbError(
                    f"one model at batch {batch} does not fit into the memory of {where}: take a "
                    f"smaller batch or a smaller model"
                ) from None
            waiting, size = now + waiting, (len(now) + 1) // 2
            torch.cuda.empty_cache()
            bar.say(f"out of memory with {len(now)} members together: now {size}")
    bar.close()
    return runs


def _train_some(make_model, which, work, stacked, store, runs, deadline, bar):
    """Train some rows in lockstep, or in as many groups as there are steps to go on from."""
    rows, started = runs.settings, {}
    for at in which:
        model = initial(make_model, rows[at]["seed"]).to(work.device)
        file = store(rows[at], model)
        saved = file.load() if file else None
        ended = saved is not None and (saved[1]["t"] >= work.steps or not saved[1]["logged"])
        started.setdefault((saved[1]["t"] if saved else 0, ended), []).append(
            (at, model, file, saved))
    for (t, ended), members in sorted(started.items(), key=lambda s: -s[0][0]):
        for part in [[m] for m in members] if ended else [members]:
            places, models, stores, saved = zip(*part, strict=True)
            group = Group(list(models), [rows[at] for at in places], work, stacked)
            for k, found in enumerate(saved):
                if found:
                    try:
                        group.load(k, *found)
                    except (LookupError, TypeError) as error:
                        raise stores[k].damaged(error) from None
            bar.update(t * len(part))
            bar.name(_told(rows[places[0]]) if len(part) == 1 else f"{len(part)} members")
            if not ended:
                _train(group, stores, deadline, bar)
            for k, at in enumerate(places):
                runs._take(group, k, at)
                if not runs.alive[at]:
                    last = group.history[k]["step"][-1]
                    bar.say(f"{_told(rows[at])} met a number that is not finite by step {last} "
                            f"and stands still since")


def _train(group, stores, deadline, bar):
    work, count = group.work, len(group)
    per_epoch = len(work.data[0]) // work.batch
    began = saved = time.monotonic()
    pause = SAVE_SECONDS
    before = list(group.seconds)
    run = Captured(group) if group.p.is_cuda else group.step

    def save():
        spent = (time.monotonic() - began) / count
        group.seconds = [b + spent for b in before]
        for k, store in enumerate(stores):
            if store:
                store.save(group.state(k), group.facts(k))

    fresh = True
    while group.t < work.steps and any(group.logged):
        if fresh or group.t % per_epoch == 0:
            group.shuffle()
            fresh = False
        run()
        group.t += 1
        bar.update(count)
        if group.t % work.every == 0 or group.t == work.steps:
            group.log()
            losses = [h["loss"][-1] for h in group.history if h]
            bar.set_postfix_str(f"loss {sorted(losses)[len(losses) // 2]:.4g}", refresh=False)
        now = time.monotonic()
        if now - saved > pause:
            save()
            saved = time.monotonic()
            pause = pause_after(saved - now)
        if deadline is not None and now > deadline and group.t < work.steps:
            save()
            bar.close()
            told = ("run the same command again to go on" if all(stores) else
                    "nothing is saved, since no folder for checkpoints was given")
            raise OutOfTime(f"time is up at step {group.t} of {work.steps}: {told}")
    bar.update(count * (work.steps - group.t))
    save()


def _told(row) -> str:
    return " ".join(f"{name}={value:g}" for name, value in row.items())


class _Bar:
    """The progress bar of a whole sweep, and what is said beside it; silent if not wanted."""

    def __init__(self, total, label, wanted):
        from tqdm import tqdm

        self.label, self.wanted = label, wanted
        self.bar = tqdm(total=total, desc=label, disable=not wanted, file=sys.stdout,
                        mininterval=1.0, unit="step")  # fmt: skip
        self.update, self.close = self.bar.update, self.bar.close
        self.set_postfix_str = self.bar.set_postfix_str

    def name(self, told):
        self.bar.set_description_str(f"{self.label} {told}".strip())

    def say(self, told):
        if self.wanted:
            self.bar.write(f"{self.label} {told}".strip(), sys.stdout)
