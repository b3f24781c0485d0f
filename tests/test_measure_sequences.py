"""The bounds on models whose decoder also sees what came before: pixels, words."""

import math

import pytest
import torch

from vaenb import VaenbError, measure, models
from vaenb.measure.chunks import RowRng


def text():
    torch.manual_seed(0)
    model = models.text_vae(6, embedding=4, hidden=5, latents=2, weights=(-0.8, 0.8),
                            embeddings=(-1.0, 1.0)).double().eval()
    return model, torch.randint(0, 6, (7, 5), generator=torch.Generator().manual_seed(1))


def pixels():
    torch.manual_seed(0)
    model = models.pixel_vae(latents=2, width=4, bottleneck=2, hidden=8, kernels=(3, 3, 3),
                             image=(1, 8, 8)).double().eval()
    x = (torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5).double()
    return model, x


each = pytest.mark.parametrize("make", [text, pixels])


@each
def test_distortion_and_rate_are_the_models_own(make):
    model, x = make()
    spent = measure.nats(model, x, seed=5, chunk=3)
    with torch.no_grad():
        z = model.posterior(x).sample(RowRng(5, 0, 7))
        assert torch.allclose(spent.distortion, -model.log_prob(x, z), rtol=1e-10)
    assert torch.allclose(spent.rate, measure.posteriors(model, x).rate())


@each
def test_importance_weights_by_a_loop(make):
    model, x = make()
    found = measure.iw_nll(model, x, samples=6, seed=3)
    assert torch.allclose(found, measure.iw_nll(model, x, samples=6, seed=3, max_rows=4))
    for n in range(len(x)):
        one = x[n:n + 1]
        with torch.no_grad():
            q = model.posterior(one)
            u = RowRng(3, n, 1).normal(1, 6, 2, dtype=torch.float64)[0]
            z = q.mean + q.log_std.exp() * u
            weights = [model.log_joint(one, z[s:s + 1]) - q.log_prob(z[s:s + 1])
                       for s in range(6)]
        expected = math.log(6) - torch.stack(weights).logsumexp(0)
        assert torch.allclose(found[n], expected[0], rtol=1e-9)


@each
def test_many_items_go_in_one_call_with_the_noise_of_their_places(make, monkeypatch):
    model, x = make()
    x, calls, usual = x.repeat(6, *[1] * (x.ndim - 1)), [], model.log_joint
    by_one = measure.iw_nll(model, x, samples=8, seed=2, max_rows=8)
    monkeypatch.setattr(model, "log_joint", lambda x, z: calls.append(len(x)) or usual(x, z))
    assert torch.allclose(measure.iw_nll(model, x, samples=8, seed=2), by_one, rtol=1e-11)
    assert calls == [32, 10]  # of 42, all samples at once; the model cuts them for its memory
    with pytest.raises(VaenbError, match="samples is 0"):
        measure.iw_nll(model, x, samples=0)


def test_a_call_of_many_sentences_holds_no_more_at_once(monkeypatch):
    model, x = text()
    monkeypatch.setattr(models.text, "NUMBERS", 4 * 4 * 5 * 10)  # gates of ten codes
    rows, usual = [], model.decoder.lstm.forward
    monkeypatch.setattr(model.decoder.lstm, "forward",
                        lambda h, *state: rows.append(len(h)) or usual(h, *state))
    measure.iw_nll(model, x, samples=6)
    assert max(rows) == 10 and sum(rows) == 42


def test_words_are_not_scaled():
    model, x = text()
    assert torch.equal(measure.posteriors(model, x).mean, model.posterior(x).mean.detach())
