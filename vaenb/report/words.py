"""Metrics and tests in words, for tables and verdicts."""

import re

from vaenb.report.selectors import parse

TITLES = {"neg_elbo": "−ELBO (nats)", "distortion": "distortion (nats)", "rate": "rate (nats)",
          "mi": "I(x;z) (nats)", "marginal_kl": "marginal KL (nats)", "mse": "squared error",
          "frechet": "Fréchet distance", "sigma2": "σ²", "steps_to_sigma": "steps to σ²",
          "train_distortion": "training distortion (nats)", "gap": "gap (nats)",
          "iw_nll": "IW-NLL (nats)", "neg_elbo_scored": "−ELBO of the same (nats)",
          "neg_elbo_iw_images": "−ELBO of the same (nats)",
          "memorised": "nearer to a training image",
          "diverged": "share diverged", "disc_nll": "discretised −ELBO (nats)",
          "mi_batch": "I(x;z) over minibatches (nats)",
          "rate_peak": "highest rate (nats)",
          "mi_batch_at_peak": "I(x;z) there, over minibatches (nats)",
          "marginal_kl_batch": "marginal KL over minibatches (nats)",
          "active_units": "active units",
          "aggressive_epochs": "aggressive epochs", "inner_steps": "inner steps",
          "train_seconds": "seconds", "exploded": "share exploded",
          "mlp_accuracy": "read by MLP", "linear_accuracy": "read linearly",
          "mlp_accuracy_test": "read by MLP, fitted on test codes",
          "label_distortion": "label distortion (nats)", "reconstruction_accuracy": "read in x′",
          "reconstruction_accuracy_all": "read in x′, all",
          "supervised_accuracy": "accuracy on the target",
          "kept": "read in x′ / by MLP", "knn_accuracy": "5 neighbours"}
NAMES = {name: title.removesuffix(" (nats)") for name, title in TITLES.items()} | {
    "beta": "β", "lam": "λ", "beta_z1": "β₁", "beta_z2": "β₂",
    "rate_z1": "R(z₁|z₂)", "rate_z2": "R(z₂)",
    "sigma_rate": "the learning rate of σ", "kl_weight": "weight of the KL",
    "beta_equiv": "the β that it comes to", "psnr": "PSNR", "inception": "inception score",
    "early_distortion": "distortion at the early stop",
    "mi_labels": "I(y;z₂)", "mi_shuffled": "that of shuffled labels",
    "rbf_svm_mu1": "accuracy of an RBF SVM on μ₁", "rbf_svm_mu2": "accuracy of an RBF SVM on μ₂",
    "linear_svm_mu1": "accuracy of a linear SVM on μ₁",
    "linear_svm_mu2": "accuracy of a linear SVM on μ₂",
    "logistic_mu1": "accuracy of logistic regression on μ₁",
    "logistic_mu2": "accuracy of logistic regression on μ₂",
    "knn_mu1": "accuracy of neighbours on μ₁", "knn_mu2": "accuracy of neighbours on μ₂",
    "best_accuracy_mu2": "best accuracy on μ₂",
    "accuracy_bound": "the bound that its information sets",
    "frechet_recon": "Fréchet distance of reconstructions",
    "correlation_end": "correlation of the points at the end",
    "offset_first_epoch": "distance of μ_φ from 0 after one epoch",
    "furthest_start": "furthest point from 0 at the start",
    "gradient_ratio": "gradient of the decoder against the encoder's",
    "sd_encoder_at_peak": "spread of μ_φ in the widest frame",
    "sd_model_peak": "spread of μ_θ in the widest frame",
    "sd_model_end": "spread of μ_θ at the end",
    "iw_nll_variance_scaled": "variance of the IW-NLL over evaluations"}


def named(text: str) -> str:
    """A text with the names of metrics and settings in it as a reader knows them."""
    for sign, shown in ((" - ", " − "), ("!=", "≠"), (">=", "≥"), ("<=", "≤")):
        text = text.replace(sign, shown)
    text = re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)
    return re.sub(r"\w+", lambda m: NAMES.get(m[0], m[0]), text)


SAYS = {  # of a test: m and last its metrics, a and b its sides, size its margin
    "below": "{m}: {a} {more}below {b}",
    "above": "{m}: {a} {more}above {b}",
    "within": "{m}: {a} within {size} of {b}",
    "apart": "{m}: {a} and {b} more than {size} apart",
    "beyond": "{m} at equal {last}: {a} above the line of {b}",
    "fisher": "{m} more often with {a} than with {b}",
    "trend": "{m} {b} with {over}, {a}",
    "ranks": "{m} ranks the methods as {b} does, ρ ≥ {size}",
    "correlates": "{m} of {a} rises with that of {b}",
}
SAYS_ALONE = {  # without b: of metrics of the same runs
    "within": "{m} within {size} of {last}, {a}",
    "always below": "{m} below {last}{by} in every run, {a}",
    "correlates": "{m} rises with {last}{given}, {a}",
    "anticorrelates": "{m} falls with {last}{given}, {a}",
    "depends": "{m} depends on {middle} more than on {last}, {a}",
    "varies more": "{m} varies more than {last}, {a}",
    "explains": "{m} explains more than {percent} % of {last}, {a}",
    "explains less": "{m} explains less than {percent} % of {last}, {a}",
    "bends": "{last} against {m} bends between {ends}, {a}",
}


def _side(chosen: dict) -> str:
    """The runs that a selector (`vaenb.report.selectors.parse`) chooses, in words."""
    said = [value.replace("sigma-", "σ-") if key == "model" else f"{named(key)} = {value}"
            for key, value in chosen["is_"] if key != "cnn"]  # that one is the grid's own
    said += [f"{named(key)} ≠ {value}" for key, value in chosen["not_"]]
    said += [named(" ".join(condition)) for condition in chosen["where"]]
    if wanted := chosen["best"] or chosen["argbest"]:
        name, by, _ = wanted
        said.append(f"at its best {named(name).replace('+', ' and ')}"
                    + (f" (by {named(by)})" if by else ""))
    return ", ".join(said) or "all models"


def _other(b: str, log: bool) -> str:
    """What the first side is held against, in words: runs, a number, a direction."""
    kind, colon, told = (p.strip() for p in b.partition(":"))
    if colon and kind == "number":
        return f"{10**float(told):.3g}" if log else told
    if colon and kind == "printed":
        return told.replace("|", ", ")
    return _side(parse(b, "")) if "=" in b else b


def asked(rule: dict) -> str:
    """What a rule of ``book/targets/tests.csv`` asks, in words."""
    test = rule["test"].removeprefix("given ")
    metrics = [named(m.strip()) for m in rule["metric"].split("|")]
    log = metrics[0].startswith("log10 ")
    bare = [m.removeprefix("log10 ") for m in metrics]
    margin = rule["margin"] if " " not in rule["margin"] else ""
    far = float(margin or 0)
    size = f"a factor of {10**abs(far):.3g}" if log else f"{abs(far):g}"
    by, more = (f" by {size} or more", f"by {size} or more ") if far > 0 else ("", "")
    if far < 0 and test in ("below", "above"):  # it may lie on the other side, but not far
        test, more = dict(below="above", above="below")[test], f"at most {size} "
    chosen = parse(rule["a"], "")
    over, given = (named(chosen[key] or "") for key in ("over", "given"))
    says = SAYS if rule["b"] else SAYS_ALONE
    return "premise: " * rule["test"].startswith("given ") + says[test].format(
        m=bare[0], middle=bare[len(bare) // 2], last=bare[-1], a=_side(chosen),
        b=_other(rule["b"], log), size=size, by=by, more=more, over=over,
        given=f" at equal {given}" * bool(given), percent=f"{100 * far:g}",
        ends=rule["margin"].replace(" ", " and "))
