"""Training: `fit` for one setting or a sweep, its random numbers and its checkpoints."""

from vaenb.train.loop import OutOfTime, Runs, device, fit, half_cosine, in_time
from vaenb.train.parts import NotFinite, Parts, Saved
from vaenb.train.rng import Rng, key

__all__ = ["NotFinite", "OutOfTime", "Parts", "Rng", "Runs", "Saved"]
__all__ += ["device", "fit", "grid", "half_cosine", "in_time", "key"]
