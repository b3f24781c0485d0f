"""The synthetic sequences of He et al. (2019), appendix B.1: words drawn by a random LSTM from z.

z has two dimensions and four clusters; an LSTM with 100 units and random weights, which sees
z in its initial state, in every input and in every output, draws the words. The details that
the paper leaves out are those of its public generator. Its seed is ours, but not its stream:
the sequences are others from the same recipe, and the weights are another draw too.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from vaenb.errors import VaenbError, at_least_one

SEED = 19950927
UNITS, LENGTH = 100, 10  # of the LSTM; words of a sequence
CENTRES = np.array([[-2., -2.], [2., 2.], [-2., 2.], [2., -2.]])  # of z, each of unit variance


class Sequences(NamedTuple):
    """N sequences and what made them.

    tokens int64 [N, L] in 0 .. vocabulary - 1; z float64 [N, 2]; cluster int64 [N], a row of
    ``CENTRES``; log_prob float64 [N, L], log p(token | z, tokens before it) in nats: the best
    that any model of these sequences can do once it knows z. The first is -log(vocabulary).
    """

    tokens: np.ndarray
    z: np.ndarray
    cluster: np.ndarray
    log_prob: np.ndarray


def weights(vocabulary: int = 1000) -> dict[str, np.ndarray]:
    """The generator's parameters, float64, all U(-1, 1) but ``direct``, which is U(-5, 5).

    embedding [V, UNITS]; gates [4 UNITS, UNITS + 2 + UNITS], on (word, z, h), in the order
    input, forget, cell, output; bias [2, 4 UNITS], both added; state [UNITS, 2], c0 = state z
    and h0 = tanh(c0); out [V, UNITS] and direct [V, 2], logits = out h + direct z.
    Raises VaenbError for fewer than two words.
    """
    if vocabulary < 2:
        raise VaenbError(f"the generator needs at least 2 words, and not {vocabulary}")
    rng = np.random.default_rng((SEED, 0))
    shapes = {"embedding": (vocabulary, UNITS), "gates": (4 * UNITS, 2 * UNITS + 2),
              "bias": (2, 4 * UNITS), "state": (UNITS, 2), "out": (vocabulary, UNITS)}
    made = {name: rng.uniform(-1, 1, shape) for name, shape in shapes.items()}
    return made | {"direct": rng.uniform(-5, 5, (vocabulary, 2))}


def draw(w: dict, n: int = 20000, chunk: int = 1000) -> Sequences:
    """``n`` sequences of `LENGTH` words from the weights ``w``, 5 to 10 s for the paper's 20000.

    The first word is uniform and belongs to the sequence. A pure function of (w, n), whatever
    the ``chunk`` of sequences that are worked on at a time, up to the rounding of the sums
    inside: a word can differ between machines where its uniform number falls within 1e-13 of a
    border. Raises VaenbError for less than one sequence.
    """
    at_least_one(n=n)
    rng, vocabulary = np.random.default_rng((SEED, 1)), len(w["embedding"])
    cluster = rng.integers(len(CENTRES), size=n)
    z = CENTRES[cluster] + rng.standard_normal((n, 2))
    tokens, log_prob = np.empty((n, LENGTH), np.int64), np.empty((n, LENGTH))
    tokens[:, 0], log_prob[:, 0] = rng.integers(vocabulary, size=n), -np.log(vocabulary)
    uniform = rng.random((n, LENGTH - 1))
    for i in range(0, n, chunk):
        rows = slice(i, i + chunk)
        cell, direct = z[rows] @ w["state"].T, z[rows] @ w["direct"].T
        hidden = np.tanh(cell)
        for t in range(1, LENGTH):
            hidden, cell = step(w, w["embedding"][tokens[rows, t - 1]], z[rows], hidden, cell)
            logits = hidden @ w["out"].T + direct
            logits -= logits.max(1, keepdims=True)
            ladder = np.exp(logits).cumsum(1)  # not normalised: the last column is the sum
            mark = uniform[rows, t - 1] * ladder[:, -1]
            word = (ladder[:, :-1] <= mark[:, None]).sum(1)
            tokens[rows, t] = word
            log_prob[rows, t] = logits[np.arange(len(word)), word] - np.log(ladder[:, -1])
    return Sequences(tokens, z, cluster, log_prob)


def step(w: dict, word: np.ndarray, z: np.ndarray, hidden: np.ndarray, cell: np.ndarray):
    """One step of the LSTM: word embeddings, hidden and cell [n, units], z [n, 2]."""
    gates = np.concatenate([word, z, hidden], axis=1) @ w["gates"].T + w["bias"].sum(0)
    into, forget, new, out = np.split(gates, 4, axis=1)
    cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(new)
    return sigmoid(out) * np.tanh(cell), cell


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)  # does not overflow


def generate(vocabulary: int = 1000, count: int = 20000) -> tuple[Sequences, Sequences, Sequences]:
    """The paper's set: 16000 training, 2000 validation and 2000 test sequences of length 10.

    In the order in which they were drawn. Fewer words or sequences come from the same recipe, and
    are cut 80, 10, 10 in a hundred. Raises VaenbError for fewer than 2 words or 10 sequences.
    """
    if count < 10:
        raise VaenbError(f"count={count} sequences cannot be cut 80, 10, 10: draw at least 10")
    made, held = draw(weights(vocabulary), count), count // 10
    ends = pairwise((0, count - 2 * held, count - held, count))
    return tuple(Sequences(*(part[a:b] for part in made)) for a, b in ends)
