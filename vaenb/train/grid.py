"""Rows of settings for a grid of betas, one a layer of latents."""

from vaenb.errors import VaenbError


def grid(layers, betas: dict[str, list[float]]) -> list[dict]:
    """Every combination of one beta a layer, as rows {"beta_z2": .., "beta_z1": ..} for `fit`.

    ``layers`` are the names of the model's layers, ``betas`` the values of each. Raises VaenbError
    for a layer that is unknown or missing, no values, a value twice, and one that is not a finite
    number above 0.
    """
    for name in dict.fromkeys((*layers, *betas)):
        values = betas.get(name, ())
        if name not in layers:
            raise VaenbError(f"there is no layer {name!r}: the model has {', '.join(layers)}")
        if not len(values):
            raise VaenbError(f"layer {name} has no beta: give at least one value")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
                    0 < value < float("inf")):
                raise VaenbError(f"a beta of layer {name} is {value!r} and must be a finite "
                                 f"number above 0")
        if len(set(values)) < len(values):
            raise VaenbError(f"layer {name} has a beta twice in {list(values)}: drop one")
    rows = [{}]
    for name in layers:
        rows = [row | {f"beta_{name}": float(value)} for row in rows for value in betas[name]]
    return rows
