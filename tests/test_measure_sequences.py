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


@each
def test_parts_of_a_set_have_the_noise_of_their_places(make):
    model, x = make()
    whole = measure.iw_nll(model, x, 4, 2)
    apart = [measure.iw_nll(model, x[a:b], 4, 2, first=a) for a, b in ((0, 3), (3, 7))]
    assert torch.allclose(torch.cat(apart), whole, rtol=1e-11)
    assert not torch.allclose(measure.iw_nll(model, x[3:], 4, 2), whole[3:], rtol=1e-6)


def test_a_model_without_codes_says_so():
    torch.manual_seed(0)
    words, pixels = models.language_model(9, 3, 4), models.pixel_cnn(0, 4, 2, (3, 3, 3))
    x, image = torch.randint(4, 9, (3, 5)), torch.zeros(2, 1, 28, 28)
    for call in (lambda: measure.iw_nll(words, x), lambda: measure.posteriors(words, x),
                 lambda: measure.samples(pixels, 2), lambda: measure.iw_nll(pixels, image)):
        with pytest.raises(VaenbError, match="has no codes, .*: its own log_prob is exact"):
            call()
    shifted = models.shifted_pixel_cnn(models.Bernoulli(), 2, width=4)
    for decoder in (pixels, shifted):
        with pytest.raises(VaenbError, match="alone has no rate: score it by its own log_prob"):
            measure.nats(decoder, image)
    with pytest.raises(VaenbError, match="a code of one number, and this model has 0"):
        measure.model_posterior_mean(words, x)
    spent = measure.nats(words, x)  # all distortion
    assert torch.allclose(spent.distortion, -words.eval().log_prob(x)) and not spent.rate.any()


@each
def test_a_decoder_that_sees_its_own_words_is_not_decoded_at_once(make):
    model, x = make()
    for call in (lambda: measure.samples(model, 2), lambda: measure.reconstructions(model, x)):
        with pytest.raises(VaenbError, match=r"one pixel or word after another: take its own"):
            call()


def test_a_code_of_another_width_is_refused():
    model, x = text()
    for call in (lambda: model.log_prob(x, torch.zeros(7, 5).double()),
                 lambda: model.sample(torch.zeros(1, 5).double(), 4, start=1)):
        with pytest.raises(VaenbError, match="a code has 5 numbers and this model was made for 2"):
            call()


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
