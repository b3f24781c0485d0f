"""A sweep as one program: every member as if it were alone, in torch's own loop."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_train import BATCH, SWEEP, N, Small, X, breaking, elbo, go, order_of, randn, same
from torch import nn

import vaenb
from vaenb import VaenbError, models
from vaenb.train import OutOfTime, Rng, fit, together
from vaenb.train.group import Group
from vaenb.train.together import Captured

IMAGES = randn(N, 1, 8, 8, seed=5).sigmoid()


class Masked(nn.Conv2d):
    """A convolution that sees the rows above only, as autoregressive nets do."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        mask = torch.ones_like(self.weight)
        mask[:, :, self.kernel_size[0] // 2 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x):
        return self._conv_forward(x, self.weight * self.mask, self.bias)


def mlp():
    return models.mlp_vae(models.Bernoulli(), (1, 8, 8), 3, latents=2, width=7).double()


def cnn():
    return models.cnn_vae(models.Bernoulli(), (1, 8, 8), 2, latents=2, width=4).double()


def small():
    return models.small_vae(models.OptimalGaussian(), (1, 8, 8), latents=2, width=2).double()


def with_encoder(encoder):
    vae = mlp()
    vae.encoder = encoder.double()
    return vae


def masked():
    return with_encoder(nn.Sequential(
        Masked(1, 4, 3, 1, 1), nn.Tanh(), nn.Flatten(), nn.Linear(256, 4)))


def batchnorm():
    return with_encoder(nn.Sequential(
        nn.Conv2d(1, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(),
        nn.Linear(64, 4)))


NETS = dict(mlp=mlp, cnn=cnn, small=small, masked=masked, batchnorm=batchnorm)
ROWS = [dict(beta=b, seed=s, lr=r) for b, s, r in (
    (0.1, 0, 1e-3), (1.0, 0, 3e-3), (0.1, 1, 1e-3), (4.0, 7, 3e-4))]


def beta_vae(model, x, hp):
    nats = model(x, hp.rng)
    loss = nats.distortion + hp.beta * nats.rate
    return loss.mean(), dict(D=nats.distortion.mean(), R=nats.rate.mean())


def sweep(make, rows=ROWS, steps=200, loss=beta_vae, data=IMAGES, chunk=9, **options):
    options = dict(batch=BATCH, every=50, progress=False, device="cpu",
                   lr=lambda hp: hp.lr) | options
    return fit(make, loss, data, rows, steps, chunk=chunk, **options)


def alone(make, row, steps, data=IMAGES, loss=beta_vae):
    """One member in the loop that anybody would write."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(row["seed"])
        model = make()
    optimiser = torch.optim.Adam(model.parameters(), lr=row["lr"])
    for t in range(steps):
        epoch, k = divmod(t, N // BATCH)
        x = data[order_of(row["seed"], epoch)[k * BATCH : (k + 1) * BATCH]]
        hp = SimpleNamespace(beta=row["beta"], rng=Rng.of(row["seed"], "noise", t), step=t)
        optimiser.zero_grad()
        loss(model, x, hp)[0].backward()
        optimiser.step()
    return model


def distance(a, b):
    """Relative distance of all parameters and buffers together."""
    a, b = (torch.cat([t.detach().double().flatten() for t in m.state_dict().values()])
            for m in (a, b))
    return float((a - b).norm() / b.norm())


def really_stacked(monkeypatch):
    """The widths of all groups that are made."""
    widths, real = [], Group.__init__

    def init(self, models, rows, work, stacked):
        widths.append((len(rows), stacked))
        real(self, models, rows, work, stacked)

    monkeypatch.setattr(Group, "__init__", init)
    return widths


# --- the same as alone --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_a_member_is_the_model_trained_alone_with_torchs_adam(name, monkeypatch):
    widths = really_stacked(monkeypatch)
    runs = sweep(NETS[name])
    assert (4, True) in widths and runs.alive == [True] * 4
    for k, row in enumerate(ROWS):
        assert distance(runs[k], alone(NETS[name], row, 200)) < 1e-10
    assert distance(runs[0], runs[1]) > 1e-3


@pytest.mark.parametrize("name", ["mlp", "cnn", "masked", "batchnorm"])
def test_in_float32_over_ten_steps(name):
    def make():
        return NETS[name]().float()

    runs = sweep(make, data=IMAGES.float(), steps=10)
    for k, row in enumerate(ROWS):
        assert distance(runs[k], alone(make, row, 10, data=IMAGES.float())) < 1e-5


def test_stacked_or_one_by_one_is_the_same_to_rounding():
    wide, plain = (go(SWEEP, steps=60, chunk=c, valid=X[:9], best="D") for c in (4, 1))
    for k in range(4):
        assert distance(wide[k], plain[k]) < 1e-12 and wide.best_step == plain.best_step
        assert distance(wide.best[k], plain.best[k]) < 1e-12
        assert wide.history[k].keys() == plain.history[k].keys()
        for name, values in wide.history[k].items():
            assert np.allclose(values, plain.history[k][name], rtol=1e-10)


# --- a member's path is its row's alone, bit for bit ---------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "cnn", "batchnorm"])
def test_neighbours_place_and_chunks_do_not_matter(name):
    make = NETS[name]
    whole = sweep(make, steps=40)
    for other in (sweep(make, ROWS[::-1], steps=40), sweep(make, steps=40, chunk=2)):
        back = other.settings[0] != ROWS[0]
        for k in range(4):
            at = 3 - k if back else k
            assert same(whole[k], other[at]) and whole.history[k] == other.history[at]
    pair = sweep(make, [ROWS[2], dict(beta=9.0, seed=3, lr=1e-2)], steps=40)
    assert same(whole[2], pair[0])


def test_equal_seeds_share_start_order_and_noise():
    def loss(model, x, hp):
        told = dict(x=x.sum(), noise=hp.rng.normal(3, dtype=x.dtype).sum(),
                    start=sum(p.sum() for p in model.parameters()))
        return beta_vae(model, x, hp)[0], told

    runs = sweep(mlp, steps=9, every=1, loss=loss, lr=1e-3)
    a, b, other, last = runs.history
    assert a["x"] == b["x"] and a["noise"] == b["noise"] and a["start"][0] == b["start"][0]
    for name in ("x", "noise", "start"):
        assert not set(a[name][:1]) & {other[name][0], last[name][0]}


def test_out_of_time_at_every_step_then_the_same_bits(tmp_path):
    options = dict(steps=12, every=5, valid=IMAGES[:9], best="D", checkpoint=tmp_path)
    whole, stops = sweep(batchnorm, **options | dict(checkpoint=None)), 0
    while True:
        try:
            runs = sweep(batchnorm, deadline=time.monotonic() - 1, **options)
            break
        except OutOfTime:
            stops += 1
    assert stops == 11 and len(list(tmp_path.iterdir())) == 4
    for k in range(4):
        assert same(runs[k], whole[k]) and runs.history[k] == whole.history[k]
        assert same(runs.best[k], whole.best[k]) and runs.best_step[k] == whole.best_step[k]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_sweep as t
from vaenb.train import loop

saves, real = [], os.fsync

def fsync(handle):
    saves.append(1)
    if len(saves) == 22:  # five saves of four members, then the second of the sixth
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = fsync
loop.SAVE_SECONDS, loop.SAVE_SHARE = -1.0, 1.0  # save after every step
t.sweep(t.mlp, steps=20, checkpoint=sys.argv[2])
"""


def test_killed_between_the_saves_of_two_members(tmp_path):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(vaenb.ROOT), "OMP_NUM_THREADS": "1"}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert died.returncode == -signal.SIGKILL, died.stderr
    steps = []
    for path in tmp_path.glob("*.npz"):
        with np.load(path) as file:
            steps.append(json.loads(str(file["facts"]))["t"])
    assert sorted(steps) == [5, 5, 5, 6]  # they go on in two groups
    runs, whole = sweep(mlp, steps=20, checkpoint=tmp_path), sweep(mlp, steps=20)
    for k in range(4):
        assert same(runs[k], whole[k]) and runs.history[k] == whole.history[k]


def test_a_chunk_of_another_size_goes_on_from_the_same_files(tmp_path):
    with pytest.raises(OutOfTime):
        sweep(mlp, steps=30, checkpoint=tmp_path, deadline=time.monotonic() - 1)
    runs, whole = sweep(mlp, steps=30, checkpoint=tmp_path, chunk=1), sweep(mlp, steps=30)
    assert len(list(tmp_path.iterdir())) == 4
    assert all(distance(runs[k], whole[k]) < 1e-12 for k in range(4))


# --- per member ---------------------------------------------------------------------------------


def test_a_member_that_breaks_stands_still_and_disturbs_nobody(capsys):
    options = dict(chunk=4, every=5)
    runs = go(SWEEP, steps=30, loss=breaking, progress=True, **options)
    said = capsys.readouterr().out
    assert "beta=1 seed=0 met a number that is not finite by step 15" in said
    whole, before = go(SWEEP, steps=30, **options), go(SWEEP, steps=12, **options)
    assert runs.alive == [True, True, False, True]
    assert same(runs[2], before[2])  # parameters and buffers as before the bad step
    for k in (0, 1, 3):
        assert same(runs[k], whole[k]) and runs.history[k] == whole.history[k]
    assert runs.history[2]["step"] == [5, 10, 15] and math.isnan(runs.history[2]["loss"][2])


def test_schedules_by_row():
    def halving(hp):
        return 1e-3 * hp.speed * 0.5 ** (hp.step / 20)

    rows = [dict(beta=0.5, seed=1, speed=s) for s in (1.0, 3.0)]
    runs = go(rows, steps=30, lr=halving, chunk=2)
    for k, row in enumerate(rows):
        single = go([row], steps=30, lr=halving, chunk=1)
        assert distance(runs[k], single[0]) < 1e-12
    assert distance(runs[0], runs[1]) > 1e-3


@pytest.mark.parametrize("chunk", [1, 4])
def test_the_best_validation_is_kept(chunk):
    def loss(model, x, hp):  # a validation loss that falls until step hp.turn, then rises
        value, extras = elbo(model, x, hp)
        return value, extras | dict(V=(hp.step - hp.turn).abs().double())

    rows = [dict(beta=0.5, seed=s, turn=t) for s, t in ((0, 10), (1, 25), (2, 1000))]
    options = dict(loss=loss, valid=X[:9], best="V", every=5, chunk=chunk)
    runs = go(rows, steps=60, **options)
    assert runs.best_step == [10, 25, 60] and runs.alive == [True] * 3
    assert [h["step"][-1] for h in runs.history] == [60, 60, 60]
    for k, last in enumerate((10, 25, 60)):
        there = go(rows, steps=last, **options)
        assert same(runs.best[k], there[k]) and not runs.best[k].training
    assert go(rows, steps=5).best == [None] * 3


# --- how many together --------------------------------------------------------------------------


def test_the_choice_on_a_cpu_is_said_and_goes_by_size(capsys, monkeypatch):
    widths = really_stacked(monkeypatch)
    go(SWEEP, chunk=0, progress=True, label="demo")
    assert "demo 4 members, 4 at a time: tiny nets gain" in capsys.readouterr().out
    assert (4, True) in widths
    widths.clear()

    def large():
        return models.mlp_vae(models.Bernoulli(), (1, 8, 8), 1, width=400)

    monkeypatch.setattr(together, "TINY", 1e5)
    sweep(large, ROWS[:2], steps=1, data=IMAGES.float(), chunk=0, progress=True)
    assert "2 members, 1 at a time: a CPU has no gain" in capsys.readouterr().out
    assert all(width == (1, False) for width in widths)


class Recurrent(Small):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 3, batch_first=True).double()

    def loss(self, x, hp):
        value, extras = elbo(self, x, hp)
        return value + self.lstm(x[:, :, None])[0].square().mean(), extras


def branching(model, x, hp):
    value, extras = elbo(model, x, hp)
    return value * (2 if hp.beta > 0.5 else 1), extras


def growing():
    return Small(hidden=4 + int(torch.randint(8, ())))


@pytest.mark.parametrize(("make", "loss", "said"), [
    (Recurrent, lambda model, x, hp: model.loss(x, hp), "torch"),
    (Small, branching, "torch cannot batch this model or loss"),
    (growing, elbo, "their shapes differ"),
])  # fmt: skip
def test_what_cannot_be_stacked_trains_one_by_one(make, loss, said, capsys):
    runs = go(SWEEP, make=make, loss=loss, chunk=4, progress=True, steps=8)
    assert f"4 members, 1 at a time: {said}" in capsys.readouterr().out
    single = go([SWEEP[3]], make=make, loss=loss, steps=8)
    assert same(runs[3], single[0])


def test_out_of_memory_halves_the_chunk(monkeypatch, capsys):
    real = Group.step

    def step(self):
        if len(self) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        real(self)

    whole = go(SWEEP, chunk=4)
    monkeypatch.setattr(Group, "step", step)
    runs = go(SWEEP, chunk=4, progress=True)
    assert "out of memory with 4 members together: now 2" in capsys.readouterr().out
    assert all(same(runs[k], whole[k]) for k in range(4))
    monkeypatch.setattr(Group, "step", lambda self: step([0] * 3))
    with pytest.raises(VaenbError, match="one model at batch 8 does not fit into the memory"):
        go(SWEEP, chunk=1)
    assert together.is_out_of_memory(RuntimeError(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not together.is_out_of_memory(RuntimeError("shape mismatch"))


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "said"), [
    (dict(sweep=[dict(beta=1.0), dict(beta=2.0, lr=0.1)]),
     "sweep row 1 has the settings beta, lr and row 0 has beta: give all rows the same"),
    (dict(sweep=[dict(beta=1.0), dict(beta=2.0), dict(beta=1.0)]), "rows 0 and 2 are equal"),
    (dict(sweep=[dict(beta=-0.5)]), "'beta' of sweep row 0 is -0.5 and must not be below 0"),
    (dict(sweep=[dict(lam=-1.0)]), "'lam' of sweep row 0 is -1.0 and must not be below 0"),
    (dict(sweep=[dict(beta2=-1)]), "'beta2' of sweep row 0 is -1"),
    (dict(chunk=-1), "chunk is -1 and must be a whole number of at least 0"),
    (dict(best="loss"), "best needs validation data"),
    (dict(best="V", valid=X[:9]), "the loss returns no 'V'"),
])  # fmt: skip
def test_bad_sweeps_are_one_sentence(options, said, tmp_path):
    with pytest.raises(VaenbError, match=said) as caught:
        go(**options, checkpoint=tmp_path)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_version(tmp_path):
    go(steps=4, checkpoint=tmp_path)
    (path,) = tmp_path.iterdir()
    with np.load(path) as file:
        arrays = {n: file[n] for n in file.files}
    facts = json.loads(str(arrays.pop("facts"))) | dict(layout=1)
    np.savez(path, facts=np.array(json.dumps(facts)), **arrays)
    before = path.read_bytes()
    with pytest.raises(VaenbError, match="was written by another version of vaenb: delete it"):
        go(steps=4, checkpoint=tmp_path)
    assert path.read_bytes() == before


# --- on a GPU -----------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["mlp", "cnn", "batchnorm"])
def test_a_captured_sweep_is_the_loop_on_a_cpu(name):
    runs = sweep(NETS[name], device="cuda", chunk=4)
    for k, row in enumerate(ROWS):
        assert distance(runs[k].cpu(), alone(NETS[name], row, 200)) < 1e-10
    single = sweep(NETS[name], ROWS[:1], device="cuda")
    assert distance(single[0].cpu(), alone(NETS[name], ROWS[0], 200)) < 1e-10


class FakeCuda:
    """As much of torch.cuda as `Captured` asks for; ``fail`` is raised when a capture ends."""

    def __init__(self, monkeypatch, fail=None):
        self.mode, self.capturing, self.replays, self.stream, self.fail = 0, False, 0, "main", fail
        for name, fake in dict(
                Stream=lambda device: SimpleNamespace(wait_stream=lambda other: None),
                current_stream=lambda: SimpleNamespace(wait_stream=lambda other: None),
                stream=lambda stream: contextlib.nullcontext(), synchronize=lambda: None,
                set_stream=lambda stream: setattr(self, "stream", "restored"),
                get_sync_debug_mode=lambda: self.mode,
                set_sync_debug_mode=lambda mode: setattr(self, "mode", mode),
                CUDAGraph=lambda: SimpleNamespace(replay=self.replay),
                graph=self.graph).items():
            monkeypatch.setattr(torch.cuda, name, fake)

    def replay(self):
        self.replays += 1

    @contextlib.contextmanager
    def graph(self, graph, stream):
        self.capturing = True
        yield
        self.capturing = False
        if self.fail:
            raise self.fail


def five_steps(cuda, waits=False):
    """How many true steps each of five calls makes; each moves a running average first."""
    taken, buffers = [], dict(average=torch.zeros(1))

    def step():
        if not cuda.capturing:
            buffers["average"] += 1
        if waits and cuda.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        if not cuda.capturing:
            taken.append(1)

    run = Captured(SimpleNamespace(p=torch.zeros(1), step=step, buffers=buffers))
    counts = []
    for _ in range(5):
        before = len(taken) + cuda.replays
        run()
        counts.append(len(taken) + cuda.replays - before)
    assert buffers["average"] == len(taken)
    return counts, run


def test_a_captured_step_is_one_step_a_call(monkeypatch):
    cuda = FakeCuda(monkeypatch)
    assert five_steps(cuda)[0] == [1] * 5 and cuda.replays == 2 and cuda.mode == 0


def test_a_step_that_waits_is_never_captured(monkeypatch):
    cuda = FakeCuda(monkeypatch, fail=AssertionError("captured"))
    with pytest.warns(UserWarning, match="not captured: called a synchronizing"):
        counts, _ = five_steps(cuda, waits=True)
    assert counts == [1] * 5 and cuda.replays == 0 and cuda.mode == 0


def test_a_capture_that_fails_goes_on_step_by_step(monkeypatch):
    cuda = FakeCuda(monkeypatch, fail=RuntimeError("operation not permitted"))
    with pytest.warns(UserWarning, match="not captured: operation not permitted"):
        counts, run = five_steps(cuda)
    assert counts == [1] * 5 and cuda.replays == 0 and cuda.stream == "restored"
    cuda = FakeCuda(monkeypatch, fail=torch.cuda.OutOfMemoryError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):  # `fit` halves the group
        five_steps(cuda)
