"""What a sweep costs as one program: member-steps a second beside bare loops, all in one run.

A side trains the same members on the same device: `fit` with the number of members together that
it chooses itself, against torch's own Adam in a plain loop, one model after another, and on a GPU
also against that loop with its step captured as a graph. Rounds go in turns; the ratio is the
median. Peak memory is beside each side: on a CPU what a process of its own takes above its
imports, on a GPU what is allocated above the data; both divided by the members. An aim that is
missed is no error.
"""

import gc
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vaenb.models import Bernoulli, LinearGaussian, ghvae, mlp_vae
from vaenb.report import records
from vaenb.train import device, fit
from vaenb.train.together import is_out_of_memory

WHERE = device()
ROUNDS = 5
LIMITS = {"H200": (67, 4.8), "H100": (67, 3.35), "A100": (19.5, 2.0)}  # TFLOP/s float32, TB/s


def hierarchical(model, x, beta, noise):
    nats = model(x, SimpleNamespace(normal_like=noise))
    return (nats.distortion + beta * nats.rate).mean()


def make_hierarchy():
    return ghvae(LinearGaussian(0.71), (3, 32, 32))


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


def compare(net, name, make, loss, image, members, steps, batch, aims, most=()):
    """``most``: the aims on a GPU, milliseconds of a step of all members and MiB a member."""
    x = torch.rand(16 * batch, *image, device=WHERE)
    work, gpu = (make, loss, x, members, steps, batch), WHERE.type == "cuda"
    for side, options in SIDES.values():  # first-call costs
        side(make, loss, x, members if gpu else 1, 3, batch, **options)
    took, peak = {n: [] for n in SIDES}, {}
    for k in range(ROUNDS):
        for n in list(SIDES)[:: 1 if k % 2 else -1]:
            if gpu:
                gc.collect()
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
            took[n].append(seconds(SIDES[n][0], *work, **SIDES[n][1]))
            if gpu:
                peak[n] = (torch.cuda.max_memory_allocated() - held) / 2**20
    for n in () if gpu else SIDES:
        peak[n] = peak_alone(net, n)
    rate = members * steps / statistics.median(took["fit"])
    size = sum(p.numel() for p in make().parameters())
    print(f"\n{name}: {size} numbers, {members} members, batch {batch}, {steps} steps; "
          f"fit {rate:.4g} member-steps a second")
    for (n, times), aim in zip(list(took.items())[1:], aims, strict=False):
        ratios = sorted(b / a for a, b in zip(took["fit"], times, strict=True))
        print(f"{'time of a ' + n + ' / fit':<52} {statistics.median(ratios):7.3f}   aim {aim}   "
              f"(rounds {ratios[0]:.3f} to {ratios[-1]:.3f})")
    ms, mib = most if gpu and most else (None, None)
    if gpu:
        at_most("a step of all members, ms", 1e3 * members / rate, ms)
    for n, of_all in peak.items():
        at_most(f"peak memory a member, MiB: {n}", of_all / members, mib if n == "fit" else None)
    if gpu:
        distance(make, loss, x[:batch], rate, size)


def at_most(what, value, most):
    """A line with a value and, if there is one, the aim and whether it is met."""
    aim = f"   aim <= {most}: {'met' if value <= most else 'missed'}" if most else ""
    print(f"{what:<52} {value:7.2f}{aim}")


def peak_alone(net, side):
    """Peak memory in MiB of three steps of a net's members in a process of its own."""
    done = subprocess.run([sys.executable, __file__, str(net), side], capture_output=True,
                          text=True, check=True)
    return float(done.stdout)


def tell_peak(net, side):
    _, make, loss, image, members, _, batch, *_ = nets()[net]
    before = records.peak_mib()
    work, options = SIDES[side]
    work(make, loss, torch.rand(16 * batch, *image), members, 3, batch, **options)
    print(records.peak_mib() - before)


SIDES = {"fit": (sweep, {}), "bare loop": (bare, {})}
if WHERE.type == "cuda":
    SIDES["loop of captured steps"] = bare, dict(captured=True)


def distance(make, loss, x, rate, size):
    """How far from the card's arithmetic and memory: of the latter only what Adam must move."""
    model, beta = make().to(WHERE), torch.tensor(1.0, device=WHERE)
    with FlopCounterMode(display=False) as counter:
        loss(model, x, beta, torch.randn_like).backward()
    done, moved = rate * counter.get_total_flops() / 1e12, rate * size * 7 * 4 / 1e12
    known = [v for n, v in LIMITS.items() if n in torch.cuda.get_device_name()]
    for what, value, unit, limit in (("arithmetic", done, "TFLOP/s", 0),
                                     ("traffic of parameters and moments", moved, "TB/s", 1)):
        share = f", {value / known[0][limit]:.0%} of the card's" if known else ""
        print(f"{what:<52} {value:7.3f} {unit}{share}")


def whole_grid(batch=256, steps=60):
    """441 hierarchies as one program, and what 100 epochs of SVHN would take."""
    x = torch.randint(0, 256, (8 * batch, 3, 32, 32), dtype=torch.uint8, device=WHERE)

    def one(model, x, hp):
        return hierarchical(model, x, hp.beta, hp.rng.normal_like), {}

    torch.cuda.reset_peak_memory_stats()
    took = [seconds(fit, make_hierarchy, one, x, rows(441), n, batch=batch, every=n,
                    progress=False, device=WHERE) for n in (10, 10 + steps)]
    each = (took[1] - took[0]) / steps  # without making the models and capturing the step
    print(f"\n441 hierarchies, batch {batch}: {each * 1e3:.1f} ms a step, {441 / each:.0f} "
          f"member-steps a second, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB; 100 "
          f"epochs of SVHN (28600 steps) in {each * 28600 / 3600:.2f} hours")


def nets():
    """Name, net, loss, image, members, steps, batch, aims of the ratios, aims on a GPU."""
    gpu = WHERE.type == "cuda"
    members, steps = (60, 200) if gpu else (2, 24)
    found = [
        ("MLP of three layers", lambda: mlp_vae(Bernoulli(), (3, 32, 32), 3), bernoulli,
         (3, 32, 32), members, steps, 128, (">= 8", ">= 3") if gpu else (">= 0.95",), (4, None)),
        ("GHVAE", make_hierarchy, hierarchical, (3, 32, 32), members, steps if gpu else 10, 128,
         (">= 8", ">= 2") if gpu else (">= 0.95",), (None, 80)),
        ("a tiny MLP", lambda: mlp_vae(Bernoulli(), (1, 16, 16), 1, width=64), bernoulli,
         (1, 16, 16), 60, 200, 32, (">= 8", ">= 3") if gpu else (">= 3",)),
    ]
    if gpu:
        found += [(f"{n}, alone", make, loss, image, 1, 500, batch, (">= 1", "-"))
                  for n, make, loss, image, _, _, batch, *_ in found[:2]]
    return found


def main():
    gpu = WHERE.type == "cuda"
    name = torch.cuda.get_device_name() if gpu else f"{torch.get_num_threads()} threads"
    print(f"\nSweeps on {WHERE}, {name}; {ROUNDS} rounds")
    jobs = [(net[0], compare, (k, *net)) for k, net in enumerate(nets())]
    for name, job, given in jobs + [("the whole grid", whole_grid, ())] * gpu:
        try:
            job(*given)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            print(f"\n{name}: out of memory")


if __name__ == "__main__":
    tell_peak(int(sys.argv[1]), sys.argv[2]) if sys.argv[1:] else main()
