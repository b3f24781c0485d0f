"""The recurrent networks of He et al. (2019): a VAE of sentences, and a language model.

Batches are token ids [B, T], int64, of one length, from the start to the end symbol, without
padding. The T - 1 tokens after the first are predicted, and nats are summed over them. What is
not a batch of token ids is refused with VaenbError; only on a GPU, where looking at the ids would
stop the queue, a token out of the vocabulary is left to torch.
"""

import torch
import torch.nn.functional as F
from torch import nn

from vaenb.errors import VaenbError, at_least_one
from vaenb.models.classifiers import dropped
from vaenb.models.conv import VAE, Nats
from vaenb.models.latents import Gaussian

NUMBERS, NUMBERS_ON_GPU = 2**19, 2**28  # of gates or logits at once: 2 MiB (a cache), 1 GiB


class _Encoder(nn.Module):
    """Tokens [B, T] to means and log variances [B, 2Z], from the last hidden state."""

    def __init__(self, vocabulary, embedding, hidden, latents):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2 * latents, bias=False)

    def forward(self, x):
        _check_tokens(x, self.embedding.num_embeddings)
        return self.head(self.lstm(self.embedding(x))[0][:, -1])


class _Decoder(nn.Module):
    """Predicts tokens from those before them and codes z [B, Z]; ``latents`` 0: from none."""

    def __init__(self, vocabulary, embedding, hidden, latents, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding + latents, hidden, batch_first=True)
        self.cell = nn.Linear(latents, hidden, bias=False) if latents else None
        self.out = nn.Linear(hidden, vocabulary, bias=False)
        self.dropout = dropout

    def start(self, z):
        """The LSTM's (h0, c0), each [1, B, H]; None, which is zeros, without codes."""
        if self.cell is None:
            return None
        cell = self.cell(z)[None]
        return cell.tanh(), cell

    def hidden(self, x, z, rng=None):
        """What the LSTM knows before each token but the first: [B, T - 1, H]."""
        rng = rng if self.training and self.dropout else None
        words = dropped(self.embedding(x[:, :-1]), self.dropout, rng)
        codes = z[:, None].expand(-1, words.shape[1], -1)
        h = self.lstm(torch.cat([words, codes], 2), self.start(z))[0]
        return dropped(h, self.dropout, rng)

    def scores(self, h, x):
        """log p(tokens) from ``hidden``, [B]; at most `_numbers` logits at once."""
        rows = max(1, _numbers(h) // self.out.out_features)
        parts = zip(h.flatten(0, 1).split(rows), x[:, 1:].flatten().split(rows), strict=True)
        told = [F.cross_entropy(self.out(a), word, reduction="none") for a, word in parts]
        return -torch.cat(told).view(len(x), -1).sum(1)

    def log_prob(self, x, z):
        """log p(x|z) for x [B, T] and z [B, S, Z]: [B, S]."""
        _check_tokens(x, self.embedding.num_embeddings)
        count, flat = z.shape[1], z.flatten(0, 1)
        each = (x.shape[1] - 1) * 4 * self.lstm.hidden_size
        rows = torch.arange(len(flat), device=x.device)
        parts = rows.split(max(1, _numbers(z) // each))
        return torch.cat([
            self.scores(self.hidden(x[part // count], flat[part]), x[part // count])
            for part in parts
        ]).view(len(x), count)  # fmt: skip


class TextVAE(VAE):
    """A VAE of sentences: LSTMs both ways, one Gaussian code [B, ``latents``], the prior N(0, I).

    As `VAE`, for token ids [B, T] in the place of images and without a ``likelihood``: the decoder
    has its own. It shares no parameter with the encoder, so that each can have its own optimiser.
    """

    decode = None  # the decoder needs words too: log_prob(x, z) and sample(z, ...)

    def log_prob(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """log p(x|z) in nats, summed over tokens, without dropout: [B] for z [B, Z], and [B, S]
        for z [B, S, Z], many codes for each sentence.

        At most 2^19 gates of the LSTM and as many logits are held at once on a CPU, and 2^28 on a
        GPU, where no gradient is asked for.
        """
        self._check_code(z)
        if z.ndim == 2:
            return self.decoder.log_prob(x, z[:, None])[:, 0]
        return self.decoder.log_prob(x, z)

    def forward(self, x: torch.Tensor, rng) -> Nats:
        """Distortion (one draw of z) and rate (closed form) of token ids [B, T]; ``out`` is None.

        In training mode the decoder's dropout draws from ``rng`` too.
        """
        q = self.posterior(x)
        z = q.sample(rng)
        distortion = -self.decoder.scores(self.decoder.hidden(x, z, rng), x)
        return Nats(distortion, (q.rate(),), None, z, q)

    @torch.no_grad()
    def sample(self, z: torch.Tensor, length: int, rng=None, *, start: int) -> torch.Tensor:
        """Token ids [B, length], the first of which is ``start``, for codes z [B, Z].

        Each is drawn given those before it; without ``rng`` it is the likeliest. Nothing stops at
        the end symbol: cut there. Probabilities below 1e-7 are not resolved.
        """
        at_least_one(length=length)
        self._check_code(z)
        decoder, state = self.decoder, self.decoder.start(z)
        words = [torch.full_like(z[:, 0], start, dtype=torch.int64)]
        _check_tokens(words[0][:, None].expand(-1, 2), decoder.embedding.num_embeddings)
        draws = None if rng is None else rng.uniform(len(z), length, dtype=torch.float64)
        for t in range(1, length):
            step = torch.cat([decoder.embedding(words[-1]), z], 1)[:, None]
            h, state = decoder.lstm(step, state)
            logits = decoder.out(h[:, 0])
            if rng is None:
                words.append(logits.argmax(1))
                continue
            steps = logits.double().softmax(1).cumsum(1)
            place = torch.searchsorted(steps, draws[:, t, None] * steps[:, -1:])
            words.append(place[:, 0])
        return torch.stack(words, 1)

    def _check_code(self, z):
        if z.shape[-1] != self.latents:
            raise VaenbError(f"a code has {z.shape[-1]} numbers and this model was made for "
                             f"{self.latents}: take codes from prior_code or code")


class LanguageModel(nn.Module):
    """An LSTM language model: the decoder of a `TextVAE` without codes, from a state of zeros."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """log p(x) in nats of token ids [B, T], without dropout: [B]; as `TextVAE.log_prob`."""
        return self.decoder.log_prob(x, self._no_code(x)[:, None])[:, 0]

    def forward(self, x: torch.Tensor, rng) -> Nats:
        """-log p(x) as distortion and a rate of 0, the code [B, 0]: what trains a VAE trains it.

        In training mode dropout draws from ``rng``.
        """
        _check_tokens(x, self.decoder.embedding.num_embeddings)
        z = self._no_code(x)
        q = Gaussian(z, z)
        distortion = -self.decoder.scores(self.decoder.hidden(x, z, rng), x)
        return Nats(distortion, (q.rate(),), None, z, q)

    def _no_code(self, x):
        return self.decoder.out.weight.new_zeros(len(x), 0)


def text_vae(
    vocabulary: int,
    embedding: int = 512,
    hidden: int = 1024,
    latents: int = 32,
    dropout: float = 0.5,
    weights: tuple[float, float] = (-0.01, 0.01),
    embeddings: tuple[float, float] = (-0.1, 0.1),
) -> TextVAE:
    """The VAE of sentences of He et al. (2019), appendix B.

    One-layer LSTMs of ``hidden`` units, each with embeddings of its own; the code is part of the
    decoder's input at every step, and W z its first cell state. ``dropout`` is the share dropped
    of the decoder's embeddings and of its LSTM's output. All parameters begin uniform in the range
    ``weights``, the embeddings in ``embeddings`` (Figure 6: (0.04, 0.06) and (0, 0.2)).

    12828672 + 2048 V parameters for a vocabulary of V; 41150 + 150 V for the synthetic sequences
    (embedding 50, hidden 50, latents 1). Raises VaenbError for sizes below 1, a dropout that is
    no share, and empty ranges.
    """
    at_least_one(vocabulary=vocabulary, embedding=embedding, hidden=hidden, latents=latents)
    _share(dropout)
    encoder = _Encoder(vocabulary, embedding, hidden, latents)
    decoder = _Decoder(vocabulary, embedding, hidden, latents, dropout)
    return _uniform(TextVAE(encoder, decoder, None, latents), weights, embeddings)


def language_model(
    vocabulary: int,
    embedding: int = 512,
    hidden: int = 1024,
    dropout: float = 0.5,
    weights: tuple[float, float] = (-0.01, 0.01),
    embeddings: tuple[float, float] = (-0.1, 0.1),
) -> LanguageModel:
    """The LSTM language model of He et al. (2019): arguments as `text_vae`, without codes.

    6299648 + 1536 V parameters for a vocabulary of V.
    """
    at_least_one(vocabulary=vocabulary, embedding=embedding, hidden=hidden)
    _share(dropout)
    decoder = _Decoder(vocabulary, embedding, hidden, 0, dropout)
    return _uniform(LanguageModel(decoder), weights, embeddings)


def _uniform(model, weights, embeddings):
    for low, high in (weights, embeddings):
        if not low < high:
            raise VaenbError(f"the initial range ({low}, {high}) is empty: give (low, high)")
    for name, param in model.named_parameters():
        nn.init.uniform_(param, *(embeddings if "embedding" in name else weights))
    return model


def _numbers(like):
    return NUMBERS_ON_GPU if like.is_cuda else NUMBERS


def _check_tokens(x, vocabulary):
    if x.ndim != 2 or x.dtype != torch.int64:
        raise VaenbError(
            f"sentences are {str(x.dtype)[6:]} {list(x.shape)} and must be token "
            f"ids, int64 [sentences, tokens]"
        )
    if x.shape[1] < 2:
        raise VaenbError(
            f"sentences of length {x.shape[1]} have nothing to predict: give at "
            f"least the start and the end symbol"
        )
    if not x.is_cuda and len(x) and not 0 <= x.min() <= x.max() < vocabulary:
        raise VaenbError(
            f"tokens run from {x.min()} to {x.max()} and the vocabulary has the ids "
            f"0 to {vocabulary - 1}: build the model for the data's vocabulary"
        )


def _share(dropout):
    if not 0 <= dropout < 1:
        raise VaenbError(f"dropout is {dropout} and must be at least 0 and below 1")
