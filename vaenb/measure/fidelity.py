"""How images look: samples, reconstructions, their error, and the Frechet distance of features."""

import torch
from torch import nn

from vaenb.errors import VaenbError, at_least_one
from vaenb.measure.chunks import RowRng, batches, evaluating, floats, rows_at_once


def samples(model, n: int, seed: int = 0, chunk: int | None = None):
    """``n`` images [n, C, H, W] on the CPU: the decoder's means for codes drawn from the prior.

    Equal seeds give equal codes to all models; fewer images are the first of more. Raises
    VaenbError for autoregressive decoders, which have a ``sample`` of their own.
    """
    at_least_one(n=n)
    found = []
    with evaluating(model, coded=True):
        rows = rows_at_once(model, chunk)
        like = next(model.parameters())
        for start in range(0, n, rows):
            count = min(rows, n - start)
            rng = RowRng(seed, start, count, "samples", like.device)
            found.append(_image(model, model.prior_code(count, rng)).cpu())
    return torch.cat(found)


def reconstructions(model, x, chunk: int | None = None):
    """Images ``x`` [N, C, H, W] (uint8, or float in [0, 1]) through the code and back, on the CPU.

    By the posterior's mean, in each layer, and the decoder's. Raises VaenbError as `samples` does.
    """
    with evaluating(model, coded=True):
        return torch.cat([_image(model, model.code(images)).cpu()
                          for _, images in batches(model, x, rows_at_once(model, chunk))])


def _image(model, z):
    if model.decode is None:
        raise VaenbError(f"a {type(model).__name__} decodes one pixel or word after another: take "
                         f"its own sample(...) with codes from prior_code or code")
    return model.likelihood.mean(model.decode(z))


def mse(x, y) -> torch.Tensor:
    """Squared error of each image (uint8, or float in [0, 1]), averaged over its values: [N]."""
    x, y = (floats(torch.as_tensor(v).cpu()) for v in (x, y))
    if x.shape != y.shape:
        raise VaenbError(f"images {tuple(x.shape)} and {tuple(y.shape)} differ in shape")
    return (x.double() - y.double()).square().flatten(1).mean(1)


def psnr(x, y) -> float:
    """Peak signal-to-noise ratio of ``y`` as copies of ``x``, in decibels, for values in [0, 1].

    10 log10(1 / m) with m the squared error averaged over all images together, as in the code of
    Xiao & Bamler (2023); the average of the images' own ratios is never less. Equal images give
    infinity. Images as in `mse`, which says what cannot be compared.
    """
    return float(-10 * mse(x, y).mean().log10())


def features(network, x, chunk: int = 500) -> torch.Tensor:
    """``network.features`` of images ``x`` [N, C, H, W], uint8 or float in [0, 1]: [N, F], CPU."""
    with evaluating(network):
        found = [network.features(images).cpu() for _, images in batches(network, x, chunk)]
    return torch.cat(found)


def logits(network, x) -> torch.Tensor:
    """``network`` of images ``x`` [N, C, H, W], uint8 or float in [0, 1]: [N, classes], CPU."""
    with evaluating(network):
        return torch.cat([network(images).cpu() for _, images in batches(network, x, 500)])


def frechet(a, b) -> float:
    """Frechet distance of Gaussians fitted to two sets of features [N, F] and [M, F].

    |mean difference|^2 + tr(A + B - 2 (A B)^(1/2)) with the sample covariances A, B (Heusel et al.
    2017), in the features' squared units, float64. The trace of the root is the sum of the
    singular values of R S', where A = R'R and B = S'S by the QR decomposition of the centred
    features: no covariance is formed, and deficient ranks cost no accuracy. Biased upwards, in
    proportion to 1/N + 1/M: compare only values with equal numbers of images, equal features.

    Raises VaenbError for more dimensions than images in either set, and values not finite.
    """
    a, b = (torch.as_tensor(v).detach().double() for v in (a, b))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise VaenbError(f"features {tuple(a.shape)}, {tuple(b.shape)} must be [N, F] and [M, F]")
    least, most = min(len(a), len(b)), max(2, a.shape[1])
    if least < most:
        raise VaenbError(f"{a.shape[1]} features need {most} images, and there are {least}")
    if not (a.isfinite().all() and b.isfinite().all()):
        raise VaenbError("some features are not finite: the images or the network are broken")
    roots = [torch.linalg.qr(v - v.mean(0), mode="r").R / (len(v) - 1) ** 0.5 for v in (a, b)]
    cross = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() - 2 * cross
    return max(float(distance + sum(root.square().sum() for root in roots)), 0.0)


def inception_features(device="cpu"):
    """(callable, description): images [N, C, H, W] (uint8, or float in [0, 1]) to [N, 2048].

    The features of the network that published distances use; the description names network, layer
    and dimension. Raises VaenbError for weights that cannot be had.
    """
    network = _Inception().to(device)
    told = "Inception v3 (pytorch-fid's weights, side 299), last pooling, 2048 dimensions"
    return lambda x: features(network, x, 50), told


class _Inception(nn.Module):
    def __init__(self):
        super().__init__()
        try:
            from pytorch_fid.inception import InceptionV3

            self.network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
        except ImportError as error:
            mend = "run `pip install -e '.[inception]'`, or take a classifier's features"
            raise VaenbError(f"Inception features need the package pytorch-fid: {mend}") from error
        except (OSError, RuntimeError) as error:  # no network, or a file that is torn
            what = f"the weights pt_inception-2015-12-05-6726825d.pth cannot be had ({error})"
            mend = f"put them into {torch.hub.get_dir()}/checkpoints, or take a classifier"
            raise VaenbError(f"{what}: {mend}") from error

    def features(self, x):  # grey images as three equal channels
        return self.network(x.expand(-1, 3, -1, -1).clamp(0, 1))[0].flatten(1)
