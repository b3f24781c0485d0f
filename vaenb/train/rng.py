"""Counter-based random numbers: a draw is a pure function of (seed, purpose, step, call, index).

There is no generator state. A run's path therefore does not depend on what else is drawn, on the
place of a member in a sweep, or on how often the run was interrupted, and a checkpoint holds no
random state. The integers are the same on every device; the floats agree to rounding.
"""

import math

import torch

# The increment and the two multipliers of splitmix64 (Steele, Lea & Flood 2014), as signed 64-bit.
_GOLD, _M1, _M2 = -7046029254386353131, -4658895280553007687, -7723592293110705685
_PURPOSES = {"noise": 1, "order": 2, "evaluation": 3, "samples": 4}


def _mix(x):
    """splitmix64's finaliser on int64 (wraps around): a bijection that scatters neighbours."""
    x = _wrapped((x ^ (x >> 30 & (1 << 34) - 1)) * _M1)
    x = _wrapped((x ^ (x >> 27 & (1 << 37) - 1)) * _M2)
    return x ^ (x >> 31 & (1 << 33) - 1)


def _wrapped(x):
    """A Python integer as int64 holds it; tensors wrap by themselves."""
    return x if isinstance(x, torch.Tensor) else (x + 2**63) % 2**64 - 2**63


def key(seed, purpose: str, step, device=None) -> torch.Tensor:
    """The 64-bit key of one step of one purpose ("noise", "order", "evaluation", "samples").

    ``seed`` and ``step`` are integers or int64 tensors (any shape that broadcasts).
    """
    seed, step = (v.to(device=device, dtype=torch.int64) if isinstance(v, torch.Tensor) else v
                  for v in (seed, step))
    found = _word(seed, purpose, step)
    if isinstance(found, torch.Tensor):
        return found
    return torch.full((), found, dtype=torch.int64, device=device)  # a copy would wait for a GPU


def _word(seed, purpose, step):
    inner = _wrapped(_mix(_wrapped(seed + _GOLD)) + _PURPOSES[purpose])
    return _mix(_wrapped(_mix(inner) + step))


class Rng:
    """Random numbers from one key; the n-th call on equal keys always gives the same numbers.

    Uniforms have 23 bits (in half precision as many as it holds) and are never 0 or 1; normals
    (Box-Muller) end at 5.8 standard deviations. ``key`` is one of `key`'s, or the integer in it
    with the ``device`` to draw on: of a tensor nothing is ever read back, and of an integer
    nothing but the draws is computed there.
    """

    def __init__(self, key: torch.Tensor | int, device="cpu"):
        self.key, self.calls = key, 0
        self.device = key.device if isinstance(key, torch.Tensor) else device

    @classmethod
    def of(cls, seed: int, purpose: str = "noise", step: int = 0, device="cpu") -> "Rng":
        """The stream of ``seed`` for ``purpose`` at ``step``."""
        return cls(_word(int(seed), purpose, int(step)), device)

    def bits(self, *shape: int) -> torch.Tensor:
        """64 random bits for each entry of ``shape``, int64."""
        self.calls += 1
        index = torch.arange(math.prod(shape), device=self.device)
        return _mix((index ^ _mix(_wrapped(self.key + self.calls))) * _GOLD).view(shape)

    def uniform(self, *shape: int, dtype=None) -> torch.Tensor:
        """Uniform on (0, 1)."""
        return _unit(self.bits(*shape) >> 41, dtype or torch.get_default_dtype())

    def normal(self, *shape: int, dtype=None) -> torch.Tensor:
        """Standard normal; both uniforms of Box-Muller come from one 64-bit word."""
        bits, dtype = self.bits(*shape), dtype or torch.get_default_dtype()
        wide = torch.promote_types(dtype, torch.float32)
        radius, angle = _unit(bits >> 41, wide), _unit(bits >> 9, wide)
        return ((-2 * radius.log()).sqrt() * (2 * math.pi * angle).cos()).to(dtype)

    def normal_like(self, x: torch.Tensor) -> torch.Tensor:
        """Standard normal in the shape and type of ``x``."""
        return self.normal(*x.shape, dtype=x.dtype)

    def bernoulli(self, p: torch.Tensor) -> torch.Tensor:
        """0 or 1 in the shape and type of the probabilities ``p``."""
        wide = torch.promote_types(p.dtype, torch.float32)
        return (self.uniform(*p.shape, dtype=wide) < p).to(p.dtype)


def _unit(bits, dtype):
    held = min(23, round(-math.log2(torch.finfo(dtype).eps)))  # bits that the type tells apart
    return ((bits & 2**held - 1).to(dtype) + 0.5) / 2**held
