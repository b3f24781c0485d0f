"""What a sweep costs as one program: member-steps a second beside bare loops, all in one run.

A side trains the same members on the same device: `fit` with the number of members together that
it chooses itself, against torch's own Adam in a plain loop, one model after another, and on a GPU
also against that loop with its step captured as a graph. Rounds go in turns; the ratio is the
median. A ratio that misses its aim is no error.
"""

import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vaenb.models import Bernoulli, mlp_vae
from vaenb.train import device, fit
from vaenb.train.together import is_out_of_memory

WHERE = device()
ROUNDS = 5


class TwoLayers(nn.Module):
    """A hierarchical convolutional VAE of the size of Xiao & Bamler's GHVAE (475811 numbers)."""

    def __init__(self, c=32):
        super().__init__()
        conv, up = (lambda i, o: nn.Conv2d(i, o, 4, 2, 1)), nn.ConvTranspose2d
        relu = nn.ReLU()
        self.upper = nn.Sequential(conv(3, c), relu, conv(c, c), relu, conv(c, c), relu,
                                   nn.Flatten(), nn.Linear(16 * c, 64))
        self.lower = nn.Sequential(conv(3, c), relu, conv(c, c), relu)
        self.down = nn.Sequential(nn.Linear(32, 16 * c), relu, nn.Unflatten(1, (c, 4, 4)),
                                  up(c, c, 4, 2, 1), relu)
        self.both = nn.Sequential(conv(2 * c, c), relu)
        self.q1 = nn.Conv2d(c, 2 * c, 3, 1, 1)
        self.p1 = nn.Sequential(nn.Linear(32, 8 * c), relu, nn.Linear(8 * c, 32 * c))
        self.decoder = nn.Sequential(up(c, c, 4, 2, 1), relu, up(c, c, 4, 2, 1), relu,
                                     up(c, 3, 4, 2, 1))

    def loss(self, x, beta, noise):
        mean2, log2 = self.upper(x).chunk(2, 1)
        z2 = mean2 + log2.exp() * noise(mean2)
        h = self.both(torch.cat([self.lower(x), self.down(z2)], 1))
        mean1, log1 = self.q1(h).chunk(2, 1)
        prior_mean, prior_log = (p.view_as(mean1) for p in self.p1(z2).chunk(2, 1))
        z1 = mean1 + log1.exp() * noise(mean1)
        distortion = (x - self.decoder(z1)).square().flatten(1).sum(1)
        rate2 = 0.5 * (mean2.square() + (2 * log2).exp() - 1 - 2 * log2).sum(1)
        apart = (mean1 - prior_mean).square() + (2 * log1).exp()
        rate1 = 0.5 * (apart / (2 * prior_log).exp() - 1 - 2 * (log1 - prior_log))
        return (distortion + beta * (rate2 + rate1.flatten(1).sum(1))).mean()


def hierarchical(model, x, beta, noise):
    return model.loss(x, beta, noise)


def bernoulli(model, x, beta, noise):
    q = model.posterior(x)
    logits = model.decode(q.mean + q.log_std.exp() * noise(q.mean))
    distortion = (F.softplus(logits) - x * logits).flatten(1).sum(1)
    return (distortion + beta * q.rate()).mean()


def rows(members):
    return [dict(seed=k, beta=0.1 * (k + 1)) for k in range(members)]


def sweep(make, loss, x, members, steps, batch):
    def one(model, x, hp):
        return loss(model, x, hp.beta, hp.rng.normal_like), {}

    fit(make, one, x, rows(members), steps, batch=batch, every=steps, progress=False, device=WHERE)


def bare(make, loss, x, members, steps, batch, captured=False):
    for row in rows(members):
        torch.manual_seed(row["seed"])
        model = make().to(WHERE)
        optimiser = torch.optim.Adam(model.parameters(), capturable=WHERE.type == "cuda")
        held = torch.zeros_like(x[:batch])
        beta = torch.tensor(row["beta"], device=WHERE)

        def step(model=model, optimiser=optimiser, held=held, beta=beta):
            optimiser.zero_grad(set_to_none=False)
            loss(model, held, beta, torch.randn_like).backward()
            optimiser.step()

        order = torch.randperm(len(x), device=WHERE)
        if captured:
            step = graph_of(step)
        for t in range(steps):
            k = t % (len(x) // batch)
            held.copy_(x[order[k * batch : (k + 1) * batch]])
            step()


def graph_of(step):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def seconds(side, *arguments, **options):
    """Time on the clock; on a GPU until its work is done."""
    if WHERE.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    side(*arguments, **options)
    if WHERE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(name, make, loss, image, members, steps, batch, aims):
    x = torch.rand(16 * batch, *image, device=WHERE)
    work = make, loss, x, members, steps, batch
    sides = {"fit": (sweep, {}), "bare loop": (bare, {})}
    if WHERE.type == "cuda":
        sides["loop of captured steps"] = bare, dict(captured=True)
    for side, options in sides.values():  # first-call costs
        side(make, loss, x, 1 if WHERE.type == "cpu" else members, 3, batch, **options)
    took = {n: [] for n in sides}
    if WHERE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for k in range(ROUNDS):
        for n in list(sides)[:: 1 if k % 2 else -1]:
            took[n].append(seconds(sides[n][0], *work, **sides[n][1]))
    rate = members * steps / statistics.median(took["fit"])
    size = sum(p.numel() for p in make().parameters())
    print(f"\n{name}: {size} numbers, {members} members, batch {batch}, {steps} steps; "
          f"fit {rate:.4g} member-steps a second")
    for (n, times), aim in zip(list(took.items())[1:], aims, strict=False):
        ratios = sorted(b / a for a, b in zip(took["fit"], times, strict=True))
        print(f"{'time of a ' + n + ' / fit':<52} {statistics.median(ratios):7.3f}   aim {aim}   "
              f"(rounds {ratios[0]:.3f} to {ratios[-1]:.3f})")
    if WHERE.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20 / members
        print(f"{'peak GPU memory a member, MiB':<52} {peak:7.1f}")


def main():
    gpu = WHERE.type == "cuda"
    name = torch.cuda.get_device_name() if gpu else f"{torch.get_num_threads()} threads"
    print(f"\nSweeps on {WHERE}, {name}; {ROUNDS} rounds")
    members, steps = (60, 200) if gpu else (2, 24)
    assert sum(p.numel() for p in TwoLayers().parameters()) == 475811
    nets = [
        ("MLP of three layers", lambda: mlp_vae(Bernoulli(), (3, 32, 32), 3), bernoulli,
         (3, 32, 32), members, steps, 128, (">= 8", ">= 3") if gpu else (">= 0.95",)),
        ("hierarchical convolutions", TwoLayers, hierarchical, (3, 32, 32), members,
         steps if gpu else 10, 128, (">= 8", ">= 2") if gpu else (">= 0.95",)),
        ("a tiny MLP", lambda: mlp_vae(Bernoulli(), (1, 16, 16), 1, width=64), bernoulli,
         (1, 16, 16), 60, 200, 32, (">= 8", ">= 3") if gpu else (">= 3",)),
    ]
    if gpu:
        nets += [(f"{n}, alone", make, loss, image, 1, 500, batch, (">= 1", "-"))
                 for n, make, loss, image, _, _, batch, _ in nets[:2]]
    for net in nets:
        try:
            compare(*net)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            print(f"\n{net[0]}: out of memory")


if __name__ == "__main__":
    main()
