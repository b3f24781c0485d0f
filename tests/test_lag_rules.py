"""Chapter 4's rules, on records made up to hold or to fail."""

import numpy as np
import pytest

from vaenb import report
from vaenb.report import records

HOLDING = {
    ("figure2", "VAE"): dict(offset_first_epoch=0.01, sd_encoder_at_peak=0.05, sd_model_peak=1.2,
                             sd_model_end=0.02, rate=0.01, mi=0.0, furthest_start=0.01,
                             gradient_ratio=20),
    ("figure2", "Ours"): dict(correlation_end=0.97, rate=1.4, mi=1.2, aggressive_epochs=4),
}


def made(values, experiment="figure2", data="synthetic", seeds=3, scale=None, spread=1e-3):
    """Records of ``values`` {(experiment, model): metrics}, each seed a little off."""
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        for (name, model), metrics in values.items():
            told = {k: v * (1 + spread * rng.normal()) for k, v in metrics.items()}
            found.append(records.new(
                "04_lagging_inference", name, "cpu", dict(model=model), seed, told,
                scale=scale or {"words": [250, 1000]}, steps=10,
                data={"name": data, "sha256": "a", "complete": True, "note": ""})
                | {"convergence": {"converged": True}})
    return found


def verdict(claim, found):
    [told] = report.verdicts("lagging-inference", found, [claim])
    return told


@pytest.mark.parametrize("claim", ["L01", "L02", "L15"])
def test_a_claim_that_holds_is_supported(claim):
    assert verdict(claim, made(HOLDING))["state"] == "supported"


@pytest.mark.parametrize(("claim", "model", "metric", "value"), [
    ("L01", "VAE", "rate", 0.5),  # against a number
    ("L01", "VAE", "sd_encoder_at_peak", 1.15),  # two metrics of a model, and a margin
    ("L02", "Ours", "correlation_end", 0.8),
    ("L15", "VAE", "furthest_start", 0.2),
])  # fmt: skip
def test_a_claim_that_fails_is_contradicted(claim, model, metric, value):
    changed = {k: dict(v) for k, v in HOLDING.items()}
    changed["figure2", model][metric] = value
    assert verdict(claim, made(changed))["state"] == "contradicted"


def test_a_number_needs_seeds_too():
    told = verdict("L15", made(HOLDING, seeds=2))
    assert told["state"] == "undecided" and "2 of 3" in told["reason"]
    assert verdict("L15", [])["state"] == "not run"


def test_the_number_is_compared_seed_by_seed():
    noisy = {("figure2", "VAE"): dict(furthest_start=0.1)}  # about the number itself
    assert verdict("L15", made(noisy, spread=0.3))["state"] == "undecided"


def test_a_full_run_reproduces():
    whole = made(HOLDING, scale={"words": [1000, 1000]})
    assert verdict("L15", whole)["state"] == "reproduced"


def escaped(**ours):
    """L03's models on Yahoo and Yelp; those that escape have what ``ours`` says."""
    return sum((made({(where, name): dict(rate=0.01, mi_batch=0.001) | told
                      for name, told in (("VAE", {}), ("SA-VAE", {}), ("Ours", ours))},
                     data=where) for where in ("yahoo", "yelp")), [])


def test_a_rate_above_another_that_is_nothing_is_no_escape():
    assert verdict("L03", escaped(rate=4.0, mi_batch=2.0))["state"] == "supported"
    assert verdict("L03", escaped(rate=0.02, mi_batch=0.002))["state"] == "contradicted"


def weighted(mi, nll):
    return sum((made({(where, "VAE"): dict(iw_nll=9.0)}, data=where) + [
        r | {"settings": dict(model="beta-VAE", beta=0.2)} for r in made(
            {(where, "beta-VAE"): dict(iw_nll=nll, mi_batch=mi)}, data=where)]
        for where in ("yahoo", "yelp", "omniglot")), [])


def test_a_claim_whose_premise_fails_is_about_nothing():
    """L09: a beta-VAE with large information generalises poorly."""
    assert verdict("L09", weighted(2.0, 9.5))["state"] == "supported"
    assert verdict("L09", weighted(2.0, 8.5))["state"] == "contradicted"
    told = verdict("L09", weighted(0.001, 8.5))
    assert told["state"] == "undecided" and told["leans"] == ""
    assert told["reason"].startswith("the premise: beta-VAE, beta=0.2 given above 1 in mi_batch")
    # where it holds on one set, that set can still contradict
    one = [r for r in weighted(2.0, 8.5) if r["data"]["name"] == "yahoo"]
    rest = [r for r in weighted(0.001, 8.5) if r["data"]["name"] != "yahoo"]
    assert verdict("L09", one + rest)["state"] == "contradicted"
    assert verdict("L09", one)["state"] == "contradicted"  # the others have not run
