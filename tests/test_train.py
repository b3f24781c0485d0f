"""`fit` against a loop with torch's own Adam; same bits however a run is cut, moved or killed."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import vaenb
from vaenb import VaenbError, models, train
from vaenb.train import OutOfTime, Rng, checkpoint, fit, half_cosine, key, loop
from vaenb.train.group import Group, Work, initial

D, Z, N, BATCH = 6, 2, 50, 8


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


X = randn(N, D).sigmoid()


class Small(nn.Module):
    """A VAE of a few numbers, with a buffer that training moves."""

    def __init__(self, dtype=torch.float64, hidden=5):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.Tanh(), nn.Linear(hidden, 2 * Z))
        self.decoder = nn.Sequential(nn.Linear(Z, hidden), nn.Tanh(), nn.Linear(hidden, D))
        self.register_buffer("seen", torch.zeros(()))
        self.to(dtype)


def elbo(model, x, hp):
    mean, log_std = model.encoder(x).chunk(2, -1)
    q = models.Gaussian(mean, log_std)
    error = (model.decoder(q.sample(hp.rng)) - x).square().sum(1).mean()
    if model.training:
        model.seen += error.detach()
    rate = q.rate().mean()
    return error + hp.beta * rate, dict(D=error, R=rate)


def go(sweep=None, steps=20, loss=elbo, make=Small, data=X, **options):
    options = dict(batch=BATCH, every=5, progress=False, device="cpu", chunk=1) | options
    return fit(make, loss, data, sweep or [dict(beta=0.5, seed=1)], steps, **options)


def bits(model):
    return {n: t.clone() for n, t in model.state_dict().items()}


def same(a, b):
    a, b = bits(a), bits(b)
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def distance(a, b):
    """Relative distance of all parameters together."""
    a, b = (torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (a, b))
    return float((a - b).norm() / b.norm())


def order_of(seed, epoch, count=N):
    return Rng(key(seed, "order", epoch)).bits(count).argsort()


def by_hand(steps, seed=1, beta=0.5, lr=1e-3, loss=elbo, schedule=None):
    """The plain torch loop: the same batches and noise, and torch's Adam."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Small()
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    epoch_length, values = N // BATCH, []
    for t in range(steps):
        epoch, k = divmod(t, epoch_length)
        x = X[order_of(seed, epoch)[k * BATCH : (k + 1) * BATCH]]
        hp = SimpleNamespace(beta=beta, rng=Rng.of(seed, "noise", t), step=t)
        value, extras = loss(model, x, hp)
        optimiser.zero_grad()
        value.backward()
        if schedule:
            optimiser.param_groups[0]["lr"] = schedule(t)
        optimiser.step()
        values.append([float(v.detach()) for v in (value, *extras.values())])
    return model, np.array(values)


# --- the same as torch --------------------------------------------------------------------------


def test_fit_is_a_loop_with_torchs_adam():
    model, values = by_hand(200)
    runs = go(steps=200, every=30)
    assert distance(runs[0], model) < 1e-10
    assert runs.alive == [True] and len(runs) == 1 and runs.seconds[0] > 0
    assert runs.settings == [dict(beta=0.5, seed=1)]
    assert not runs[0].training and float(runs[0].seen) == pytest.approx(values[:, 1].sum())
    history = runs.history[0]
    assert history["step"] == [30, 60, 90, 120, 150, 180, 200]  # the last window has 20 steps
    ends = [0, *history["step"]]
    for column, name in enumerate(("loss", "D", "R")):
        means = [values[a:b, column].mean() for a, b in zip(ends[:-1], ends[1:], strict=True)]
        assert np.allclose(history[name], means, rtol=1e-6)
    assert {len(v) for v in history.values()} == {7}


def test_learning_rates_from_the_call_the_row_and_a_schedule():
    reference = by_hand(40, lr=3e-3)[0]
    assert distance(go(steps=40, lr=3e-3)[0], reference) < 1e-10
    rows = [dict(beta=0.5, seed=1, lr=3e-3), dict(beta=0.5, seed=1, lr=1e-3)]
    runs = go(rows, steps=40, lr=lambda hp: hp.lr)
    assert distance(runs[0], reference) < 1e-10
    assert distance(runs[1], by_hand(40, lr=1e-3)[0]) < 1e-10

    def halving(hp):  # hp.step counts the steps done: 0 at the first
        return 1e-3 * 0.5 ** (hp.step.double() / 10) * (1 + hp.beta)

    runs = go(steps=40, lr=halving)
    scheduled = by_hand(40, schedule=lambda t: 1.5e-3 * 0.5 ** (t / 10))[0]
    assert distance(runs[0], scheduled) < 1e-10

    runs = go(steps=40, lr=half_cosine(1e-3, 40))
    by_cosine = by_hand(40, schedule=lambda t: 1e-3 * math.cos(math.pi * t / 80) ** 2)[0]
    assert distance(runs[0], by_cosine) < 1e-6  # the rate is in single precision
    longer = go(steps=50, lr=half_cosine(1e-3, 40))
    assert distance(longer[0], runs[0]) == 0  # the rate stays at 0


@pytest.mark.parametrize("chunk", [1, 0, 2])
@pytest.mark.parametrize("betas", [(1, 0.5), (0.5, 1), (0, 2.5)])
def test_whole_numbers_beside_fractions_stay_what_they_are(betas, chunk):
    def told(model, x, hp):
        value, extras = elbo(model, x, hp)
        return value, extras | dict(beta=hp.beta * torch.ones(()))

    runs = go([dict(beta=b, seed=1) for b in betas], steps=3, loss=told, chunk=chunk)
    assert [h["beta"][-1] for h in runs.history] == list(betas)
    for k, beta in enumerate(betas):
        alone = go([dict(beta=float(beta), seed=1)], steps=3, loss=told)
        assert distance(runs[k], alone[0]) < 1e-10


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_setting_that_no_row_has(chunk):
    with pytest.raises(VaenbError, match=r"hp\.beta is asked for and the rows of the sweep have "
                                         r"seed, .*: give every row a 'beta'"):
        go([dict(seed=1), dict(seed=2)], steps=3, chunk=chunk)


def test_a_sweep_may_be_any_iterable_but_none_at_all():
    runs = go((dict(beta=0.5, seed=k) for k in (1, 2)), steps=2)
    assert len(runs.history) == 2
    with pytest.raises(VaenbError, match="the sweep is empty"):
        fit(Small, elbo, X, None, 2, batch=BATCH, device="cpu")


def test_the_step_and_the_settings_reach_the_loss():
    told = []

    def loss(model, x, hp):
        told.append((int(hp.step), hp.beta.dtype, float(hp.beta), hp.k.dtype, int(hp.seed)))
        return elbo(model, x, hp)

    go([dict(beta=0.25, k=3)], steps=12, loss=loss, valid=X[:20], every=6)
    training = [t for i, t in enumerate(told) if i not in (6, 7, 8, 15, 16, 17)]
    assert [t[0] for t in training] == list(range(12))
    assert [told[i][0] for i in (6, 7, 8, 15, 16, 17)] == [6, 6, 6, 12, 12, 12]
    assert {t[1:] for t in told} == {(torch.float64, 0.25, torch.int64, 0)}


def test_every_item_once_an_epoch_in_fresh_order():
    items, batches = torch.arange(N, dtype=torch.float64), []

    def loss(model, x, hp):
        batches.append(x.clone())
        return sum(p.square().sum() for p in model.parameters()), {}

    go([dict(seed=4)], steps=12, data=items, loss=loss)  # six batches of 8 an epoch, 2 left out
    first, second = torch.cat(batches[:6]).long(), torch.cat(batches[6:]).long()
    assert torch.equal(first, order_of(4, 0)[:48]) and torch.equal(second, order_of(4, 1)[:48])
    assert len(first.unique()) == len(second.unique()) == 48
    assert not torch.equal(first, second)


def test_uint8_becomes_floats_and_labels_stay():
    images = (X * 255).round().to(torch.uint8)
    labels = torch.arange(N)
    seen = []

    def loss(model, batch, hp):
        x, y = batch
        seen.append((x.dtype, y.dtype))
        assert torch.equal(x, images[y].float() / 255)
        return elbo(model, x, hp)

    make = partial(Small, torch.float32)
    runs = go(steps=6, make=make, data=(images, labels), loss=loss, valid=(images, labels))
    assert set(seen) == {(torch.float32, torch.int64)}
    plain = go(steps=6, make=make, data=images, valid=images)
    assert same(runs[0], plain[0]) and runs.history == plain.history


def test_parameters_in_any_memory_layout():
    class Odd(Small):
        def __init__(self):
            super().__init__()
            self.decoder[2].weight = nn.Parameter(randn(5, 2 * D, seed=3)[:, ::2].T)  # gaps
            self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
            self.fixed = nn.Parameter(torch.ones(3, dtype=torch.float64), requires_grad=False)

    def loss(model, x, hp):
        value, extras = elbo(model, x, hp)
        return value * model.scale.square() + model.fixed.square().sum(), extras

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        start = Odd()
    reference = Odd()
    reference.load_state_dict(start.state_dict())
    optimiser = torch.optim.Adam(reference.parameters(), lr=1e-3)
    for t in range(5):
        x = X[order_of(1, 0)[t * BATCH : (t + 1) * BATCH]]
        hp = SimpleNamespace(beta=0.5, rng=Rng.of(1, "noise", t))
        optimiser.zero_grad()
        loss(reference, x, hp)[0].backward()
        optimiser.step()
    for chunk in (1, 2):
        rows = [dict(seed=1, beta=0.5), dict(seed=2, beta=0.5)]
        runs = go(rows, steps=5, make=Odd, loss=loss, chunk=chunk)
        assert distance(runs[0], reference) < 1e-12
        assert torch.equal(runs[0].fixed, torch.ones(3).double())


def test_the_small_vae_in_channels_last_trains_as_in_torch():
    x = randn(16, 1, 28, 28).sigmoid()

    def make():
        return models.small_vae(models.SharedGaussian(), (1, 28, 28), width=2).double()

    def loss(model, x, hp):
        nats = model(x, hp.rng)
        return (nats.distortion + nats.rate).mean(), {}

    runs = go([dict(seed=2)], steps=4, make=make, loss=loss, data=x)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = make()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for t in range(4):
        epoch, k = divmod(t, 2)
        batch = x[order_of(2, epoch, 16)[8 * k : 8 * k + 8]]
        hp = SimpleNamespace(rng=Rng.of(2, "noise", t))
        optimiser.zero_grad()
        loss(model, batch, hp)[0].backward()
        optimiser.step()
    assert distance(runs[0], model) < 1e-7


# --- sweeps -------------------------------------------------------------------------------------

SWEEP = [dict(beta=b, seed=s) for b in (0.1, 1.0) for s in (0, 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_members_path_is_its_rows_alone(dtype):
    options = dict(steps=25, make=partial(Small, dtype), data=X.to(dtype))
    together = go(SWEEP, **options)
    backwards = go(SWEEP[::-1], **options)
    for k, row in enumerate(SWEEP):
        alone = go([row], **options)
        assert same(together[k], alone[0]) and same(together[k], backwards[3 - k])
        assert together.history[k] == alone.history[0] == backwards.history[3 - k]
    assert together.settings == SWEEP
    assert not same(together[0], together[2])  # beta matters


def test_equal_seeds_share_start_order_and_noise_and_others_share_none():
    told = {}

    def loss(model, x, hp):
        place = (float(hp.beta), int(hp.seed))
        start = torch.cat([p.detach().flatten() for p in model.parameters()])
        noise = Rng(hp.rng.key).normal(4)
        told.setdefault(place, []).append((start, x.clone(), noise))
        return elbo(model, x, hp)

    go(SWEEP, steps=7, loss=loss)
    a, b, other = told[0.1, 0], told[1.0, 0], told[0.1, 1]
    assert torch.equal(a[0][0], b[0][0]) and not torch.equal(a[0][0], other[0][0])
    for t in range(7):
        assert torch.equal(a[t][1], b[t][1]) and not torch.equal(a[t][1], other[t][1])
        assert torch.equal(a[t][2], b[t][2]) and not torch.equal(a[t][2], other[t][2])
        assert t == 0 or not torch.equal(a[t][2], a[t - 1][2])


def test_the_global_generator_neither_matters_nor_moves():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = go()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert same(first[0], go()[0])


def test_no_seed_is_seed_zero():
    assert same(go([dict(beta=0.5)])[0], go([dict(beta=0.5, seed=0)])[0])


# --- validation ---------------------------------------------------------------------------------


def test_validation_is_in_evaluation_mode_and_changes_nothing():
    modes = []

    def loss(model, x, hp):
        modes.append(model.training)
        return elbo(model, x, hp)

    with_it = go(loss=loss, valid=X[:21], steps=20, every=5)
    without = go(steps=20, every=5)
    assert same(with_it[0], without[0])
    assert modes == ([True] * 5 + [False] * 3) * 4
    history = dict(with_it.history[0])
    checked = {n: history.pop(n) for n in ("valid_loss", "valid_D", "valid_R")}
    assert history == without.history[0] and {len(v) for v in checked.values()} == {4}

    model = without[0]  # by hand, at the last step: all 21 items count alike
    total = 0.0
    for i in (0, 8, 16):
        part = X[i : min(i + 8, 21)]
        hp = SimpleNamespace(beta=0.5, rng=Rng.of(1, "evaluation", i))
        with torch.no_grad():
            total += float(elbo(model, part, hp)[0]) * len(part) / 21
    assert checked["valid_loss"][-1] == pytest.approx(total, rel=1e-12)


# --- numbers that are not finite ----------------------------------------------------------------


def breaking(model, x, hp):
    value, extras = elbo(model, x, hp)
    bad = torch.where((hp.step == 12) & (hp.beta == 1.0) & (hp.seed == 0), math.nan, 1.0)
    model.seen.mul_(bad)
    return value * bad, extras


def test_a_member_that_breaks_stands_still_and_disturbs_nobody():
    runs, whole = go(SWEEP, steps=30, loss=breaking), go(SWEEP, steps=30)
    before = go([SWEEP[2]], steps=12)
    assert runs.alive == [True, True, False, True] and whole.alive == [True] * 4
    assert same(runs[2], before[0])  # parameters and buffers as before the bad step
    for k in (0, 1, 3):
        assert same(runs[k], whole[k]) and runs.history[k] == whole.history[k]
    assert math.isnan(runs.history[2]["loss"][2]) and math.isfinite(runs.history[2]["loss"][1])


def test_an_infinite_gradient_of_a_finite_loss_counts_too():
    def loss(model, x, hp):
        value, extras = elbo(model, x, hp)
        root = (value - value.detach() + (hp.step != 3)).clamp(min=0).sqrt()
        return value + 0 * root, extras

    runs = go(steps=10, loss=loss)
    assert runs.alive == [False]
    assert all(p.isfinite().all() for p in runs[0].parameters())


# --- stopping and going on ----------------------------------------------------------------------


def test_out_of_time_then_the_same_bits(tmp_path):
    whole = go(SWEEP, steps=13, valid=X[:9])
    options = dict(steps=13, valid=X[:9], checkpoint=tmp_path)
    stops = 0
    while True:
        try:  # a deadline that is past lets one step through
            runs = go(SWEEP, deadline=time.monotonic() - 1, **options)
            break
        except OutOfTime as stop:
            assert "of 13" in str(stop)
            stops += 1
    assert stops == 4 * 12 and len(list(tmp_path.iterdir())) == 4
    for k in range(4):
        assert same(runs[k], whole[k]) and runs.history[k] == whole.history[k]
        assert runs.seconds[k] > 0
    calls = []

    def counting(*arguments):
        calls.append(1)
        return Small()

    again = go(SWEEP, make=counting, **options)  # finished: nothing is trained
    assert all(same(again[k], whole[k]) for k in range(4)) and len(calls) == 4
    assert again.history == whole.history and again.seconds == runs.seconds
    assert not again[0].training


def test_time_in_hand_changes_nothing(tmp_path):
    runs = go(steps=10, deadline=time.monotonic() + 3600, checkpoint=tmp_path)
    assert same(runs[0], go(steps=10)[0])


def test_measuring_stops_at_its_deadline_but_never_before_the_first():
    later, done = time.monotonic() + 3600, []
    assert list(train.in_time(None, "abc")) == list(train.in_time(later, "abc")) == list("abc")
    with pytest.raises(OutOfTime, match="run the same command again"):
        done += [done.append(item) for item in train.in_time(0.0, "abc")]
    assert done == ["a"]


def test_a_broken_member_stays_broken_after_a_resumption(tmp_path):
    whole = go([SWEEP[2]], steps=30, loss=breaking)
    with pytest.raises(OutOfTime):
        for _ in range(20):
            try:
                go([SWEEP[2]], steps=30, loss=breaking, checkpoint=tmp_path, deadline=0.0)
            except OutOfTime as stop:
                last = stop
        raise last
    runs = go([SWEEP[2]], steps=30, loss=breaking, checkpoint=tmp_path)
    assert runs.alive == [False] and same(runs[0], whole[0])
    assert np.array_equal(runs.history[0]["loss"], whole.history[0]["loss"], equal_nan=True)


def test_the_optimal_sigmas_average_is_resumed(tmp_path):
    class Optimal(Small):
        def __init__(self):
            super().__init__()
            self.likelihood = models.OptimalGaussian().double()

    def loss(model, x, hp):
        z = model.encoder(x)[:, :Z]
        return -model.likelihood.log_prob(model.decoder(z), x).mean(), {}

    whole = go(make=Optimal, loss=loss, steps=12)
    for _ in range(7):
        with pytest.raises(OutOfTime):
            go(make=Optimal, loss=loss, steps=12, checkpoint=tmp_path, deadline=0.0)
    runs = go(make=Optimal, loss=loss, steps=12, checkpoint=tmp_path)
    assert same(runs[0], whole[0]) and float(runs[0].likelihood.weight) > 0.1


KILLED = """
import os, signal, sys
from vaenb.train import loop
sys.path.insert(0, sys.argv[1])
import test_train as t

saves, real = [], os.fsync

def fsync(handle):
    saves.append(1)
    if len(saves) == 57:  # 41 saves of the first member, then the second's 16th
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = fsync
loop.SAVE_SECONDS, loop.SAVE_SHARE = -1.0, 1.0  # save after every step
t.go(t.SWEEP[:2], steps=40, checkpoint=sys.argv[2])
"""


def test_killed_in_the_middle_of_a_save_then_the_same_bits(tmp_path):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(vaenb.ROOT), "OMP_NUM_THREADS": "1"}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert died.returncode == -signal.SIGKILL, died.stderr
    steps = []
    for path in tmp_path.glob("*.npz"):
        with np.load(path) as file:
            steps.append(json.loads(str(file["facts"]))["t"])
    assert sorted(steps) == [15, 40] and len(list(tmp_path.glob("*.part"))) == 1
    runs, whole = (go(SWEEP[:2], steps=40, **o) for o in (dict(checkpoint=tmp_path), {}))
    assert len(list(tmp_path.glob("*.npz"))) == 2  # the same names in another process
    assert same(runs[0], whole[0]) and same(runs[1], whole[1]) and runs.history == whole.history


def test_saving_takes_a_fifth_of_the_time_at_most(tmp_path, monkeypatch):
    clock, saves = [0.0], []

    def save(self, tensors, facts):
        saves.append(facts["t"])
        clock[0] += 20  # seconds

    def loss(model, x, hp):
        clock[0] += 1
        return elbo(model, x, hp)

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(checkpoint.Checkpoint, "save", save)
    go(steps=300, loss=loss, checkpoint=tmp_path)
    assert saves == [31, 31 + 81, 31 + 2 * 81, 31 + 3 * 81, 300]


# --- checkpoints --------------------------------------------------------------------------------


def test_checkpoints_hold_plain_arrays_only(tmp_path):
    go(steps=7, every=4, checkpoint=tmp_path)
    (path,) = tmp_path.iterdir()
    with np.load(path, allow_pickle=False) as file:
        arrays = {n: file[n] for n in file.files}
    facts = json.loads(str(arrays.pop("facts")))
    assert facts["t"] == 7 and facts["history"]["step"] == [4, 7]
    assert all(a.dtype != object for a in arrays.values())
    assert set(arrays) == {"p", "alive", "buffer.seen"}  # the moments go when training ends


def test_a_logged_number_in_float64_is_resumed_in_float64(tmp_path):
    def loss(model, x, hp):
        value, extras = elbo(model, x, hp)
        return value, extras | dict(fine=value.detach().double() / 3 + 1e9)

    def run(**options):
        single = dict(make=partial(Small, torch.float32), data=X.float())
        return go(steps=60, every=40, loss=loss, **single, **options)

    with pytest.raises(OutOfTime):
        run(checkpoint=tmp_path, deadline=0.0)
    assert run(checkpoint=tmp_path).history == run().history


def test_a_loss_that_draws_from_torchs_generator_stops_at_once():
    def noisy(model, x, hp):
        value, extras = elbo(model, x, hp)
        return value + torch.rand((), dtype=value.dtype), extras

    with pytest.raises(VaenbError, match="draws from torch's own generator.* hp.rng"):
        go(steps=3, loss=noisy)


def test_checkpoints_by_different_work_have_different_names(tmp_path):
    def seen(**options):
        before = set(tmp_path.iterdir())
        go(**({"steps": 3, "checkpoint": tmp_path} | options))
        return len(set(tmp_path.iterdir()) - before)

    def weighed(weight):
        def loss(model, x, hp):
            value, extras = elbo(model, x, hp)
            return value * weight, extras

        return loss

    def chosen(objective):
        def loss(model, x, hp):
            return objective(model, x, hp)

        return loss

    def doubled(model, x, hp):
        value, extras = elbo(model, x, hp)
        return 2 * value, extras

    def scaled(model, x, hp, factor=2.0):
        value, extras = elbo(model, x, hp)
        return factor * value, extras

    def held(value):
        def loss(model, x, hp):
            value_, extras = elbo(model, x, hp)
            return value_ * next(iter(value)), extras

        return loss

    class Called:
        def __init__(self, weight):
            self.weight = weight

        def __call__(self, model, x, hp):
            value, extras = elbo(model, x, hp)
            return value * self.weight, extras

        def method(self, model, x, hp):
            return self(model, x, hp)

    class Powered(Small):
        def __init__(self, power):
            super().__init__()
            self.power = power

    def vae(likelihood):
        return dict(
            make=lambda: models.small_vae(likelihood, (1, 28, 28), width=1, latents=1),
            data=torch.zeros(8, 1, 28, 28),
            loss=lambda m, x, hp: (m(x, hp.rng).distortion.mean(), {}),
        )

    new = [
        {}, dict(steps=4), dict(batch=7), dict(every=2), dict(lr=2e-3),
        dict(lr=lambda hp: 1e-3), dict(lr=lambda hp: 2e-3), dict(data=X + 1),
        dict(data=X.float(), make=partial(Small, torch.float32)), dict(valid=X[:9]),
        dict(sweep=[dict(beta=0.5, seed=2)]), dict(sweep=[dict(beta=0.6, seed=1)]),
        dict(make=partial(Small, hidden=4)), dict(loss=weighed(2.0)), dict(loss=weighed(3.0)),
        dict(loss=chosen(elbo)), dict(loss=chosen(doubled)), dict(loss=doubled),
        dict(loss=scaled), dict(loss=partial(scaled, factor=3.0)),
        dict(loss=partial(scaled, factor=4.0)), dict(make=lambda: Powered(1)),
        dict(loss=held([2.0])), dict(loss=held([3.0])), dict(loss=held({3.0: 1})),
        dict(loss=held(torch.tensor([5.0]))), dict(loss=held(torch.tensor([6.0]))),
        dict(loss=held(np.array([7.0]))), dict(loss=held((torch.tensor(2.0), 1))),
        dict(loss=Called(2.0)), dict(loss=Called(3.0)), dict(loss=Called(2.0).method),
        dict(loss=Called(3.0).method),
        dict(make=lambda: Powered(2)), vae(models.SharedGaussian()),
        vae(models.SharedGaussian(rate=3.0)), vae(models.PerPixelGaussian()),
        vae(models.PerPixelGaussian(clip=False)), vae(models.ConstantGaussian(0.1)),
        vae(models.ConstantGaussian(0.2)),
    ]  # fmt: skip
    for options in new:
        assert seen(**options) == 1, options
    again = (held([2.0]), held({3.0: 1}), held(torch.tensor([5.0])), held(np.array([7.0])),
             Called(3.0), Called(2.0).method)
    for options in (*new[:5], *new[13:21], *(dict(loss=loss) for loss in again)):
        assert seen(**options) == 0, options  # the same again is the same file


def test_names_keep_the_places_of_options_that_are_gone(tmp_path, monkeypatch):
    """A clip of 0.0 and a patience of 0: what was trained before is found again."""
    seen = []
    monkeypatch.setattr(loop, "fingerprint", lambda *facts: seen.append(facts) or "")
    go(steps=2, every=2, checkpoint=tmp_path)
    go(steps=2, every=2, checkpoint=tmp_path / "best", valid=X[:9], best="loss")
    plain, best = ([repr(fact) for fact in facts[2:6]] + [*facts[8:]] for facts in seen)
    assert plain == ["2", "8", "0.0", "2"] and best == [*plain, "loss", 0]


LIMIT = 1.0


def limited(model, x, hp):
    value, extras = elbo(model, x, hp)
    return value.clamp(max=LIMIT), extras


def test_a_constant_that_the_loss_reads_is_part_of_the_name(tmp_path, monkeypatch):
    go(steps=3, loss=limited, checkpoint=tmp_path)
    go(steps=3, loss=limited, checkpoint=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setitem(globals(), "LIMIT", 2.0)
    go(steps=3, loss=limited, checkpoint=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def capped(value):
    return value.clamp(max=LIMIT)


def helped(model, x, hp):
    value, extras = elbo(model, x, hp)
    return capped(value), extras


def test_what_a_model_does_is_part_of_the_name(tmp_path, monkeypatch):
    """A method of a reader's own module, one of its base, and the source of vaenb's networks."""
    class Twice(Small):
        def forward(self, x, rng):
            return super().forward(x, rng)

    usual, names = Twice.forward, set()

    def other(self, x, rng):
        return usual(self, x.flip(0), rng)

    for count, change in ((1, None), (1, None), (2, (Twice, "forward", other)),
                          (3, (Small, "helper", lambda self: 1)),
                          (4, (checkpoint, "SOURCE", "another"))):
        if change:
            monkeypatch.setattr(*change, raising=False)
        go(steps=3, make=Twice, checkpoint=tmp_path)
        names = {path.name for path in tmp_path.iterdir()}
        assert len(names) == count


def test_no_best_model_of_a_member_that_broke_before_its_first_validation():
    def broken(model, x, hp):
        value, extras = elbo(model, x, hp)
        return value * float("nan"), extras

    runs = go(loss=broken, steps=6, valid=X[:9], best="loss")
    assert not runs.alive[0] and runs.best == [None] and runs.best_step == [0]


def test_a_function_that_the_loss_calls_is_part_of_the_name(tmp_path, monkeypatch):
    go(steps=3, loss=helped, checkpoint=tmp_path)
    go(steps=3, loss=helped, checkpoint=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setitem(globals(), "LIMIT", 2.0)  # what the called function reads counts too
    go(steps=3, loss=helped, checkpoint=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setitem(globals(), "capped", lambda value: value.clamp(min=LIMIT))
    go(steps=3, loss=helped, checkpoint=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_function_that_calls_itself_has_a_name():
    def make():
        def turn(n):
            return n if n < 1 else turn(n - 1)

        return turn

    assert checkpoint._code(make()) == checkpoint._code(make())


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def damage_garbage(path):
    path.write_bytes(b"not an archive")


def damage_empty(path):
    path.write_bytes(b"")


def damage_flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


def damage_pickle(path):
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"p": np.array([{"an": "object"}], dtype=object)})


def damage_facts(path):
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"facts": np.array("{not json")})


def damage_lack(path):
    with np.load(path) as file:
        np.savez(path, **{name: file[name] for name in file if name != "p"})


def damage_size(path):
    with np.load(path) as file:
        np.savez(path, **dict(file) | {"p": np.zeros(3, np.float32)})


def damage_no_clock(path):
    with np.load(path) as file:
        facts = {k: v for k, v in json.loads(str(file["facts"])).items() if k != "history"}
        np.savez(path, **dict(file) | {"facts": np.array(json.dumps(facts))})


@pytest.mark.parametrize("damage", [damage_lack, damage_size, damage_no_clock, damage_truncate,
                                    damage_garbage, damage_empty, damage_flip, damage_pickle,
                                    damage_facts])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, damage):
    go(steps=5, checkpoint=tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    damaged = path.read_bytes()
    with pytest.raises(VaenbError, match="is damaged .*: delete it and run again") as caught:
        go(steps=5, checkpoint=tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == damaged
    path.unlink()
    assert same(go(steps=5, checkpoint=tmp_path)[0], go(steps=5)[0])


@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "numpy.savez"])
def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch, call):
    with pytest.raises(OutOfTime):
        go(steps=9, checkpoint=tmp_path, deadline=0.0)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()

    def full(*arguments, **named):
        if call == "numpy.savez":
            arguments[0].write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(VaenbError, match="No space left on device.*last one saved is whole"):
            go(steps=9, checkpoint=tmp_path)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before
    assert same(go(steps=9, checkpoint=tmp_path)[0], go(steps=9)[0])


def test_an_interruption_while_saving_leaves_no_litter(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(steps=3, checkpoint=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VaenbError, match="cannot be written"):
        go(steps=3, checkpoint=tmp_path / "file" / "folder")


# --- waiting for the device ---------------------------------------------------------------------


class Watch(TorchDispatchMode):
    """Counts what makes a host wait for a GPU: reading a number back, and copying one there."""

    WAITS = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "equal", "unique")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if any(w in name for w in self.WAITS):
            self.seen.append(name)
        return func(*args, **kwargs or {})


def test_nothing_waits_between_the_logging_steps():
    def reading(model, x, hp):
        float(hp.beta)
        return elbo(model, x, hp)

    def waits(steps, **options):
        with Watch() as watch:
            go([dict(beta=0.5, seed=1)], steps=steps, every=steps, **options)
        return len(watch.seen)

    assert waits(50) == waits(5)  # 45 more steps, eight more epochs: nothing
    assert waits(50, loss=reading) == waits(5, loss=reading) + 45


def group(make, loss, x, rows):
    """A group that has taken its first step."""
    work = Work(loss, (x,), None, 10, 4, 1e-3, 10, "")
    made = Group([initial(make, row["seed"]) for row in rows], rows, work, len(rows) > 1)
    made.shuffle()
    made.step()
    return made


DECODERS = [
    "Bernoulli", "UnitGaussian", "SharedGaussian", "OptimalGaussian", "PerImageGaussian",
    "PerPixelGaussian", "StudentT", "Categorical", "BitwiseCategorical", "LogisticMixture",
    "DiscretisedGaussian", "DiscretisedLogistic",
]  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
def test_no_decoder_makes_the_loop_wait(name):
    def loss(model, x, hp):
        nats = model(x, hp.rng)
        return (nats.distortion + nats.rate).mean(), {}

    make = partial(models.small_vae, getattr(models, name)(), (1, 28, 28), 2, 1)
    member = group(make, loss, torch.zeros(4, 1, 28, 28), [dict(seed=0)])
    with Watch() as watch:
        member.step()
    assert watch.seen == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_waits_on_a_gpu():
    member = group(partial(Small, torch.float32), elbo, X[:8].float().cuda(),
                   [dict(beta=0.5, seed=0)])
    torch.cuda.set_sync_debug_mode("error")
    try:
        member.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# --- bad input ----------------------------------------------------------------------------------

BAD = [
    (dict(steps=0), "steps is 0 and must be a whole number of at least 1"),
    (dict(steps=2.5), "steps is 2.5"),
    (dict(steps=True), "steps is True"),
    (dict(every=0), "every is 0"),
    (dict(batch=0), "batch is 0"),
    (dict(batch=51), "batch 51 is larger than the 50 training items"),
    (dict(valid=X[:0]), "the validation data are empty: give at least one item"),
    (dict(lr=-1e-3), "lr is -0.001 and must be a number above 0"),
    (dict(lr=math.nan), "lr is nan"),
    (dict(lr="fast"), "lr is 'fast'"),
    (dict(sweep=[dict(beta="0.1")]), "'beta' of sweep row 0 is '0.1' and must be a finite"),
    (dict(sweep=[dict(beta=1.0), dict(beta=math.nan)]), "'beta' of sweep row 1 is nan"),
    (dict(sweep=[dict(beta=math.inf)]), "'beta' of sweep row 0 is inf"),
    (dict(sweep=[dict(flag=True)]), "'flag' of sweep row 0 is True"),
    (dict(sweep=[dict(beta=None)]), "'beta' of sweep row 0 is None"),
    (dict(sweep=[dict(seed=1.5)]), "the seed of sweep row 0 is 1.5 and must be a whole number"),
    (dict(sweep=[dict(seed=2**64)]), "'seed' of sweep row 0 is 18446744073709551616"),
    (dict(sweep=[dict(step=1)]), "setting 'step' of sweep row 0 has a name that hp keeps"),
    (dict(sweep=dict(seed=1)), "sweep row 0 is 'seed' and must be a dict of numbers"),
    (dict(data=(X, X[:49])), r"parts of the training data have lengths \[50, 49\]"),
    (dict(data=X.numpy()), "the training data hold a ndarray: give tensors"),
    (dict(valid=(X, X[:49])), r"parts of the validation data have lengths \[50, 49\]"),
    (dict(device="tpu"), "device 'tpu' is unknown: take auto, cpu or cuda"),
    (dict(make=nn.Identity), "no parameters"),
]


@pytest.mark.parametrize(("options", "said"), BAD, ids=[said[:40] for _, said in BAD])
def test_bad_input_is_one_sentence(options, said, tmp_path):
    with pytest.raises(VaenbError, match=said) as caught:
        go(**options, checkpoint=tmp_path)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize(("returned", "said"), [
    (lambda value, extras: value, "must return a pair: the loss .* and a dict"),
    (lambda value, extras: (value, None), "must return a pair"),
    (lambda value, extras: (value, extras | dict(D=0.5)), "D, which the loss returns, is 0.5"),
    (lambda value, extras: (value.repeat(2), extras), "the loss, which the loss returns, is"),
])
def test_what_a_loss_must_return(returned, said, chunk):
    with pytest.raises(VaenbError, match=said):
        go([dict(beta=1.0, seed=k) for k in (0, 1)], steps=2, chunk=chunk,
           loss=lambda model, x, hp: returned(*elbo(model, x, hp)))


def test_a_model_is_made_and_not_given():
    with pytest.raises(VaenbError, match="fit takes a function that makes the model"):
        go(make=Small())


def test_numpys_scalars_are_numbers():
    rows = [dict(beta=np.float32(0.5), seed=np.int64(3))], [dict(beta=0.5, seed=3)]
    one, other = (go(sweep, steps=3) for sweep in rows)
    assert one.settings == other.settings and distance(one[0], other[0]) == 0


def test_a_deadline_without_a_folder_says_that_nothing_is_kept():
    with pytest.raises(OutOfTime, match="nothing is saved, since no folder"):
        go(steps=3, deadline=0.0)


def test_an_empty_sweep():
    with pytest.raises(VaenbError, match="the sweep is empty: give at least one row"):
        fit(Small, elbo, X, [], 3, batch=8, progress=False)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train.device() == train.device("cpu") == torch.device("cpu")
    with pytest.raises(VaenbError, match="cuda was asked for and torch sees no GPU"):
        train.device("cuda")
    with pytest.raises(VaenbError, match="no GPU"):
        go(device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert train.device() == train.device("cuda") == torch.device("cuda")


def test_progress_names_the_row(capsys):
    go([dict(beta=0.5, seed=7)], progress=True, label="demo")
    assert "demo beta=0.5 seed=7" in capsys.readouterr().out
    go(progress=False)
    assert capsys.readouterr().out == ""
