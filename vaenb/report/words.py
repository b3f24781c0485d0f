"""Metrics and tests in words, for tables and verdicts."""

import re

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
          "label_distortion": "H(y|z) (nats)", "reconstruction_accuracy": "read in x′",
          "reconstruction_accuracy_all": "read in x′, all",
          "supervised_accuracy": "accuracy on the target",
          "kept": "read in x′ / by MLP", "knn_accuracy": "5 neighbours"}
NAMES = {name: title.removesuffix(" (nats)") for name, title in TITLES.items()} | {
    "beta": "β", "lam": "λ", "beta_z1": "β₁", "beta_z2": "β₂",
    "rate_z1": "R(z₁|z₂)", "rate_z2": "R(z₂)",
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
    return re.sub(r"\w+", lambda m: NAMES.get(m[0], m[0]), text)


def _side(selector: str) -> str:
    """The runs that a rule chooses, in words."""
    _, colon, tail = selector.partition(":")
    parts = [p.strip() for p in (tail if colon else selector).split(";")]
    said = []
    for part in parts:
        key, _, value = (p.strip() for p in part.partition("="))
        if key in ("best", "argbest"):
            by = value.removesuffix(" max")
            name, _, by = by.partition(" by ")
            best = f"at its best {named(name).replace('+', ' and ')}"
            said.append(best + f" (by {named(by)})" * bool(by))
        elif key in ("model", "where"):
            said.append(named(value) if key == "where" else value.replace("sigma-", "σ-"))
        elif key.endswith("!"):
            said.append(f"{named(key[:-1])} ≠ {value}")
        elif key not in ("over", "given", "rest"):
            said.append(f"{named(key)} = {value}")
    return ", ".join(filter(None, said)) or "all models"


def _how(rule: dict, metrics: list[str], a: str, b: str) -> str:
    """What a rule asks, but for its premise and the data."""
    test, margin, m = rule["test"].removeprefix("given "), rule["margin"], metrics[0]
    far = float(margin) if margin and " " not in margin else 0.0
    log = m.startswith("log10 ")
    size = f"a factor of {10**abs(far):.3g}" if log else f"{abs(far):g}"
    if log and rule["b"].startswith("number:"):
        b = f"{10**float(b):.3g}"
    m, last = m.removeprefix("log10 "), metrics[-1].removeprefix("log10 ")
    if test in ("below", "above") and far < 0:
        test = f"at most {size} {dict(below='above', above='below')[test]}"
    elif test in ("below", "above") and far:
        test = f"by {size} or more {test}"
    if test == "within":
        same = not rule["b"]  # two metrics of the same runs
        return f"{m} within {size} of {last}, {a}" if same else f"{m}: {a} within {size} of {b}"
    if test == "always below":
        return f"{m} below {last}" + f" by {size} or more" * bool(far) + f" in every run, {a}"
    if test == "apart":
        return f"{m}: {a} and {b} more than {size} apart"
    if test == "fisher":
        return f"{m} more often with {a} than with {b}"
    if test == "trend":
        over = re.search(r"over=(\w+)", rule["a"])[1]
        return f"{m} {rule['b']} with {named(over)}, {a}"
    if test in ("correlates", "anticorrelates"):
        how = "rises" if test == "correlates" else "falls"
        if rule["b"]:
            return f"{m} of {a} {how} with that of {b}"
        given = re.search(r"given=(\w+)", rule["a"])
        equal = f" at equal {named(given[1])}" if given else ""
        return f"{m} {how} with {last}{equal}, {a}"
    if test == "depends":
        return f"{m} depends on {metrics[1]} more than on {last}, {a}"
    if test == "varies more":
        return f"{m} varies more than {last}, {a}"
    if test in ("explains", "explains less"):
        how = "less" if "less" in test else "more"
        return f"{m} explains {how} than {100 * far:g} % of {last}, {a}"
    if test == "bends":
        return f"{last} against {m} bends between {margin.replace(' ', ' and ')}, {a}"
    if test == "beyond":
        return f"{m} at equal {last}: {a} above the line of {b}"
    if test == "ranks":
        return f"{m} ranks the methods as {b} does, ρ ≥ {margin}"
    return f"{m}: {a} {test} {b}"


def asked(rule: dict) -> str:
    """What a rule of ``book/targets/tests.csv`` asks, in words."""
    metrics = [named(m.strip()) for m in rule["metric"].split("|")]
    a, b = rule["a"], rule["b"]
    fixed = b.startswith(("number:", "printed:"))
    b = b.partition(":")[2].strip().replace("|", ", ") if fixed else _side(b)
    premise = "premise: " if rule["test"].startswith("given ") else ""
    return premise + _how(rule, metrics, _side(a), b)
