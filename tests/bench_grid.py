"""Two costs of a grid at the paper's size: the probes of one cell, and all Tetrominoes.

Codes of classes that overlap stand for a model's: 20826 to fit and 5206 to score, 32 and 512
dimensions; the latter take some minutes. Processor time is told beside the clock's: on a busy
machine the two part. An aim that is missed is no error.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vaenb.data import tetrominoes
from vaenb.measure import probes

IMAGES, CLASSES = 26032, 10


def codes(dimensions, apart=0.5):
    """Codes [N, F] around a mean a class, and their labels."""
    g = np.random.default_rng(dimensions)
    labels = g.integers(CLASSES, size=IMAGES)
    means = apart * g.normal(size=(CLASSES, dimensions)) * (32 / dimensions) ** 0.5
    return g.normal(size=(IMAGES, dimensions)) + means[labels], labels


def timed(name, work, aim=""):
    began = time.perf_counter(), time.process_time()
    told = work()
    clock, busy = time.perf_counter() - began[0], time.process_time() - began[1]
    print(f"{name:<40} {clock:7.1f} s   {aim:<11} ({busy:.1f} s of processors; {told})")
    return clock, busy


def probed(dimensions):
    found = probes(*codes(dimensions))
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items())


def main():
    print(f"\nA grid's costs at the paper's size, {os.cpu_count()} cores")
    probes(*(part[:500] for part in codes(32)))  # imports
    each = [timed(f"probes on {n} dimensions", lambda n=n: probed(n)) for n in (32, 512)]
    clock, busy = map(sum, zip(*each, strict=True))
    print(f"{'probes of one cell':<40} {clock:7.1f} s   aim <= 30 s ({busy:.1f} s of processors)")
    drawn = tetrominoes.factors
    timed("all Tetrominoes", lambda: f"{len(tetrominoes.render(drawn()))} images", "aim <= 60 s")


if __name__ == "__main__":
    main()
