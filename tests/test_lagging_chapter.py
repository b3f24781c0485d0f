"""Chapter 4's driver, taken from its notebook: stopped at any step, it goes on to the same bits;
the paper's rules of when to stop; and what a run that breaks off says."""

import math
import time

import pytest
import torch
from cells import cells

from vaenb import train


@pytest.fixture(scope="module")
def chapter():
    patch = pytest.MonkeyPatch()
    patch.setenv("VAENB_PROFILE", "smoke")
    yield cells("04_lagging_inference", until="budget")
    patch.undo()


def whole(chapter, where, settings, folder=None):
    model, saved = chapter["train_one"](where, settings, 3, folder)
    return model.state_dict(), saved


@pytest.mark.parametrize("settings", [
    dict(model="Ours", init="usual"), dict(model="SA-VAE"),
    dict(model="Ours + anneal", start=0.1, warm=2),
])  # fmt: skip
def test_a_run_stopped_at_every_step_ends_with_the_same_bits(chapter, settings, tmp_path):
    once, alone = whole(chapter, "synthetic", settings)
    stops = 0
    try:
        chapter["deadline"] = time.monotonic()  # saves and stops after each decoder step
        while True:
            try:
                again, saved = whole(chapter, "synthetic", settings, tmp_path)
                break
            except train.OutOfTime:
                stops += 1
    finally:
        chapter["deadline"] = None
    assert stops > 5 and len(list(tmp_path.iterdir())) == 1
    assert all(torch.equal(once[name], again[name]) for name in once)
    for facts in (alone.facts, saved.facts):
        for timed in (facts, *facts["history"]):
            timed.pop("seconds")
    assert saved.facts == alone.facts
    if "points" in alone.best:
        assert torch.equal(saved.best["points"], alone.best["points"])
        assert len(alone.facts["frames"]) == len(alone.best["points"])


def test_frames_rise_and_begin_at_the_origin(chapter):
    _, saved = whole(chapter, "synthetic", dict(model="Ours", init="usual"))
    frames = saved.facts["frames"]
    steps = [f["steps"] for f in frames]
    assert steps[0] == 0 and sorted(set(steps)) == steps
    assert steps[-1] == saved.facts["steps"] and frames[0]["furthest"] < 0.1


def play(chapter, where, told, monkeypatch, **more):
    """Close epochs whose validation says (neg_elbo, mi_batch); the facts after each."""
    parts, saved = chapter["task"](where), None
    model = parts.make("VAE")
    steps = train.Parts(model, parts.optimiser, encoder=model.encoder, decoder=model.decoder)
    facts = dict(epoch=0, at=0, steps=0, lr=1.0, bad=0, decays=0, best=math.inf, kept=math.inf,
                 mi_batch=-math.inf, drops=0, aggressive=True, aggressive_epochs=0, seconds=0.0,
                 history=[], exploded=False)
    saved = train.Saved(None, steps, {}, "", facts)
    monkeypatch.setitem(parts.rules, "patience", 2)
    seen = []
    for neg_elbo, mi in told:
        monkeypatch.setitem(chapter, "look", lambda *a, v=(neg_elbo, mi), **k: dict(
            neg_elbo=v[0], mi_batch=v[1], rate=more.get("rate", 1.0)))
        chapter["close_epoch"](saved, where, dict(model="Ours"), time.process_time)
        seen.append({k: saved.facts[k] for k in ("aggressive", "decays", "lr", "bad", "exploded")})
    return seen


def test_text_ends_the_phase_with_the_first_epoch_of_less_information(chapter, monkeypatch):
    seen = play(chapter, "synthetic", [(9, 1.0), (8, 1.2), (7, 1.2), (6, 1.1), (5, 2.0)],
                monkeypatch)
    assert [s["aggressive"] for s in seen] == [True, True, True, False, False]


def test_images_end_it_after_five_epochs_below_the_best(chapter, monkeypatch):
    falls = [1.0, 0.9, 1.1, 1.0, 1.0, 1.0, 1.2, 1.1, 1.3]
    seen = play(chapter, "omniglot", [(9 - k, mi) for k, mi in enumerate(falls)], monkeypatch)
    assert [s["aggressive"] for s in seen] == [True] * 7 + [False] * 2


def test_decay_after_two_bad_epochs_and_a_fresh_start(chapter, monkeypatch):
    losses = [9, 8, 8.5, 8.4, 8.3, 8.6, 8.7]
    seen = play(chapter, "synthetic", [(v, 1.0) for v in losses], monkeypatch)
    assert [s["decays"] for s in seen] == [0, 0, 0, 1, 1, 1, 2]  # 8.3 is below 8.4, the new best
    assert [s["lr"] for s in seen] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_a_rate_that_explodes_ends_the_run(chapter, monkeypatch):
    assert play(chapter, "synthetic", [(9, 1)], monkeypatch, rate=2000.0)[0]["exploded"]
    assert play(chapter, "synthetic", [(math.nan, 1)], monkeypatch)[0]["exploded"]


def test_a_loss_that_is_no_number_says_where(chapter, monkeypatch, tmp_path):
    usual = chapter["spent"]

    def broken(model, x, rng):
        lost, rate = usual(model, x, rng)
        return lost * math.nan, rate

    monkeypatch.setitem(chapter, "spent", broken)
    monkeypatch.setattr(train.parts, "SAVE_SECONDS", -1.0)  # look at each step
    with pytest.raises(train.NotFinite, match="model VAE.*smaller learning rate"):
        whole(chapter, "synthetic", dict(model="VAE"), tmp_path)
    _, saved = whole(chapter, "synthetic", dict(model="VAE", speed=50))  # a result, in Table 10
    assert saved.facts["exploded"]


def test_weights_of_the_rate(chapter):
    weight = chapter["kl_weight"]
    rising = dict(start=0.1, warm=10)
    assert [weight(rising, e) for e in (0, 5, 10, 90)] == pytest.approx([0.1, 0.55, 1, 1])
    assert weight(dict(beta=0.2), 7) == 0.2 and weight({}, 0) == 1
