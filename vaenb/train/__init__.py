"""Training: `fit` for one setting or a sweep, its random numbers and its checkpoints."""

from vaenb.errors import OutOfTime
from vaenb.train.loop import Runs, device, fit, half_cosine, in_time
from vaenb.train.parts import NotFinite, Parts, Saved
from vaenb.train.rng import Rng, key
from vaenb.train.together import is_out_of_memory
