"""Chapter 4's driver, taken from its notebook: stopped at any step, it goes on to the same bits;
the paper's rules of when to stop; and what a run that breaks off says."""

import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cells import cells

from vaenb import VaenbError, data, measure, train
from vaenb.report import targets


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


def test_what_figure_2_shows_is_on_the_finer_grid(chapter):
    """The start, the first look, the widest frame and the last; they are the finer grid's."""
    model, saved = whole(chapter, "synthetic", dict(model="VAE", init="usual"))
    frames, points = saved.facts["frames"], saved.best["points"]
    widest = max(range(len(frames)), key=lambda k: frames[k]["sd_model"])
    assert all(frames[k]["fine"] for k in {0, 1, widest, len(frames) - 1})
    parts = chapter["task"]("synthetic").make("VAE")
    parts.load_state_dict(model)
    fine, coarse = (chapter["points_of"](parts, "synthetic", stride) for stride in (0.2, 2.0))
    assert torch.equal(points[-1], fine) and not torch.equal(fine, coarse)
    assert saved.facts["grid_error"] >= float((fine - coarse).abs().max()) > 0
    told = chapter["points_told"](saved)
    assert told["grid_points"] == len(fine) * sum(f["fine"] for f in frames) > 0


def test_one_training_serves_figure_2_and_the_tables(chapter, tmp_path, monkeypatch):
    named = chapter["trained_as"]
    assert named("synthetic", dict(model="VAE")) == dict(model="VAE", init="usual")
    assert named("yahoo", dict(model="VAE")) == dict(model="VAE")
    assert named("synthetic", dict(model="VAE", beta=0.2)) == dict(model="VAE", beta=0.2)
    first, saved = whole(chapter, "synthetic", dict(model="VAE", init="usual"), tmp_path)
    monkeypatch.setitem(chapter, "basic_step", None)  # not one more step
    again, found = whole(chapter, "synthetic", named("synthetic", dict(model="VAE")), tmp_path)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert found.facts == saved.facts


def play(chapter, where, told, monkeypatch, **more):
    """Close epochs whose validation says (neg_elbo, mi_batch); the facts after each."""
    parts, saved = chapter["task"](where), None
    model = parts.make("VAE")
    steps = train.Parts(model, parts.optimiser, encoder=model.encoder, decoder=model.decoder)
    facts = dict(epoch=0, at=0, steps=0, lr=1.0, bad=0, decays=0, best=math.inf, kept=math.inf,
                 mi_batch=-math.inf, drops=0, aggressive=True, aggressive_epochs=0, seconds=0.0,
                 history=[], exploded=False)
    saved = train.Saved(None, steps, {}, "", facts)
    monkeypatch.setitem(chapter["RULES"][where], "patience", 2)
    moving, seen = next(model.parameters()), []
    for neg_elbo, mi in told:
        with torch.no_grad():
            moving.add_(1.0)  # a training that can be told by its epochs
        before = float(moving.detach().flatten()[0])
        monkeypatch.setitem(chapter, "look", lambda *a, v=(neg_elbo, mi), **k: dict(
            neg_elbo=v[0], mi_batch=v[1], rate=more.get("rate", 1.0)))
        settings = dict(model="Ours") | more.get("settings", {})
        chapter["close_epoch"](saved, where, settings, time.process_time)
        seen.append({k: saved.facts[k] for k in ("aggressive", "decays", "lr", "bad", "exploded")}
                    | dict(before=before, after=float(moving.detach().flatten()[0])))
    return seen


def test_text_ends_the_phase_with_the_first_epoch_of_less_information(chapter, monkeypatch):
    seen = play(chapter, "synthetic", [(9, 1.0), (8, 1.2), (7, 1.2), (6, 1.1), (5, 2.0)],
                monkeypatch)
    assert [s["aggressive"] for s in seen] == [True, True, True, False, False]


def test_looks_that_are_further_apart_see_less(chapter, monkeypatch):
    mi = [1, 0, 0, 2, 1, 1, 3]  # after every second epoch it was 0, 2 and 1
    seen = play(chapter, "synthetic", [(9 - k, i) for k, i in enumerate(mi)], monkeypatch,
                settings=dict(look=2))
    assert [s["aggressive"] for s in seen] == [True] * 5 + [False] * 2


def test_runs_of_our_own_answer_no_printed_cell(chapter):
    assert chapter["answers"]("yahoo", dict(model="Ours"))
    assert not chapter["answers"]("yahoo", dict(model="Ours", look=8))


def test_images_end_it_after_five_epochs_below_the_best(chapter, monkeypatch):
    falls = [1.0, 0.9, 1.1, 1.0, 1.0, 1.0, 1.2, 1.1, 1.3]
    seen = play(chapter, "omniglot", [(9 - k, mi) for k, mi in enumerate(falls)], monkeypatch)
    assert [s["aggressive"] for s in seen] == [True] * 7 + [False] * 2


def test_decay_after_two_bad_epochs_and_a_fresh_start(chapter, monkeypatch):
    losses = [9, 8, 8.5, 8.4, 8.3, 8.6, 8.7]
    seen = play(chapter, "synthetic", [(v, 1.0) for v in losses], monkeypatch)
    assert [s["decays"] for s in seen] == [0, 0, 0, 1, 1, 1, 2]  # 8.3 is below 8.4, the new best
    assert [s["lr"] for s in seen] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    best = seen[1]["before"]  # of loss 8; it comes back with every decay, and else nothing moves
    assert [s["after"] for s in seen] == [
        best if s["decays"] > before else s["before"]
        for s, before in zip(seen, [0, 0, 0, 0, 1, 1, 1], strict=True)]


def test_images_hold_an_epoch_against_the_best_of_all(chapter, monkeypatch):
    losses = [9, 8, 8.5, 8.4, 8.3, 8.6, 8.7]
    seen = play(chapter, "omniglot", [(v, 1.0) for v in losses], monkeypatch)
    assert [s["decays"] for s in seen] == [0, 0, 0, 1, 1, 2, 2]  # 8.3 is above 8


def test_yahoo_does_not_decay_before_its_sixteenth_epoch(chapter, monkeypatch):
    seen = play(chapter, "yahoo", [(8 + k, 1.0) for k in range(18)], monkeypatch)
    assert [s["decays"] for s in seen] == [0] * 15 + [1, 1, 2]


def test_numbers_of_the_protocol(monkeypatch):
    """Those of the authors' code and of appendices B, E and F, in `full` and in `cpu`."""
    for profile in ("full", "cpu"):
        monkeypatch.setenv("VAENB_PROFILE", profile)
        own = cells("04_lagging_inference", until="budget")
        assert own["RULES"] == dict(
            synthetic=dict(patience=2, since=0, longest=50),
            yahoo=dict(patience=2, since=15, longest=100),
            yelp=dict(patience=2, since=15, longest=100),
            omniglot=dict(patience=20, since=0, longest=1000, of_all=True))
        assert (own["MOST"], own["DECAYS"], own["ANNEAL"]) == (99, 5, dict(start=0.1, warm=10))
        assert own["scale"]["samples"] == 500 and not own["scale"]["epochs"]
        # thousands of steps, by batches an epoch: 3200 of text, 447 of images
        for where, batches in (("text", 3200), ("omniglot", 447)):
            assert sorted(own["SLOW"][where].values()) == [30, 50, 100, 120]
            for epochs, thousands in own["SLOW"][where].items():
                assert epochs == pytest.approx(1000 * thousands / batches, abs=0.7)


def test_windows_counts_and_optimisers_of_text_and_images(chapter):
    x = torch.zeros(3, 12, dtype=torch.int64)
    p = [torch.zeros(1, requires_grad=True)]
    for where in ("synthetic", "yahoo"):
        t = chapter["task"](where)
        assert t.window == 15 and t.count(x) == 33  # words, but for the first of each
        optimiser = t.optimiser(p)
        assert isinstance(optimiser, torch.optim.SGD) and optimiser.defaults["lr"] == 1.0
        assert optimiser.defaults["momentum"] == 0
    t = chapter["task"]("omniglot")
    assert t.window == 10 and t.count(torch.zeros(3, 1, 28, 28)) == 3
    optimiser = t.optimiser(p)
    assert isinstance(optimiser, torch.optim.Adam) and optimiser.defaults["lr"] == 1e-3


@pytest.mark.parametrize(("settings", "weight"), [
    (dict(model="VAE"), lambda done: 1.0), (dict(model="beta-VAE", beta=0.3), lambda done: 0.3),
    (dict(model="VAE + anneal", start=0.1, warm=2), lambda done: 0.1 + 0.45 * done),
])  # fmt: skip
def test_what_a_step_follows_is_distortion_and_weighed_rate(
        chapter, monkeypatch, settings, weight):
    spent, basic, told, followed = chapter["spent"], chapter["basic_step"], [], []

    def kept(model, x, rng):
        told.append(spent(model, x, rng))
        return told[-1]

    def step(parts, loss, x):
        def seen(batch):
            nats = loss(batch)
            followed.append(nats.detach())
            return nats

        assert parts.clip == 5.0
        return basic(parts, seen, x)

    monkeypatch.setitem(chapter, "spent", kept)
    monkeypatch.setitem(chapter, "basic_step", step)
    whole(chapter, "synthetic", settings)
    each = len(chapter["task"]("synthetic").stack["train"])
    assert len(followed) == len(told) == 2 * each > 4
    for k, (nats, (lost, rate)) in enumerate(zip(followed, told, strict=True)):
        assert torch.allclose(nats, (lost + weight(k / each) * rate).detach(), rtol=1e-6)


def test_the_inner_loop_draws_from_the_whole_training_part(chapter, monkeypatch):
    usual, drawn = chapter["aggressive_step"], []

    def step(parts, loss, x, draw, *more):
        drawn.append(str(draw()))
        return usual(parts, loss, x, draw, *more)

    monkeypatch.setitem(chapter, "aggressive_step", step)
    whole(chapter, "synthetic", dict(model="Ours"))
    known = set(map(str, chapter["task"]("synthetic").stack["train"]))
    assert set(drawn) <= known and len(set(drawn)) > 1


@pytest.mark.parametrize(("settings", "init"), [
    (dict(model="VAE", init="usual"), {}), (dict(model="VAE"), {}),
    (dict(model="VAE", init="shifted"), dict(weights=(0.04, 0.06), embeddings=(0.0, 0.2))),
])  # fmt: skip
def test_where_the_weights_begin(chapter, monkeypatch, settings, init):
    """Figure 6 shifts them."""
    t, asked = chapter["task"]("synthetic"), []
    usual = t.make
    monkeypatch.setattr(t, "make", lambda kind, **more: asked.append(more) or usual(kind, **more))
    whole(chapter, "synthetic", settings)
    assert asked == [init]


def test_marginal_kl_is_what_the_rate_has_beside_information(chapter):
    t = chapter["task"]("synthetic")
    torch.manual_seed(0)
    model = t.make("VAE").to(chapter["device_used"])
    with torch.no_grad():  # a code that tells sentences apart
        means = model.posterior(torch.cat(t.stack["valid"])).mean
        model.encoder.head.weight[:1].mul_(2 / means.std())
    found = chapter["look"](model, "synthetic", "valid")
    assert 0.1 < found["mi_batch"] < found["mi_ceiling"] and found["mi"] < found["rate"]
    assert found["marginal_kl_batch"] == max(found["rate"] - found["mi_batch"], 0)
    assert found["marginal_kl"] == pytest.approx(found["rate"] - found["mi"], rel=0.2, abs=0.3)


def test_a_rate_that_explodes_ends_the_run_where_it_is_asked_for(chapter, monkeypatch):
    fast = dict(settings=dict(speed=50), rate=2000.0)
    assert play(chapter, "synthetic", [(9, 1)], monkeypatch, **fast)[0]["exploded"]
    assert not play(chapter, "synthetic", [(9, 1)], monkeypatch, rate=2000.0)[0]["exploded"]
    with pytest.raises(train.NotFinite):
        play(chapter, "synthetic", [(math.nan, 1)], monkeypatch)


@pytest.mark.parametrize("seconds", [None, -1.0])  # as usual: at the epoch's end; at each step
def test_a_loss_that_is_no_number_says_where(chapter, monkeypatch, tmp_path, seconds):
    usual = chapter["spent"]

    def broken(model, x, rng):
        lost, rate = usual(model, x, rng)
        return lost * math.nan, rate

    monkeypatch.setitem(chapter, "spent", broken)
    if seconds:
        monkeypatch.setattr(train.parts, "SAVE_SECONDS", seconds)
    where = r"^synthetic: .*by epoch 0, batch \d+, step \d+, model VAE, seed 3\)"
    with pytest.raises(train.NotFinite, match=where):
        whole(chapter, "synthetic", dict(model="VAE"), tmp_path)
    assert not list(tmp_path.iterdir())  # no broken model is saved
    _, saved = whole(chapter, "synthetic", dict(model="VAE", speed=50))  # a result, in Table 10
    assert saved.facts["exploded"]


def test_a_run_that_exploded_does_not_go_on(chapter, monkeypatch, tmp_path):
    usual = chapter["look"]
    monkeypatch.setitem(chapter, "look", lambda *a, **k: usual(*a, **k) | dict(rate=5000.0))
    settings = dict(model="VAE", speed=2)
    _, once = whole(chapter, "synthetic", settings)
    assert once.facts["exploded"] and once.facts["epoch"] == 1
    monkeypatch.setitem(chapter, "deadline", time.monotonic())
    while True:
        try:
            _, again = whole(chapter, "synthetic", settings, tmp_path)
            break
        except train.OutOfTime:
            pass
    assert again.facts["exploded"] and again.facts["epoch"] == 1


def test_a_finished_model_is_found_as_it_was_measured(chapter, tmp_path):
    once, _ = whole(chapter, "synthetic", dict(model="VAE", init="usual"), tmp_path)
    again, saved = whole(chapter, "synthetic", dict(model="VAE", init="usual"), tmp_path)
    assert all(torch.equal(once[n], again[n]) for n in once)
    assert list(saved.best) == ["points"]


def test_sentences_of_all_lengths_have_noise_of_their_own(chapter, monkeypatch):
    t = chapter["task"]("yahoo")
    torch.manual_seed(0)
    model, places = t.make("VAE").to(chapter["device_used"]), []
    usual = measure.iw_nll
    monkeypatch.setattr(measure, "iw_nll", lambda m, x, *a, first=0: places.extend(
        range(first, first + len(x))) or usual(m, x, *a, first=first))
    chapter["measure_one"](model, "yahoo", dict(model="VAE + anneal"), 3,
                           SimpleNamespace(facts={}, tick=lambda: None))
    assert places == list(range(sum(map(len, t.stack["scored"]))))


def test_no_record_of_a_model_whose_test_is_no_number(chapter, monkeypatch):
    model, saved = chapter["train_one"]("synthetic", dict(model="VAE"), 3, None)
    monkeypatch.setitem(chapter, "measure_one", lambda *a: dict(neg_elbo=math.nan))
    monkeypatch.setattr(chapter["records"], "write", lambda entry: pytest.fail("was recorded"))
    entry = chapter["new_record"]("synthetic", dict(model="VAE"), 3)
    with pytest.raises(train.NotFinite):
        chapter["finish_one"](entry, model, saved, "synthetic")


def test_noise_of_the_evaluation_tells_five_variances(chapter):
    model, saved = chapter["train_one"]("synthetic", dict(model="VAE"), 3, None)
    found = chapter["measure_one"](model, "synthetic", dict(model="VAE"), 3, saved)
    names = [f"{n}_variance" for n in ("iw_nll", "neg_elbo", "rate", "mi_batch", "active_units")]
    assert all(found[name] >= 0 for name in names) and found["neg_elbo_variance"] > 0
    assert found["mi_batch_variance"] > 0 and found["active_units_variance"] == 0
    items, theirs = chapter["task"]("synthetic").scale["tested"]
    assert theirs == 2000 and found["iw_nll_variance_scaled"] == pytest.approx(
        found["iw_nll_variance"] * items / 2000)


def test_measuring_that_is_stopped_goes_on_with_the_next_sentences(chapter, tmp_path):
    model, saved = chapter["train_one"]("synthetic", dict(model="VAE"), 3, tmp_path)
    whole = chapter["measure_one"](model, "synthetic", dict(model="VAE"), 3, saved)
    del saved.facts["tries"]
    saved.deadline = 0.0
    with pytest.raises(train.OutOfTime):
        chapter["measure_one"](model, "synthetic", dict(model="VAE"), 3, saved)
    model, again = chapter["train_one"]("synthetic", dict(model="VAE"), 3, tmp_path)
    assert len(again.facts["nll 0"]) == 1 and not again.facts["tries"]
    assert chapter["measure_one"](model, "synthetic", dict(model="VAE"), 3, again) == whole


def test_a_model_without_a_code_is_scored_on_the_same_items(chapter):
    for where, name in (("yahoo", "LSTM-LM"), ("omniglot", "PixelCNN")):
        t = chapter["task"](where)
        torch.manual_seed(0)
        model = t.make(name).to(chapter["device_used"])
        found = chapter["measure_one"](model, where, dict(model=name), 3, None)
        with torch.no_grad():
            own = [-model.eval().log_prob(x) for x in t.stack["scored"]]
        assert found["iw_nll"] == pytest.approx(float(torch.cat(own).double().mean()), rel=1e-6)
    assert sum(map(len, own)) < sum(map(len, t.stack["test"]))
    assert found["iw_nll"] != pytest.approx(found["neg_elbo"], rel=1e-6)


def test_images_come_from_all_over_the_file_and_their_hash_is_that_of_the_binary_ones(
        chapter, monkeypatch):
    grey = np.repeat(np.arange(50, dtype=np.uint8), 8)[:, None, None, None]  # 50 alphabets, sorted
    parts = {f"{p}_x": np.broadcast_to(4 * grey, (400, 1, 28, 28)).copy()
             for p in ("train", "valid", "test")}
    ds = data.DataSet(name="omniglot", **parts, **{f"{p}_y": None for p in ("train", "valid",
                      "test")}, note="ours", complete=True, licence="")  # fmt: skip
    size = dict(train=100, valid=50, test=25, width=2, kernels=(3,), hidden=4, batch=25)
    monkeypatch.setitem(chapter, "profile", "cpu")
    monkeypatch.setitem(chapter, "scale", chapter["scale"] | dict(omniglot=size))
    monkeypatch.setattr(data, "load", lambda name: ds)
    rows = np.arange(100) * 4
    t = chapter["image_task"]("omniglot")
    seen = chapter["spread"](grey[:, 0, 0, 0], 100)
    assert np.array_equal(seen, grey[rows, 0, 0, 0]) and set(seen) == set(range(50))
    lit = t.take(np.arange(100), SimpleNamespace(bernoulli=lambda p: p))
    assert torch.equal(lit, data.unit(torch.from_numpy(ds.train_x[rows])))
    for part, step in (("valid", 8), ("test", 1)):
        shown = torch.cat(t.stack[part])
        expected = data.binarised(getattr(ds, f"{part}_x"), 0)[::step]
        expected = data.unit(torch.from_numpy(expected))
        assert shown.sum() == expected.sum() and not torch.equal(shown, expected)  # in a mix: a
        assert set(map(str, shown)) == set(map(str, expected))  # batch has many alphabets
    assert sum(map(len, t.stack["scored"])) == 25 and t.scale["tested"] == [400, 8070]
    assert t.scale["IW-NLL on"] == [25, 8070]
    assert t.described["sha256"] != ds.sha256 and "evenly spaced" in t.described["note"]
    other = data.binarised(ds.test_x, 1)
    monkeypatch.setattr(data, "binarised", lambda x, seed: other)
    assert chapter["image_task"]("omniglot").described["sha256"] != t.described["sha256"]


def test_what_is_scored_is_evenly_spread_over_all_lengths(chapter):
    batches = [torch.full((rows, length), length) for length, rows in ((3, 7), (4, 1), (9, 12))]
    few = chapter["scored"](batches, 10)
    assert torch.cat([x[:, 0] for x in few]).tolist() == [3] * 3 + [4] + [9] * 6
    every = chapter["scored"](batches, 0)
    assert every is batches and chapter["scored"](batches, 99) is batches


def test_text_is_measured_whole_and_scored_in_part(chapter, monkeypatch, tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text("\n".join("a " * (k % 9 + 1) for k in range(90)))
    size = dict(words=0, train=30, units=4, batch=4, test=20)
    monkeypatch.setitem(chapter, "profile", "cpu")
    monkeypatch.setitem(chapter, "scale", chapter["scale"] | {str(tmp_path): size})
    t = chapter["text_task"](str(tmp_path))
    assert t.scale["tested"][0] == 90 and t.scale["IW-NLL on"] == [20, 10000]
    lengths = {x.shape[1] for x in t.stack["scored"]}
    assert lengths == {x.shape[1] for x in t.stack["test"]} and len(lengths) == 9


def test_a_frame_after_a_decay_tells_of_the_best_model(monkeypatch):
    monkeypatch.setenv("VAENB_PROFILE", "smoke")
    frame = cells("04_lagging_inference", until="figure3")["frame"]
    kept = dict(points=np.zeros((4, 2, 2)), steps=np.array([0, 10, 20, 30]),
                epochs=np.array([0, 1, 2, 3]), aggressive=np.zeros(4))
    curves = dict(lr=np.array([1, 1, 0.5, 0.5]), rate=np.array([5.0, 6, 7, 8]),
                  mi=np.zeros(4), neg_elbo=np.array([40.0, 42, 39, 41]))
    told = [frame(kept, curves, k, (3, 30)) for k in range(4)]
    assert [t["values"].get("−ELBO (nats)") for t in told] == [None, 40, 40, 39]
    assert "back to the best model, of epoch 1" in told[2]["label"]
    assert "back" not in told[1]["label"] and "the end: the best model" in told[3]["label"]


def test_a_sentence_that_is_too_long_is_refused(chapter, monkeypatch, tmp_path):
    line = "word " * 12
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text(f"{line}\n{line * 42}\n")
    monkeypatch.setitem(chapter, "profile", "cpu")
    monkeypatch.setitem(chapter, "scale", chapter["scale"] | {str(tmp_path): dict(words=0)})
    with pytest.raises(VaenbError, match="line 2 of .* has 504 words and the limit is 500"):
        chapter["text_task"](str(tmp_path))


def test_weights_of_the_rate(chapter):
    weight = chapter["kl_weight"]
    rising = dict(start=0.1, warm=10)
    assert [weight(rising, e) for e in (0, 5, 10, 90)] == pytest.approx([0.1, 0.55, 1, 1])
    assert weight(dict(beta=0.2), 7) == 0.2 and weight({}, 0) == 1


def test_full_answers_every_printed_number_of_its_tables(monkeypatch):
    """But for those that the paper took from others."""
    monkeypatch.setenv("VAENB_PROFILE", "full")
    full = cells("04_lagging_inference", until="budget")
    answered = {cell for name, (where, rows) in full["PLAN"].items() if where != "synthetic"
                for settings in rows for cell in full["answers"](name, settings)}
    asked = [c for c in targets.cells("lagging-inference") if c["table"].startswith("Table")
             and c["metric"] in full["METRICS"] and c["setting"] != "previous report"]
    assert len(asked) == 440
    assert [c["id"] for c in asked if c["id"] not in answered] == []
