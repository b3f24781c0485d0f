"""Chapter 4's rules, on records made up to hold or to fail."""

import numpy as np
import pytest

from vaenb import report
from vaenb.report import records

HOLDING = {
    ("figure2", "VAE"): dict(sd_encoder_at_peak=0.05, sd_model_peak=1.2, sd_model_end=0.02,
                             rate=0.01, mi=0.0, furthest_start=0.01, gradient_ratio=20),
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
                data={"name": data, "sha256": "a", "complete": True, "note": ""},
                convergence={"converged": True}))
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
