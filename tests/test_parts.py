"""Steps of parts of a model, held against plain torch, and loops that are stopped and go on."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from vaenb import VaenbError, train
from vaenb.train import Parts, Rng, Saved


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh())
        self.decoder = nn.Linear(4, 2)
        self.double()

    def forward(self, x):
        return self.decoder(self.encoder(x))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.5)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.1)


def made(make=adam, clip=0.0):
    model = Two()
    return Parts(model, make, clip, encoder=model.encoder, decoder=model.decoder)


def loss_of(parts, step):
    x = Rng.of(1, step=step).normal(8, 3, dtype=torch.float64)
    return (parts.model(x) - x[:, :2]).square().mean() * 10


def test_only_the_named_parts_move():
    parts = made()
    before = {n: t.clone() for n, t in parts.model.state_dict().items()}
    norms = parts.step(loss_of(parts, 0), "encoder")
    after = parts.model.state_dict()
    moved = {n for n in before if "running" not in n and "num" not in n
             and not torch.equal(before[n], after[n])}
    assert {n.split(".")[0] for n in moved} == {"encoder"} and set(norms) == {"encoder", "decoder"}
    assert norms["decoder"] > 0
    parts.step(loss_of(parts, 1), "encoder", "decoder")
    assert not torch.equal(before["decoder.weight"], parts.model.decoder.weight)


@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_a_step_is_torchs(clip):
    """Two optimisers, the norm of all gradients clipped though one part alone moves."""
    parts, model = made(sgd, clip), Two()
    first, second = (sgd(m.parameters()) for m in (model.encoder, model.decoder))
    for step in range(6):
        names = ("encoder",) if step % 3 else ("encoder", "decoder")
        norms = parts.step(loss_of(parts, step), *names)
        model.zero_grad()
        x = Rng.of(1, step=step).normal(8, 3, dtype=torch.float64)
        ((model(x) - x[:, :2]).square().mean() * 10).backward()
        whole = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        assert torch.allclose(sum(n.square() for n in norms.values()).sqrt(), whole)
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            assert whole > clip
        first.step()
        if step % 3 == 0:
            second.step()
    for name, value in model.state_dict().items():
        assert torch.allclose(value, parts.model.state_dict()[name], rtol=1e-13), name


def test_speeds_are_per_part_and_renewed():
    parts = made(sgd)
    parts.speed("encoder", 4)
    assert parts.optimisers["encoder"].param_groups[0]["lr"] == 2.0
    assert parts.optimisers["decoder"].param_groups[0]["lr"] == 0.5
    parts.renew(0.5)
    assert {o.param_groups[0]["lr"] for o in parts.optimisers.values()} == {0.25}


def loop(folder, steps, deadline=None, stop_at=None, make=adam):
    """A loop that notes its best and halves its speed at step 7."""
    parts = made(make, 1.0)
    saved = Saved(folder, parts, dict(seed=3), "test", dict(at=0, lowest=9e9), deadline)
    while saved.facts["at"] < steps:
        at = saved.facts["at"]
        if at == 7:
            parts.renew(0.5)
        loss = loss_of(parts, at)
        parts.step(loss, *(("encoder",) if at % 2 else ("encoder", "decoder")))
        if loss.item() < saved.facts["lowest"]:
            saved.facts["lowest"] = loss.item()
            saved.best = {n: t.clone() for n, t in parts.model.state_dict().items()}
        saved.facts["at"] += 1
        if saved.facts["at"] == stop_at:
            saved.save()
            return None
        saved.tick()
    return parts.arrays(), saved.best, saved.facts


@pytest.mark.parametrize("make", [sgd, adam])
@pytest.mark.parametrize("stop", [1, 6, 7, 11])
def test_a_stopped_loop_ends_with_the_same_bits(tmp_path, stop, make):
    whole = loop(None, 12, make=make)
    assert loop(tmp_path, 12, stop_at=stop, make=make) is None
    again = loop(tmp_path, 12, make=make)
    assert again[2] == whole[2]
    for ours, theirs in zip(again[:2], whole[:2], strict=True):
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_the_deadline_saves_first(tmp_path):
    with pytest.raises(train.OutOfTime):
        loop(tmp_path, 12, deadline=time.monotonic() - 1)
    assert loop(tmp_path, 12)[2] == loop(None, 12)[2]


def test_what_is_not_finite_is_told_and_never_saved(tmp_path):
    loop(tmp_path, 12, stop_at=5)
    parts = made(adam, 1.0)
    saved = Saved(tmp_path, parts, dict(seed=3), "test", dict(at=0))
    with torch.no_grad():
        parts.model.decoder.bias[0] = float("nan")
    with pytest.raises(VaenbError, match=r"not finite \(by batch 5, seed 3\): what was saved"):
        saved.save()
    with pytest.raises(VaenbError, match="not finite"):
        saved.check(float("inf"))
    fresh = made(adam, 1.0)
    again = Saved(tmp_path, fresh, dict(seed=3), "test", dict(at=0))
    assert again.facts["at"] == 5 and fresh.model.decoder.bias.isfinite().all()


def test_a_checkpoint_that_lacks_something_is_told(tmp_path):
    for spoil in (lambda a: a.pop("decoder.lr"),
                  lambda a: a.update({"model.decoder.bias": np.zeros(1)})):
        loop(tmp_path, 12, stop_at=5)
        [path] = tmp_path.iterdir()
        with np.load(path) as file:
            arrays = dict(file)
        spoil(arrays)
        np.savez(path, **arrays)
        with pytest.raises(VaenbError, match="is damaged .*: delete it and run again"):
            loop(tmp_path, 12)
        path.unlink()


def test_what_has_ended_keeps_one_model_and_what_was_shown(tmp_path):
    parts = made(adam)
    saved = Saved(tmp_path, parts, dict(seed=3), "test", dict(at=0))
    parts.step(loss_of(parts, 0), "encoder", "decoder")
    saved.best = {f"model.{n}": t.clone() for n, t in parts.model.state_dict().items()}
    saved.best["points"] = torch.ones(2)
    saved.close()
    again = Saved(tmp_path, made(adam), dict(seed=3), "test", dict(at=0))
    assert list(again.best) == ["points"]
    assert all(torch.equal(t, again.parts.model.state_dict()[n])
               for n, t in parts.model.state_dict().items())
    with np.load(next(tmp_path.iterdir())) as file:
        assert {n.split(".")[0] for n in file.files} == {
            "facts", "model", "best", "encoder", "decoder"}
        assert [n for n in file.files if n.startswith("encoder")] == ["encoder.lr"]


def test_a_save_that_takes_long_is_made_less_often(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(train.parts.time, "monotonic", lambda: clock[0])
    saved = Saved(None, made(), {}, "", dict(at=0))
    ends, usual = [], saved.save

    def slow():
        clock[0] += 20
        usual()
        ends.append(clock[0])

    monkeypatch.setattr(saved, "save", slow)
    while clock[0] < 600:
        saved.tick()
        clock[0] += 1
    assert [b - a for a, b in zip(ends, ends[1:], strict=False)] == [101] * (len(ends) - 1)
    assert len(ends) > 4  # a fifth of the time


def test_parts_must_make_a_whole():
    model = Two()
    for parts in (dict(encoder=model.encoder), dict(a=model, b=model.decoder)):
        with pytest.raises(VaenbError, match="must hold each parameter of the model once"):
            Parts(model, sgd, **parts)


@pytest.mark.parametrize("changed", ["make", "rate", "clip"])
def test_another_optimiser_or_clip_is_another_file(tmp_path, changed):
    def file(make=adam, clip=0.0):
        saved = Saved(tmp_path, made(make, clip), {}, "same", {})
        saved.save()
        return saved.store.path

    others = dict(make=lambda: file(sgd), clip=lambda: file(clip=0.1),
                  rate=lambda: file(lambda p: torch.optim.Adam(p, lr=0.2)))
    assert file() == file() != others[changed]()


def test_a_part_that_is_not_there_moves_nothing():
    parts = made()
    before = {n: t.clone() for n, t in parts.model.state_dict().items()}
    loss = loss_of(parts, 0)
    with pytest.raises(VaenbError, match="no part 'decodr' to move: the parts are encoder, dec"):
        parts.step(loss, "encoder", "decodr")
    assert all(torch.equal(before[n], p) for n, p in parts.model.named_parameters())
    model = Two()
    with pytest.raises(VaenbError, match="no part can be called 'best'"):
        Parts(model, adam, best=model.encoder, decoder=model.decoder)


def test_a_part_without_a_gradient_has_the_norm_0():
    parts = made()
    norms = parts.step(parts.model.encoder(torch.ones(4, 3, dtype=torch.float64)).sum(), "encoder")
    assert norms["decoder"] == 0 and norms["decoder"].dtype == torch.float64
