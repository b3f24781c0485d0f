"""What `fit` and `iw_nll` cost beside plain loops: ratios, all from one run.

Both sides of a ratio do the same work at paper size (the small VAE, 32-64-128 channels, 3x28x28,
batch 128) in turns, so that a busy machine slows both; the ratio is the median over the rounds.
Rounds are short (three training steps, eight images): a step takes 0.2 s or more on two cores.
Peak memory is each side's own process. A ratio that misses its aim is no error.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vaenb.data import unit
from vaenb.measure import iw_nll
from vaenb.measure.chunks import RowRng
from vaenb.models import SharedGaussian, small_vae, standard_normal_log_prob
from vaenb.train import fit

STEPS, BATCH, ROUNDS = 3, 128, 9
IMAGES, SAMPLES, IW_ROUNDS = 8, 100, 3


def images(count):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, 28, 28), generator=generator, dtype=torch.uint8)


def make():
    return small_vae(SharedGaussian(), (3, 28, 28))


def elbo(model, x, hp):
    nats = model(x, hp.rng)
    return (nats.distortion + nats.rate).mean(), dict(R=nats.rate.mean())


def train_fit(x):
    """`fit`, from making the model to the last step."""
    fit(make, elbo, x, [dict(seed=0)], STEPS, batch=BATCH, progress=False, device="cpu")


class TorchNoise:
    """Noise as a plain loop takes it."""

    normal_like = staticmethod(torch.randn_like)


def train_bare(x):
    """The same by hand: torch's Adam, torch's noise, nothing kept."""
    torch.manual_seed(0)
    model = make().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.randperm(len(x))
    for k in range(STEPS):
        batch = unit(x[order[k * BATCH : (k + 1) * BATCH]])
        nats = model(batch, TorchNoise)
        loss = (nats.distortion + nats.rate).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def iw_chunked(model, x):
    return iw_nll(model, x, samples=SAMPLES)


@torch.no_grad()
def iw_loop(model, x, at_once=1):
    """Image by image, ``at_once`` codes at a time, with the noise that `iw_nll` takes."""
    found = []
    for i in range(len(x)):
        image = unit(x[i : i + 1])
        q = model.posterior(image)
        noise = RowRng(0, i, 1).normal(1, SAMPLES, model.latents)[0]
        weights = []
        for u in noise.split(at_once):
            z = q.mean + q.log_std.exp() * u
            log_q = standard_normal_log_prob(u) - q.log_std.sum(-1)
            weights.append(model.log_joint(image.expand(len(u), -1, -1, -1), z) - log_q)
        total = torch.cat(weights).logsumexp(0)
        found.append(torch.log(torch.tensor(float(SAMPLES))) - total)
    return torch.stack(found)


def iw_loop_batched(model, x):
    return iw_loop(model, x, SAMPLES)


SIDES = {  # what a process of its own can be asked to do
    "nothing": lambda: None,
    "fit": lambda: train_fit(images(4 * BATCH)),
    "bare": lambda: train_bare(images(4 * BATCH)),
    "iw_nll": lambda: iw_chunked(make().eval(), images(IMAGES)),
    "loop": lambda: iw_loop(make().eval(), images(IMAGES)),
    "loop_batched": lambda: iw_loop_batched(make().eval(), images(IMAGES)),
}


def in_turns(rounds, *sides):
    """Seconds on the clock and of the processors, of each side in each round.

    The order is reversed in every other round.
    """
    clock, processors = ([[] for _ in sides] for _ in range(2))
    for k in range(rounds):
        for i in range(len(sides))[:: 1 if k % 2 else -1]:
            function, *arguments = sides[i]
            began = time.perf_counter(), time.process_time()
            function(*arguments)
            clock[i].append(time.perf_counter() - began[0])
            processors[i].append(time.process_time() - began[1])
    return clock, processors


def show(label, above, below, aim):
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    print(
        f"{label:<52} {statistics.median(ratios):7.3f}   aim {aim}   "
        f"(rounds {ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


def peak_mib(side):
    """Peak memory of a process that does one thing."""
    command = [sys.executable, __file__, side]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def tell_peak(side):
    SIDES[side]()
    try:  # on Linux ru_maxrss begins with the parent's peak
        status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
        print(int(status.split()[0]) / 2**10)
    except (OSError, IndexError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak / (2**20 if sys.platform == "darwin" else 2**10))


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    print(f"{processor()}, {os.cpu_count()} cores; torch {torch.__version__}, ", end="")
    print(f"{torch.get_num_threads()} threads; Python {platform.python_version()}")

    x = images(4 * BATCH)
    for side in (train_fit, train_bare):  # imports and first-call costs
        side(x)
    (ours, bare), busy = in_turns(ROUNDS, (train_fit, x), (train_bare, x))
    step = statistics.median(bare) / STEPS
    print(f"\nTraining: {STEPS} steps of batch {BATCH}, {ROUNDS} rounds, {step:.2f} s a bare step")
    show("time of fit / bare torch loop", ours, bare, "<= 1.05")
    show("the same in processor time", *busy, "<= 1.05")

    model, x = make().eval(), images(IMAGES)
    values = [side(model, x) for side in (iw_chunked, iw_loop, iw_loop_batched)]
    worst = max(float((values[0] - v).abs().max() / v.abs().max()) for v in values[1:])
    if not worst < 1e-5:
        raise SystemExit(f"iw_nll and the loops differ by {worst:.1e} of their value")
    (ours, loop, batched), _ = in_turns(
        IW_ROUNDS, (iw_chunked, model, x), (iw_loop, model, x), (iw_loop_batched, model, x)
    )
    print(f"\nIW-NLL: {SAMPLES} samples, {IMAGES} images, {IW_ROUNDS} rounds, ", end="")
    print(f"values within {worst:.0e}")
    show("time of a loop over images and samples / iw_nll", loop, ours, ">= 5")
    show("time of a loop over images, samples at once / iw_nll", batched, ours, ">= 5")

    print("\nPeak memory of a process of its own, MiB")
    base = peak_mib("nothing")
    print(f"{'imports alone':<52} {base:7.0f}")
    for side in ("fit", "bare", "iw_nll", "loop", "loop_batched"):
        print(f"{side:<52} {peak_mib(side):7.0f}")


if __name__ == "__main__":
    tell_peak(sys.argv[1]) if sys.argv[1:] else main()
