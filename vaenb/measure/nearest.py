"""How near images are to training images, and the least that a Bernoulli decoder can reach."""

import torch

from vaenb.errors import VaenbError
from vaenb.measure.chunks import floats

PAIRS = 2**22  # distances held at once: 16 MiB of float32
CANDIDATES = 4  # looked at exactly, since the matrix product finds them up to rounding
ROUNDING = 16 * torch.finfo(torch.float32).eps  # of a score, relative to the images' squares


def nearest(x, reference) -> tuple[torch.Tensor, torch.Tensor]:
    """The l2 pixel distance of each image to its nearest reference image, and which one: [N], [N].

    ``x`` [N, ...] and ``reference`` [M, ...] are images of the same shape, uint8 or float in
    [0, 1]; the work is done where ``reference`` lies. Distances are exact: a matrix product finds
    candidates in float32 (all within its rounding), and the distances to these are taken in
    float64 from the images themselves, so that an image among the references has distance 0. Of
    equal ones it is one.
    Raises VaenbError for shapes that differ and for no reference.
    """
    if x.shape[1:] != reference.shape[1:] or len(reference) == 0:
        raise VaenbError(
            f"images {tuple(x.shape)} and references {tuple(reference.shape)} must have the same "
            f"shape, and there must be a reference"
        )
    reference = floats(reference).flatten(1)
    lengths, found = reference.square().sum(1), []
    for part in floats(x).flatten(1).split(max(1, PAIRS // len(reference))):
        part = part.to(reference.device)
        scores = torch.addmm(lengths, part, reference.T, beta=0.5, alpha=-1)  # a half, less |x|^2
        top, near = scores.topk(min(CANDIDATES, len(reference)), largest=False)
        least, index = _exactly(part, near.sort(1)[0], reference)
        reach = top[:, 0] + ROUNDING * (lengths.max() + part.square().sum(1))
        for row in (top[:, -1] <= reach).nonzero()[:, 0]:  # more than those may be the nearest
            near = (scores[row] <= reach[row]).nonzero().T
            least[row], index[row] = _exactly(part[row, None], near, reference)
        found.append((least, index))
    distance, index = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    return distance.float(), index


def _exactly(x, near, reference):
    """Of candidates ``near`` [B, K] the nearest to each ``x`` [B, D]: distances, and which."""
    exact = (x[:, None].double() - reference[near].double()).square().sum(2)
    least, place = exact.min(1)
    return least.sqrt(), near.gather(1, place[:, None])[:, 0]


def memorised(reconstructions, x, train) -> torch.Tensor:
    """Which reconstructions are nearer to a training image than to their own input: bool [N].

    Bozkurt et al. 2021, section 4.4. All are images [N, ...] of the same shape, uint8 or float in
    [0, 1]; l2 distance of the pixels. A poor reconstruction counts too, whatever it resembles.
    Raises VaenbError for shapes that differ.
    """
    if reconstructions.shape != x.shape:
        raise VaenbError(f"reconstructions {tuple(reconstructions.shape)} and their inputs "
                         f"{tuple(x.shape)} must have the same shape")
    made, given = (floats(v).flatten(1).cpu().double() for v in (reconstructions, x))
    own = (made - given).square().sum(1).sqrt()
    return nearest(reconstructions, train)[0] < own.float()


def bernoulli_floor(x) -> torch.Tensor:
    """The least distortion of a Bernoulli decoder on images [N, ...], in nats: [N].

    The entropy of the grey values taken as probabilities, summed: cross-entropy with soft targets
    cannot fall below it; 0 for black and white images.
    """
    p = floats(x).flatten(1).double()
    return (torch.special.entr(p) + torch.special.entr(1 - p)).sum(1).float()
