"""The recurrent models: printed sizes, sums over all sentences, and what may depend on what."""

from itertools import product

import pytest
import torch
from torch import distributions as dist

from vaenb import VaenbError, measure, train
from vaenb.models.text import language_model, text_vae
from vaenb.train import Rng


def count(module):
    return sum(p.numel() for p in module.parameters())


def wide(model):
    """In float64, with weights large enough that every path is felt."""
    with torch.no_grad():
        for k, p in enumerate(model.double().parameters()):
            p.copy_(0.6 * Rng.of(k).normal_like(p))
    return model.eval()


def small(vocabulary=7, **sizes):
    return wide(text_vae(vocabulary, **dict(embedding=4, hidden=5, latents=3) | sizes))


def language(vocabulary=7, **sizes):
    return wide(language_model(vocabulary, **dict(embedding=4, hidden=5) | sizes))


def sentences(n, length, vocabulary=7, seed=0):
    return (Rng.of(seed, "samples").uniform(n, length) * vocabulary).long()


def codes(*shape, seed=1):
    return Rng.of(seed).normal(*shape, dtype=torch.float64)


def by_hand(decoder, x, z):
    """log p(x|z) of one sentence, one token after another, by the LSTM's equations."""
    at = dict(decoder.named_parameters())
    cell = at["cell.weight"] @ z if "cell.weight" in at else torch.zeros(5, dtype=torch.float64)
    h = cell.tanh()
    total = 0
    for word, after in zip(x[:-1], x[1:], strict=True):
        step = torch.cat([at["embedding.weight"][word], z])
        gates = at["lstm.weight_ih_l0"] @ step + at["lstm.bias_ih_l0"]
        gates = gates + at["lstm.weight_hh_l0"] @ h + at["lstm.bias_hh_l0"]
        i, f, g, o = gates.chunk(4)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        h = o.sigmoid() * cell.tanh()
        total = total + (at["out.weight"] @ h).log_softmax(0)[after]
    return total


def test_the_parameter_counts():
    with torch.device("meta"):
        big, tiny = text_vae(19997), text_vae(1004, 50, 50, 1)
        lm = language_model(19997)
    assert count(big) == 12828672 + 2048 * 19997 == 53782528
    assert count(tiny) == 41150 + 150 * 1004 == 191750
    assert count(lm) == 6299648 + 1536 * 19997
    assert count(big.encoder) == 512 * 19997 + 6299648 + 65536
    assert count(big.decoder) == 1536 * 19997 + 6430720 + 32768


def test_the_initial_ranges():
    for ranges in ({}, dict(weights=(0.04, 0.06), embeddings=(0.0, 0.2))):
        torch.manual_seed(0)
        for model in (text_vae(50, 20, 30, 4, **ranges), language_model(50, 20, 30, **ranges)):
            for name, p in model.named_parameters():
                low, high = (0.04, 0.06) if ranges else (-0.01, 0.01)
                if "embedding" in name:
                    low, high = (0.0, 0.2) if ranges else (-0.1, 0.1)
                room = 0.05 * (high - low)
                assert low <= p.min() < low + room and high - room < p.max() <= high, name


def test_the_probabilities_of_all_sentences_sum_to_one():
    x = torch.tensor([(0, *rest) for rest in product(range(4), repeat=4)])
    model, lm, z = small(4), language(4), codes(2, 3)
    many = model.log_prob(x, z.expand(len(x), 2, 3))
    assert torch.allclose(many.logsumexp(0), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(lm.log_prob(x).logsumexp(0), torch.zeros((), dtype=torch.float64),
                          atol=1e-12)
    assert many.std() > 0.1 and lm.log_prob(x).std() > 0.1


def test_the_equations_one_token_after_another():
    x, z, model, lm = sentences(3, 6), codes(3, 3), small(), language()
    ours = torch.stack([by_hand(model.decoder, a, b) for a, b in zip(x, z, strict=True)])
    assert torch.allclose(model.log_prob(x, z), ours, rtol=0, atol=1e-12)
    ours = torch.stack([by_hand(lm.decoder, a, z.new_zeros(0)) for a in x])
    assert torch.allclose(lm.log_prob(x), ours, rtol=0, atol=1e-12)


def test_a_prediction_knows_only_the_tokens_before_it():
    model, x, z = small(), sentences(1, 6), codes(1, 3)
    known = model.decoder.hidden(x, z)[0]
    assert known.shape == (5, 5)
    for t in range(6):
        other = x.clone()
        other[0, t] = (x[0, t] + 1) % 7
        moved = (model.decoder.hidden(other, z)[0] != known).any(1)
        assert moved.tolist() == [k >= t for k in range(5)]  # row k predicts token k + 1


def test_the_code_is_read_at_every_step_and_at_the_start():
    model, x = small(), sentences(1, 6)
    z, lstm = codes(1, 3).requires_grad_(), model.decoder.lstm

    def felt():
        h = model.decoder.hidden(x, z)[0]
        return [bool(torch.autograd.grad(row.sum(), z, retain_graph=True)[0].any()) for row in h]

    with torch.no_grad():
        lstm.weight_hh_l0.zero_()
        lstm.bias_hh_l0[5:10] = -1e4  # the forget gate: no step hears of another
    assert felt() == [True] * 5
    with torch.no_grad():
        lstm.weight_ih_l0[:, 4:] = 0
    assert felt() == [False] * 5
    with torch.no_grad():
        lstm.bias_hh_l0[5:10] = 0
    assert felt() == [True] * 5  # by the first cell state alone


def test_many_codes_are_a_loop_and_chunks_change_nothing(monkeypatch):
    model, lm, x, z = small(), language(), sentences(4, 6), codes(4, 9, 3)
    many = model.log_prob(x, z)
    loop = torch.stack([model.log_prob(x, z[:, s]) for s in range(9)], 1)
    assert many.shape == (4, 9) and torch.allclose(many, loop, rtol=0, atol=1e-12)
    without = lm.log_prob(x)
    for numbers in (1, 40, 250, 10**6):
        monkeypatch.setattr("vaenb.models.text.NUMBERS", numbers)
        assert torch.allclose(model.log_prob(x, z), many, rtol=0, atol=1e-12)
        assert torch.allclose(lm.log_prob(x), without, rtol=0, atol=1e-12)
    prior = dist.Normal(0.0, 1.0).log_prob(z).sum(2)
    assert torch.allclose(model.log_joint(x, z), many + prior, rtol=0, atol=1e-12)
    assert torch.allclose(model.log_joint(x, z[:, 0]), (many + prior)[:, 0], rtol=0, atol=1e-12)


def test_chunks_bound_what_is_held(monkeypatch):
    model, most = small(), {"gates": 0, "logits": 0}

    def gates(module, given, out):
        most["gates"] = max(most["gates"], given[0].shape[:2].numel() * 4 * 5)

    model.decoder.lstm.register_forward_hook(gates)
    model.decoder.out.register_forward_hook(
        lambda module, given, out: most.update(logits=max(most["logits"], out.numel())))
    for numbers, found in (
        (210, {"gates": 200, "logits": 70}),  # 2 of 36 sequences, all their 10 tokens
        (40, {"gates": 200, "logits": 70}),  # as before: less is held than then
        (300, {"gates": 300, "logits": 105}),
    ):
        monkeypatch.setattr("vaenb.models.text.NUMBERS", numbers)
        model.log_prob(sentences(4, 6), codes(4, 9, 3))
        assert most == found


def test_the_rate_is_torchs_and_the_draw_is_repeatable():
    model, x = small(), sentences(4, 6)
    nats = model(x, Rng.of(3))
    q = dist.Normal(nats.posterior.mean, nats.posterior.log_std.exp())
    rate = dist.kl_divergence(q, dist.Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(nats.rate, rate, rtol=1e-12) and nats.out is None
    assert torch.allclose(nats.distortion, -model.log_prob(x, nats.z), rtol=0, atol=1e-12)
    assert torch.equal(nats.z, nats.posterior.sample(Rng.of(3)))
    assert torch.equal(model.code(x), q.mean)
    state = model.encoder.lstm(model.encoder.embedding(x))[1][0][0]
    mean, log_variance = (state @ model.encoder.head.weight.T).chunk(2, 1)
    assert torch.allclose(q.mean, mean) and torch.allclose(q.variance, log_variance.exp())
    assert torch.equal(model.prior_code(5, Rng.of(1)), codes(5, 3))
    means, log_std = nats.posterior
    assert measure.information(means, log_std).rate == pytest.approx(float(rate.mean().detach()))


def test_a_language_model_is_a_vae_without_a_code():
    lm, x = language(), sentences(4, 6)
    nats = lm(x, Rng.of(0))
    assert torch.allclose(nats.distortion, -lm.log_prob(x), rtol=0, atol=1e-12)
    assert nats.rate.tolist() == [0.0] * 4 and nats.z.shape == (4, 0)


def test_dropout_is_for_training_and_comes_from_the_given_noise():
    x = sentences(40, 6)
    for model in (small(), language()):
        sure = model(x, Rng.of(2)).distortion
        assert torch.equal(sure, model(x, Rng.of(2)).distortion)
        model.train()
        noisy = model(x, Rng.of(2)).distortion
        assert (noisy != sure).all()
        assert torch.equal(noisy, model(x, Rng.of(2)).distortion)
        z = model(x, Rng.of(2)).z
        assert torch.equal(model.decoder.hidden(x, z), model.eval().decoder.hidden(x, z))
    for model in (small(dropout=0.0), language(dropout=0.0)):
        sure = model(x, Rng.of(2)).distortion
        assert torch.equal(sure, model.train()(x, Rng.of(2)).distortion)


def test_dropout_takes_words_and_states_but_never_codes():
    model, x, z = small(dropout=0.25), sentences(400, 6), codes(400, 3)
    seen = []
    model.decoder.lstm.register_forward_hook(lambda m, given, out: seen.append((given[0], out[0])))
    dropped = model.train().decoder.hidden(x, z, Rng.of(0))
    words, states = seen[0]
    full = model.decoder.embedding(x[:, :-1])
    for ours, whole in ((words[..., :4], full), (dropped, states)):
        kept = ours != 0
        assert torch.allclose(ours[kept], whole[kept] / 0.75, rtol=1e-12)
        assert 0.73 < kept.double().mean() < 0.77  # seven standard deviations
    assert torch.equal(words[..., 4:], z[:, None].expand(-1, 5, -1))


def test_samples_follow_the_models_probabilities():
    model, z = small(3), codes(1, 3)
    x = torch.tensor([(1, *rest) for rest in product(range(3), repeat=2)])
    p = model.log_prob(x, z.expand(9, 3)).exp()
    drawn = model.sample(z.expand(20000, 3), 3, Rng.of(0), start=1)
    assert drawn.shape == (20000, 3) and (drawn[:, 0] == 1).all()
    found = (drawn[:, 1] * 3 + drawn[:, 2]).bincount(minlength=9) / 20000
    assert ((found - p).abs() < 5 * (p * (1 - p) / 20000).sqrt()).all()
    assert torch.equal(drawn, model.sample(z.expand(20000, 3), 3, Rng.of(0), start=1))
    assert model.sample(z, 1, start=2).tolist() == [[2]]


def test_greedy_samples_take_the_likeliest_token_each_time():
    model, z = small(), codes(5, 3)
    x = model.sample(z, 6, start=0)
    for t in range(1, 6):
        every = torch.cat([x[:, None, :t].expand(-1, 7, -1),
                           torch.arange(7).expand(5, 7)[..., None]], 2)
        scores = model.log_prob(every.flatten(0, 1), z.repeat_interleave(7, 0)).view(5, 7)
        assert torch.equal(scores.argmax(1), x[:, t])


def test_fit_trains_both():
    def loss(model, x, hp):
        nats = model(x, hp.rng)
        return (nats.distortion + nats.rate).mean(), dict(D=nats.distortion.mean())

    x = sentences(8, 1, 9).expand(8, 5).repeat(8, 1)  # one word again and again
    for make in (lambda: text_vae(9, 8, 16, 2), lambda: language_model(9, 8, 16)):
        rows = [dict(seed=0), dict(seed=1)]
        runs = train.fit(make, loss, x, rows, 40, batch=16, lr=0.03, every=20, valid=x,
                         progress=False, device="cpu")
        for run in runs.history:
            assert run["D"][0] > run["D"][-1] and run["valid_D"][-1] < 0.8 * 4 * 2.2
        again = train.fit(make, loss, x, rows[:1], 40, batch=16, lr=0.03, every=20, valid=x,
                          progress=False, device="cpu")
        assert again.history[0] == runs.history[0]


@pytest.mark.parametrize(("change", "words"), [
    (dict(vocabulary=0), "vocabulary is 0 and must be at least 1"),
    (dict(embedding=-1), "embedding is -1 and must be at least 1"),
    (dict(hidden=0), "hidden is 0 and must be at least 1"),
    (dict(latents=0), "latents is 0 and must be at least 1"),
    (dict(dropout=1), "dropout is 1 and must be at least 0 and below 1"),
    (dict(dropout=-0.5), "dropout is -0.5 and must be"),
    (dict(weights=(0.1, 0.1)), r"the initial range \(0.1, 0.1\) is empty: give \(low, high\)"),
    (dict(embeddings=(1, 0)), r"the initial range \(1, 0\) is empty"),
])
def test_impossible_sizes(change, words):
    with pytest.raises(VaenbError, match=words):
        text_vae(**dict(vocabulary=7, embedding=4, hidden=5, latents=3) | change)
    if "latents" not in change:
        with pytest.raises(VaenbError, match=words):
            language_model(**dict(vocabulary=7, embedding=4, hidden=5) | change)


@pytest.mark.parametrize(("x", "words"), [
    (torch.tensor([[0, 7]]), "tokens run from 0 to 7 and the vocabulary has the ids 0 to 6"),
    (torch.tensor([[-1, 2]]), "tokens run from -1 to 2 and"),
    (torch.tensor([[3]]), "sentences of length 1 have nothing to predict: give at least the"),
    (torch.tensor([1, 2]), r"sentences are int64 \[2\] and must be token ids, int64 \[sentences,"),
    (torch.zeros(2, 3), r"sentences are float32 \[2, 3\] and must be token ids"),
])
def test_impossible_sentences(x, words):
    model, lm, z = small(), language(), codes(1, 3)
    calls = (lambda: model.posterior(x), lambda: model(x, Rng.of(0)), lambda: model.log_prob(x, z),
             lambda: lm.log_prob(x), lambda: lm(x, Rng.of(0)))
    for call in calls:
        with pytest.raises(VaenbError, match=words):
            call()


def test_impossible_samples():
    with pytest.raises(VaenbError, match="length is 0 and must be at least 1"):
        small().sample(codes(2, 3), 0, start=1)
    with pytest.raises(VaenbError, match="tokens run from 7 to 7 and the vocabulary"):
        small().sample(codes(2, 3), 4, start=7)
