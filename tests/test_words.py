"""Rules in words: what a reader is told that a test asks."""

import json
import re

import pytest

import vaenb
from vaenb.report import tables, targets, verdicts
from vaenb.report.words import NAMES, asked, named

RULE = dict(test="below", metric="neg_elbo", a="model=Ours", b="model=VAE", margin="")


@pytest.mark.parametrize(("change", "told"), [
    ({}, "−ELBO: Ours below VAE"),
    (dict(margin="5"), "−ELBO: Ours by 5 or more below VAE"),
    (dict(margin="-0.5"), "−ELBO: Ours at most 0.5 above VAE"),
    (dict(test="above", margin="-0.02"), "−ELBO: Ours at most 0.02 below VAE"),
    (dict(test="given above", b="number: 1"), "premise: −ELBO: Ours above 1"),
    (dict(metric="log10 train_seconds", margin="-0.602"),
     "seconds: Ours at most a factor of 4 above VAE"),
    (dict(test="above", metric="log10 gradient_ratio", b="number: 0.477"),
     "gradient of the decoder against the encoder's: Ours above 3"),
    (dict(test="within", metric="log10 distortion", margin="0.0414"),
     "distortion: Ours within a factor of 1.1 of VAE"),
    (dict(test="within", metric="rate | mi", b="", margin="0.5"),
     "rate within 0.5 of I(x;z), Ours"),
    (dict(a="t1: lam=1; best=beta by mi max"),
     "−ELBO: λ = 1, at its best β (by I(x;z)) below VAE"),
    (dict(b="model=VAE; beta!=1; where=rate < 10"), "−ELBO: Ours below VAE, β ≠ 1, rate < 10"),
    (dict(test="trend", a="over=beta", b="increasing"), "−ELBO increasing with β, all models"),
    (dict(test="correlates", metric="psnr | rate", a="given=rate_z2", b=""),
     "PSNR rises with rate at equal R(z₂), all models"),
    (dict(test="explains less", metric="rate|kept", b="", margin="0.5"),
     "rate explains less than 50 % of read in x′ / by MLP, Ours"),
    (dict(test="bends", metric="rate|mlp_accuracy", b="", margin="8 15"),
     "read by MLP against rate bends between 8 and 15, Ours"),
    (dict(test="ranks", b="printed: Table 2|CIFAR|FID", margin="0.5"),
     "−ELBO ranks the methods as Table 2, CIFAR, FID does, ρ ≥ 0.5"),
])
def test_a_rule_says_what_it_asks(change, told):
    assert asked(RULE | change) == told


@pytest.mark.parametrize("rule", targets.rules(), ids=lambda r: f"{r['claim']} {r['test']}")
def test_no_name_of_the_program_is_left_in_a_rule(rule):
    told = asked(rule)
    plain = told.replace("μ_φ", "").replace("μ_θ", "")
    assert not re.search(r"\b\w+_\w+\b", plain), told
    metrics = re.findall(r"[a-z]\w+", rule["metric"].replace("log10", ""))
    assert all(named(m) in told for m in metrics if m in NAMES)


def test_different_tests_of_a_claim_read_differently():
    seen = {}
    for rule in targets.rules():
        key = rule["claim"], rule["data"], rule["experiment"], asked(rule)
        assert key not in seen, f"{rule} reads as {seen[key]}"
        seen[key] = rule


def test_a_page_lists_every_test_with_its_sign():
    [claim] = verdicts("lagging-inference", found=[], only=["L01"])
    assert claim["state"] == "not run" and all(t["state"] == "not run" for t in claim["lines"])
    assert tables.why(claim).startswith("– ")
    lines = [dict(state="holds", leans="", text="a < b"), dict(
        state="undecided", leans="means agree", text="c")]
    table = tables.verdicts([claim | dict(lines=lines, state="undecided")])
    assert "<ul><li>✓ a &lt; b</li><li>? c (means agree)</li></ul>" in table._repr_html_()
    assert "✓ a < b; ? c (means agree)" in repr(table)


@pytest.mark.parametrize("chapter", sorted((vaenb.ROOT / "notebooks").glob("0*.ipynb")),
                         ids=lambda path: path.stem)
def test_a_verdict_in_the_prose_is_the_one_that_the_records_give(chapter):
    states = {c["id"]: c["state"] for paper in targets.PAPERS for c in verdicts(paper)}
    cells = json.loads(chapter.read_text("utf-8"))["cells"]
    prose = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    said = "|".join(tables.SIGNS)
    for claim, state in re.findall(rf"\b([CRILD]\d\d), ({said})\b", prose):
        assert states[claim] == state, claim
