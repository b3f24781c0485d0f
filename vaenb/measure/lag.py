"""How far the encoder lags behind: the model's own posterior mean, on a grid of codes."""

import torch

from vaenb.errors import VaenbError, at_least_one
from vaenb.measure.chunks import batches, evaluating

LOOK = 0.1  # a finer grid is looked over at this stride first
NEAR = 25.0  # nats below the best point; what is lower weighs nothing


def model_posterior_mean(model, x, low=-20.0, high=20.0, stride=0.1, chunk: int = 16):
    """E[z] under p(z|x), the posterior of the model itself, for a code of one number: [N], CPU.

    ``x`` are images [N, C, H, W] or token ids [N, T] of one length. The mean of z over a grid from
    ``low`` to ``high``, weighted by p(x|z) p(z) (He et al. 2019, appendix A: stride 0.01, from -20
    to 20). Exact but for the grid: a posterior much narrower than ``stride`` is seen at one or two
    of its points, and none is seen outside. A finer grid is looked over at a stride of 0.1 first,
    and its other points count only beside one where some item's log p(x, z) is less than 25 nats
    below its largest. ``chunk`` items are taken at once.

    Raises VaenbError for codes of more numbers, and a grid of fewer than two points.
    """
    at_least_one(chunk=chunk)
    latents = getattr(model, "latents", 0)
    if latents != 1:
        raise VaenbError(f"a grid needs a code of one number, and this model has {latents}")
    if not (stride > 0 and high - low >= stride):
        raise VaenbError(f"a grid from {low} to {high} by {stride} has fewer than two points")
    found = []
    with evaluating(model):
        like = next(model.parameters())
        steps = torch.arange(round((high - low) / stride) + 1, device=like.device)
        grid = (low + stride * steps.double()).to(like.dtype)
        for _, items in batches(model, x, chunk):
            z = grid[_worth(model, items, grid, round(LOOK / stride))]
            found.append((_joint(model, items, z).softmax(1) @ z.double()).cpu())
    return torch.cat(found)


def _joint(model, items, z):
    """log p(x, z) of items for each of the codes z [G]: [N, G], in float64."""
    return model.log_joint(items, z.view(1, -1, 1).expand(len(items), -1, -1)).double()


def _worth(model, items, grid, step):
    """Which points of a grid [G] may weigh something for one of the items: those beside a
    ``step``-th one that does."""
    at = torch.arange(len(grid), device=grid.device)
    if step < 2:
        return at
    coarse = torch.cat([at[::step], at[-1:]])
    joint = _joint(model, items, grid[coarse])
    far = joint <= joint.amax(1, keepdim=True) - NEAR
    near = ~far.all(0)  # of a model that has diverged every point is
    return at[near[at // step] | near[(at + step - 1) // step]]
