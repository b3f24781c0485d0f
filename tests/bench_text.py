"""What chapter 4's steps and estimates cost beside plain loops: ratios, all from one run.

At the size of the synthetic set (1004 words, 50 units, sentences of 12 tokens, batch 16); on a GPU
at the size of Yahoo (20001 words, 1024 units, 80 tokens, batch 32). Sides take turns, as in
bench.py. A ratio that misses its aim is no error.

IW-NLL is `iw_nll` as the chapter calls it: `ITEMS` sentences with all their samples in a call of
the model, which cuts them for its memory. It is held against three loops with the same noise and
values: one decodes a sentence and a sample at a time (which has the aim of 10), one a sentence
with 100 samples at a time (the paper's way), and one is `iw_nll` with a sentence a call. The last
two do the same arithmetic in other pieces: on a processor, where that is the time, they differ
little, and the aim of 10 is missed there by both.

Last come two whole trainings by the chapter's rules, basic and aggressive, as its profile `quick`
has them: their times are what the paper's Table 3 compares (2.2 to 3.7).
"""

import os
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import in_turns, show
from cells import cells

from vaenb.measure import iw_nll
from vaenb.measure.chunks import RowRng
from vaenb.models import standard_normal_log_prob, text_vae
from vaenb.train import Parts, Rng

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
WORDS, EMBEDDING, HIDDEN, LATENTS, TOKENS, BATCH = (
    (20001, 512, 1024, 32, 80, 32) if GPU else (1004, 50, 50, 1, 12, 16))  # fmt: skip
STEPS, ROUNDS, SENTENCES, SAMPLES = 60, 9, 32, 500


def sentences(count):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(4, WORDS, (count, TOKENS), generator=generator).to(DEVICE)


def make():
    torch.manual_seed(0)
    return text_vae(WORDS, EMBEDDING, HIDDEN, LATENTS).to(DEVICE)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1.0)


def parts_of(model):
    return Parts(model, sgd, 5.0, encoder=model.encoder, decoder=model.decoder)


class Bare(nn.Module):
    """The same model as one writes it by hand, with torch's noise and dropout."""

    def __init__(self):
        super().__init__()
        self.words_in, self.words_out = (nn.Embedding(WORDS, EMBEDDING) for _ in range(2))
        self.read = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 2 * LATENTS, bias=False)
        self.start = nn.Linear(LATENTS, HIDDEN, bias=False)
        self.write = nn.LSTM(EMBEDDING + LATENTS, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, WORDS, bias=False)
        for name, p in self.named_parameters():
            nn.init.uniform_(p, *((-0.1, 0.1) if "words" in name else (-0.01, 0.01)))

    def forward(self, x):
        state = self.read(self.words_in(x))[1][0][0]
        mean, log_variance = self.head(state).chunk(2, 1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        rate = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        words = F.dropout(self.words_out(x[:, :-1]), 0.5)
        cell = self.start(z)[None]
        codes = z[:, None].expand(-1, words.shape[1], -1)
        h = self.write(torch.cat([words, codes], 2), (cell.tanh(), cell))[0]
        logits = self.out(F.dropout(h, 0.5))
        each = F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none")
        return each.view(len(x), -1).sum(1) + rate


def with_parts(parts, batches):
    for k, x in enumerate(batches):
        nats = parts.model(x, Rng.of(0, "noise", k, DEVICE))
        parts.step((nats.distortion + nats.rates[0]).mean(), "encoder", "decoder")
    settle()


def by_hand(model, optimisers, batches):
    for x in batches:
        for optimiser in optimisers:
            optimiser.zero_grad()
        model(x).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for optimiser in optimisers:
            optimiser.step()
    settle()


@torch.no_grad()
def iw_loop(model, x, at_once):
    """Sentence by sentence, ``at_once`` codes at a time, with the noise that `iw_nll` takes."""
    found = []
    for i in range(len(x)):
        one = x[i : i + 1]
        q, weights = model.posterior(one), []
        noise = RowRng(0, i, 1, device=DEVICE).normal(1, SAMPLES, LATENTS, dtype=q.mean.dtype)[0]
        for u in noise.split(at_once):
            z = q.mean + q.log_std.exp() * u
            log_q = standard_normal_log_prob(u) - q.log_std.sum(-1)
            weights.append(model.log_joint(one.expand(len(u), -1), z) - log_q)
        found.append(torch.log(torch.tensor(float(SAMPLES))) - torch.cat(weights).logsumexp(0))
    settle()
    return torch.stack(found).cpu()


def chunked(model, x):
    found = iw_nll(model, x, SAMPLES)
    settle()
    return found


def settle():
    if GPU:
        torch.cuda.synchronize()


def whole_training(own, model):
    """Seconds of a training by the rules of chapter 4, from the first step to the last."""
    began = time.perf_counter()
    own["train_one"]("synthetic", dict(model=model), 0, None, model)
    return time.perf_counter() - began


def main():
    print(f"torch {torch.__version__}, {DEVICE}, {torch.get_num_threads()} threads")
    batches = list(sentences(STEPS * BATCH).split(BATCH))

    parts, bare = parts_of(make()), Bare().to(DEVICE)
    optimisers = [sgd(p) for p in (
        [*bare.words_in.parameters(), *bare.read.parameters(), *bare.head.parameters()],
        [*bare.words_out.parameters(), *bare.start.parameters(), *bare.write.parameters(),
         *bare.out.parameters()])]  # fmt: skip
    with_parts(parts, batches[:5]), by_hand(bare, optimisers, batches[:5])
    (ours, plain), _ = in_turns(ROUNDS, (with_parts, parts, batches),
                           (by_hand, bare, optimisers, batches))  # fmt: skip
    step = 1e3 * statistics.median(plain) / STEPS
    print(f"\nTraining: {STEPS} steps, {step:.1f} ms a bare step")
    show("time of a step of Parts / bare torch loop", ours, plain, "<= 1.05")

    own = cells("04_lagging_inference", ("objective",))
    parts, few, moves = parts_of(make()), batches[:10], iter(range(10**9))

    def loss(x):
        nats = parts.model(x, Rng.of(0, "noise", next(moves), DEVICE))
        return nats.distortion + nats.rates[0]

    def aggressive():
        for x in few:
            own["aggressive_step"](parts, loss, x, lambda: batches[next(moves) % STEPS], 15,
                                   lambda x: x[:, 1:].numel())  # fmt: skip
        settle()

    (slow, fast), _ = in_turns(3, (aggressive,), (with_parts, parts, few))
    show("an aggressive step / a basic one, at the start", slow, fast, "none: at most 100")

    model, x = make().eval(), sentences(SENTENCES)
    values = chunked(model, x)
    worst = max(float((found - values[: len(found)]).abs().max() / found.abs().max())
                for found in (iw_loop(model, x, 100), iw_loop(model, x[:2], 1)))  # fmt: skip
    if not worst < 1e-5:
        raise SystemExit(f"iw_nll and the loops differ by {worst:.1e} of their value")
    (ours, single, hundred, one), _ = in_turns(
        3, (chunked, model, x), (iw_loop, model, x[:2], 1), (iw_loop, model, x, 100),
        (iw_nll, model, x, SAMPLES, 0, SAMPLES))  # fmt: skip
    print(f"\nIW-NLL: {SAMPLES} samples, {SENTENCES} sentences, values within {worst:.0e}")
    show("a sentence and a sample at a time / iw_nll",
         [s * SENTENCES / 2 for s in single], ours, ">= 10")  # fmt: skip
    show("a sentence, 100 samples at a time / iw_nll", hundred, ours, ">= 10 on a GPU")
    show("iw_nll of a sentence a call / of many", one, ours, "none: above 1")

    os.environ["VAENB_PROFILE"] = "quick"
    own = cells("04_lagging_inference", until="budget")
    own["task"]("synthetic")  # the data are there before the clock runs
    print("\nWhole trainings: 4000 synthetic sequences, 20 epochs at most")
    fast, slow = (whole_training(own, model) for model in ("VAE", "Ours"))
    show(f"aggressive / basic ({fast:.0f} s)", [slow], [fast], "none: 2.2 to 3.7 in the paper")


if __name__ == "__main__":
    main()
