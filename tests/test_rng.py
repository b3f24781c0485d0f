"""The random numbers: splitmix64 as published, and draws that depend on nothing but their key."""

import math

import pytest
import torch

from vaenb.train import Rng, key
from vaenb.train.rng import _PURPOSES, _mix

WORD = 2**64 - 1
GOLD = 0x9E3779B97F4A7C15


def finaliser(z: int) -> int:
    """splitmix64's output function on Python's whole numbers, with unsigned shifts."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & WORD
    return z ^ (z >> 31)


def signed(z: int) -> int:
    z &= WORD
    return z - 2**64 if z >> 63 else z


def test_the_finaliser_is_splitmix64s():
    words = [0, 1, 2, 2**31, 2**63 - 1, 2**63, WORD, GOLD, *(finaliser(i) for i in range(2000))]
    found = _mix(torch.tensor([signed(w) for w in words]))
    assert found.tolist() == [signed(finaliser(w)) for w in words]


def test_the_first_outputs_of_splitmix64_with_seed_zero():
    # the sequence that every implementation of splitmix64 starts with for seed 0
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    states = torch.tensor([signed(i * GOLD) for i in (1, 2, 3)])
    assert _mix(states).tolist() == [signed(w) for w in published]


@pytest.mark.parametrize("seed", [0, 1, -7, 2**40])
@pytest.mark.parametrize("purpose", list(_PURPOSES))
def test_keys_and_bits_by_whole_number_arithmetic(seed, purpose):
    step, place = 123456, _PURPOSES[purpose]
    k = finaliser(finaliser(finaliser(seed + GOLD & WORD) + place & WORD) + step & WORD)
    assert key(seed, purpose, step).item() == signed(k)
    rng = Rng.of(seed, purpose, step)
    for call in (1, 2):
        inner = finaliser(k + call & WORD)
        expected = [signed(finaliser((i ^ inner) * GOLD & WORD)) for i in range(6)]
        assert rng.bits(2, 3).flatten().tolist() == expected


def test_uniforms_and_normals_are_the_bits_by_box_muller():
    bits = [b & WORD for b in Rng.of(5).bits(500).tolist()]
    high, low = ([((b >> s) & 0x7FFFFF) + 0.5 for b in bits] for s in (41, 9))
    u = Rng.of(5).uniform(500, dtype=torch.float64)
    assert u.tolist() == [h / 2**23 for h in high]
    z = Rng.of(5).normal(500, dtype=torch.float64)
    polar = [
        math.sqrt(-2 * math.log(h / 2**23)) * math.cos(2 * math.pi * w / 2**23)
        for h, w in zip(high, low, strict=True)
    ]
    assert torch.allclose(z, torch.tensor(polar, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert Rng.of(5).uniform(500).tolist() == u.tolist()  # float32 holds all of them exactly
    assert torch.allclose(Rng.of(5).normal(500).double(), z, atol=2e-6)


def test_a_key_is_the_same_as_a_number_and_as_a_tensor():
    for seed, step in ((0, 0), (-7, 3), (2**62, 2**63 - 1)):
        known, held = Rng.of(seed, "noise", step), Rng(key(torch.tensor(seed), "noise", step))
        assert isinstance(known.key, int) and known.key == held.key.item()
        assert known.bits(50).tolist() == held.bits(50).tolist()
        assert known.bits(50).tolist() == held.bits(50).tolist()  # the second call too


def test_keys_broadcast_over_seeds_and_steps():
    seeds, steps = torch.arange(3)[:, None], torch.arange(4)
    table = key(seeds, "noise", steps)
    assert table.shape == (3, 4)
    assert all(table[s, t] == key(s, "noise", t) for s in range(3) for t in range(4))


def test_keys_do_not_collide():
    seeds, steps = torch.arange(200)[:, None], torch.arange(500)
    keys = torch.cat([key(seeds, p, steps).flatten() for p in _PURPOSES])
    assert keys.unique().numel() == keys.numel() == 4 * 200 * 500


N = 400_000


def test_moments_of_the_uniform():
    u = Rng.of(11).uniform(N, dtype=torch.float64)
    for power in (1, 2, 3, 4):
        sd = math.sqrt(1 / (2 * power + 1) - 1 / (power + 1) ** 2)
        assert abs(u.pow(power).mean() - 1 / (power + 1)) < 4.5 * sd / math.sqrt(N)
    counts = torch.histc(u.float(), 100, 0, 1)
    chi2 = ((counts - N / 100) ** 2 / (N / 100)).sum()  # 99 degrees of freedom
    assert 99 - 4.5 * math.sqrt(198) < chi2 < 99 + 4.5 * math.sqrt(198)


def test_moments_of_the_normal():
    z = Rng.of(12).normal(N, dtype=torch.float64)
    central = {1: 0, 2: 1, 3: 0, 4: 3, 6: 15, 8: 105, 12: 10395}
    for power in (1, 2, 3, 4, 6):
        sd = math.sqrt(central[2 * power] - central[power] ** 2)
        assert abs(z.pow(power).mean() - central[power]) < 4.5 * sd / math.sqrt(N)
    assert z.abs().max() < 5.8
    from scipy import stats

    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(Rng.of(12).normal(N).numpy(), "norm").pvalue > 1e-3


STREAMS = {
    "seed": (dict(seed=1), dict(seed=2)),
    "purpose": (dict(purpose="noise"), dict(purpose="evaluation")),
    "step": (dict(step=10), dict(step=11)),
    "seed and step exchanged": (dict(seed=3, step=4), dict(seed=4, step=3)),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("lag", [0, 1])
def test_streams_are_uncorrelated(name, lag):
    a, b = (Rng.of(**{"seed": 0, **s}).normal(N, dtype=torch.float64) for s in STREAMS[name])
    assert not torch.equal(a, b)
    correlation = (a[lag:] * b[: N - lag]).mean()
    assert abs(correlation) < 4.5 / math.sqrt(N)
    assert abs((a[lag:] ** 2 * b[: N - lag] ** 2).mean() - 1) < 4.5 * math.sqrt(8 / N)


def test_calls_are_independent_and_counted():
    rng = Rng.of(4)
    a, b = rng.normal(N, dtype=torch.float64), rng.normal(N, dtype=torch.float64)
    assert abs((a * b).mean()) < 4.5 / math.sqrt(N)
    assert abs((a[1:] * a[:-1]).mean()) < 4.5 / math.sqrt(N)
    again = Rng.of(4)
    again.bits(3)  # the first call, whatever its shape, does not move the second
    assert torch.equal(again.normal(N, dtype=torch.float64), b)


def test_shapes_and_types():
    rng = Rng.of(0)
    assert rng.normal(2, 3).shape == (2, 3) and rng.normal().shape == ()
    assert torch.equal(Rng.of(0).normal(2, 3).flatten(), Rng.of(0).normal(6))
    like = rng.normal_like(torch.zeros(4, 5, dtype=torch.float64))
    assert like.shape == (4, 5) and like.dtype == torch.float64
    assert rng.uniform(2).dtype == torch.get_default_dtype()


def test_the_uniform_is_never_zero_or_one():
    class Ends(Rng):
        def bits(self, *shape):
            return torch.tensor([0, -1, 2**63 - 1, -(2**63)])  # every word's extremes

    for dtype in (torch.float32, torch.float64):
        u = Ends(torch.tensor(0)).uniform(4, dtype=dtype)
        assert u.min() == 0.5 / 2**23 and u.max() == 1 - 0.5 / 2**23 and u.max() < 1
        z = Ends(torch.tensor(0)).normal(4, dtype=dtype)
        assert z.isfinite().all() and 5.7 < z.abs().max() < 5.8


def test_bernoulli():
    p = torch.tensor([0.0, 1.0, 0.3], dtype=torch.float64).repeat(100_000, 1)
    drawn = Rng.of(9).bernoulli(p)
    assert drawn.dtype == p.dtype and set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn[:, 0].sum() == 0 and drawn[:, 1].min() == 1
    assert abs(drawn[:, 2].mean() - 0.3) < 4.5 * math.sqrt(0.21 / 100_000)


def test_torchs_own_generator_neither_matters_nor_moves():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a = Rng.of(3).normal(50)
    Rng.of(3).bernoulli(torch.full((5,), 0.5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(Rng.of(3).normal(50), a)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_draws_are_finite_and_never_0_or_1(dtype):
    rng = Rng.of(3)
    u, n = rng.uniform(40_000, dtype=dtype), rng.normal(40_000, dtype=dtype)
    assert u.dtype == n.dtype == dtype and u.min() > 0 and u.max() < 1
    assert n.isfinite().all() and abs(n.float().std() - 1) < 0.02
    assert abs(u.float().mean() - 0.5) < 0.01
    p = torch.full((40_000,), 0.3, dtype=dtype)
    assert abs(rng.bernoulli(p).float().mean() - 0.3) < 0.01
    full = Rng.of(3)
    full.uniform(40_000)
    assert torch.equal(n, full.normal(40_000).to(dtype))  # float32's own, rounded
