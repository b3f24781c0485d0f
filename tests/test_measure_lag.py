"""The model's posterior mean against closed forms, and information within given batches."""

import math

import pytest
import torch
from test_measure_bounds import SIGMA, Linear
from torch import nn

from vaenb import VaenbError, measure, models
from vaenb.train import Rng


def linear(latents=1):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 2 * latents)).double()
    decoder = nn.Sequential(nn.Linear(latents, 16), nn.Unflatten(1, (1, 4, 4))).double()
    return models.VAE(encoder, decoder, Linear(), latents)


def test_a_linear_gaussian_models_posterior_mean():
    model = linear()
    w, b = model.decoder[0].weight[:, 0].detach(), model.decoder[0].bias.detach()
    x = Rng.of(1).normal(9, 1, 4, 4, dtype=torch.float64)
    exact = (x.flatten(1) - b) @ w / (SIGMA**2 + w @ w)
    for stride in (0.1, 0.01):  # the posterior's deviation is about 0.25
        found = measure.model_posterior_mean(model, x, stride=stride, chunk=4)
        assert torch.allclose(found, exact, atol=1e-9)
    assert torch.allclose(measure.model_posterior_mean(model, x, -1e-3, 1e-3, 1e-3),
                          torch.zeros(9, dtype=torch.float64), atol=1e-3)  # all that it sees


def test_sentences_have_one_too():
    torch.manual_seed(0)
    model = models.text_vae(5, 3, 4, 1, weights=(-1.0, 1.0), embeddings=(-1.0, 1.0)).double()
    x = torch.randint(0, 5, (6, 4), generator=torch.Generator().manual_seed(2))
    found = measure.model_posterior_mean(model, x, -8, 8, 0.05)
    z = -8 + 0.05 * torch.arange(321, dtype=torch.float64)
    for n in range(6):
        with torch.no_grad():
            weights = torch.stack([model.eval().log_joint(x[n:n + 1], v.view(1, 1))[0]
                                   for v in z]).softmax(0)
        assert float(found[n]) == pytest.approx(float(weights @ z), abs=1e-9)
    assert found.abs().max() > 0.01


@pytest.mark.parametrize(("change", "words"), [
    (dict(stride=0.0), "by 0.0 has fewer than two points"),
    (dict(low=1.0, high=0.0), "from 1.0 to 0.0"),
    (dict(chunk=0), "chunk is 0 and must be at least 1"),
])
def test_grids_that_cannot_be(change, words):
    with pytest.raises(VaenbError, match=words):
        measure.model_posterior_mean(linear(), torch.zeros(2, 1, 4, 4), **change)
    with pytest.raises(VaenbError, match="a code of one number, and this model has 2"):
        measure.model_posterior_mean(linear(2), torch.zeros(2, 1, 4, 4))


def test_a_model_that_has_diverged_gives_no_numbers_on_any_grid():
    model = models.text_vae(5, 3, 4, 1)
    with torch.no_grad():
        model.decoder.out.weight.fill_(math.nan)
    for stride in (0.1, 0.01):
        x = torch.zeros(2, 4, dtype=torch.int64)
        found = measure.model_posterior_mean(model, x, -1, 1, stride)
        assert found.isnan().all()


def test_arrays_do_too_and_no_batches_are_refused():
    mean, log_std = Rng.of(0).normal(20, 2), torch.zeros(20, 2)
    told = measure.information(mean.numpy(), log_std.numpy())
    assert told == measure.information(mean, log_std)
    assert measure.active_units(mean.numpy())[0] == 2
    with pytest.raises(VaenbError, match="groups is 0"):
        measure.information(mean, log_std, groups=[])


def test_given_batches_take_the_place_of_random_ones():
    rng = Rng.of(3)
    mean = 2 * rng.normal(20, 2, dtype=torch.float64)
    log_std = -0.5 + 0.1 * rng.normal(20, 2, dtype=torch.float64)
    groups = [torch.arange(0, 3), torch.arange(3, 4), torch.arange(4, 20)]
    found = measure.information(mean, log_std, groups=groups, draws=3000)
    parts = [measure.information(mean[g], log_std[g], batch=len(g), draws=3000) for g in groups]
    by_size = sum(len(g) * p.mi_batch for g, p in zip(groups, parts, strict=True)) / 20
    assert found.mi_batch == pytest.approx(by_size, abs=0.02)
    assert parts[1].mi_batch == pytest.approx(0, abs=1e-12)  # alone it says nothing
    assert found.batch == 16
    assert found.batch_ceiling == pytest.approx((3 * math.log(3) + 16 * math.log(16)) / 20)
    narrow = measure.information(mean, log_std - 9, groups=groups)
    assert narrow.mi_batch == pytest.approx(narrow.batch_ceiling, rel=1e-9)  # saturated


def test_two_points_of_a_grid_are_weighed_by_hand():
    model, x = linear(), Rng.of(1).normal(5, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        low, high = (model.log_joint(x, torch.full((5, 1), v).double()) for v in (-0.3, 0.1))
    expected = -0.3 + 0.4 * (high - low).sigmoid()
    found = measure.model_posterior_mean(model, x, -0.3, 0.1, 0.4)
    assert torch.allclose(found, expected, atol=1e-12) and expected.std() > 0.01


class TwoNarrowPeaks(nn.Module):
    """A model whose posterior has a tenth of its mass at 3 + x and the rest at x - 2."""

    latents, width = 1, 0.03

    def __init__(self):
        super().__init__()
        self.none, self.seen = nn.Parameter(torch.zeros(1).double()), 0

    def log_joint(self, x, z):
        self.seen += z.shape[0] * z.shape[1]
        x, z = x.view(-1, 1), z[..., 0]
        peaks = [math.log(share) - ((z - x - at) / self.width) ** 2 / 2
                 for share, at in ((0.1, 3.0), (0.9, -2.0))]
        return torch.logaddexp(*peaks) - 700


def test_a_fine_grid_is_looked_over_first():
    model = TwoNarrowPeaks()
    x = torch.linspace(-0.52, 0.53, 8, dtype=torch.float64).view(8, 1, 1, 1)
    found = measure.model_posterior_mean(model, x, stride=0.01, chunk=1)
    assert torch.allclose(found, x.flatten() - 1.5, atol=1e-9)  # 0.1 x 3 - 0.9 x 2
    assert model.seen / 8 < 600  # of 4001 points
    coarse = measure.model_posterior_mean(model, x, stride=0.1)
    assert (coarse - found).abs().max() > 0.01  # the stride is three widths
