"""The splits, by the properties that define them, on the real table of the Tetrominoes."""

import numpy as np
import pytest

from vaenb import VaenbError
from vaenb.data.splits import checkerboard, constant_density, constant_volume, crop, default
from vaenb.data.tetrominoes import COUNT, RANGES, factors

TABLE = factors()
PLACE = (TABLE - RANGES[:, 0]) / (RANGES[:, 1] - RANGES[:, 0])  # in [0, 1]
EIGHT = range(1, 9)


def disjoint(train, test, total=None):
    """Ascending int64 rows, none in both; of all of them if ``total`` is given."""
    for part in (train, test):
        assert part.dtype == np.int64 and (np.diff(part) > 0).all()
    both = np.bincount(np.concatenate([train, test]), minlength=COUNT)
    assert both.max() == 1 and total in (None, both.sum())


def test_default_is_random_halves():
    train, test = default(COUNT, seed=3)
    disjoint(train, test, COUNT)
    assert len(train) == len(test) == 81920
    assert np.array_equal(default(COUNT, seed=3)[0], train)
    shared = np.intersect1d(default(COUNT, seed=4)[0], train)
    assert abs(len(shared) - 40960) < 500  # 5 standard deviations
    assert abs(np.bincount(train // 1024, minlength=160) - 512).max() < 80
    assert [len(part) for part in default(7, seed=0)] == [3, 4]


@pytest.mark.parametrize("k", EIGHT)
def test_constant_volume_has_fewer_images_and_the_same_volume(k):
    train, test = constant_volume(COUNT, 8192 * k, seed=0)
    disjoint(train, test, COUNT)
    assert len(train) == 8192 * k
    reach = np.quantile(PLACE[train], [0.01, 0.99], axis=0)
    assert abs(reach - [[0.01], [0.99]]).max() < 0.01
    assert set(train) < set(constant_volume(COUNT, 8192 * (k + 1), seed=0)[0])


def test_half_of_constant_volume_is_the_default():
    for one, other in zip(constant_volume(COUNT, 81920, 5), default(COUNT, 5), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("k", EIGHT)
def test_constant_density_has_fewer_images_as_dense_as_before(k):
    fraction = k / 10
    train, test = constant_density(TABLE, RANGES, fraction, seed=0)
    disjoint(train, test)
    whole = default(COUNT, seed=0)
    assert np.isin(train, whole[0]).all() and np.isin(test, whole[1]).all()
    for part in (train, test):
        assert abs(len(part) / (8192 * k) - 1) < 0.03 / k**0.5
        assert abs(PLACE[part] - 0.5).max() <= fraction**0.2 / 2
        volume = np.prod(PLACE[part].max(0) - PLACE[part].min(0))
        assert abs(volume / fraction - 1) < 0.01
        assert abs(PLACE[part].mean(0) - 0.5).max() < 0.015  # about the centre of each range
    held = sum(len(part) for part in (train, test))
    assert held == len(crop(TABLE, RANGES, fraction)[0])


def test_sizes_are_near_the_fact_sheets():
    sizes = [[len(part) for part in constant_density(TABLE, RANGES, r, seed=0)]
             for r in (0.1, 0.2)]
    assert np.allclose(sizes, [[8156, 8152], [16315, 16463]], rtol=0.03)
    assert [len(crop(TABLE, RANGES, r)[0]) for r in (0.1, 0.2)] == [16434, 32691]
    assert [len(part) for part in checkerboard(TABLE, RANGES)] == [82021, 81819]


def test_crop_by_hand():
    place = np.array([[0.0, 10], [5, 15], [2.4, 15], [2.6, 15], [5, 17.4], [7.4, 12.6], [10, 20]])
    inside, ranges = crop(place, [[0, 10], [10, 20]], 0.25)
    assert inside.tolist() == [1, 3, 4, 5] and inside.dtype == np.int64
    assert ranges.tolist() == [[2.5, 7.5], [12.5, 17.5]]
    again, same = crop(place, [[0, 10], [10, 20]], 1)
    assert again.tolist() == list(range(7)) and same.tolist() == [[0, 10], [10, 20]]
    assert crop(place[:, :1], [[0, 10]], 0.5)[1].tolist() == [[2.5, 7.5]]


def test_a_crop_of_a_crop_is_the_crop_of_the_product():
    first, ranges = crop(TABLE, RANGES, 0.4)
    second, inner = crop(TABLE[first], ranges, 0.5)
    once, direct = crop(TABLE, RANGES, 0.2)
    assert np.allclose(inner, direct, rtol=1e-12) and np.array_equal(first[second], once)


def test_the_checkerboard_by_hand():
    place = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9], [0.5, 0.4], [1, 1]])
    train, test = checkerboard(place, [[0, 1], [0, 1]])
    assert train.tolist() == [0, 3, 5] and test.tolist() == [1, 2, 4]


def test_each_test_cell_has_a_training_cell_along_every_factor():
    train, test = checkerboard(TABLE, RANGES)
    disjoint(train, test, COUNT)
    cell = (PLACE >= 0.5) @ (1 << np.arange(5))
    full, empty = np.unique(cell[train]), np.unique(cell[test])
    assert len(full) == len(empty) == 16 and not np.intersect1d(full, empty).size
    for k in range(5):
        assert np.isin(empty ^ (1 << k), full).all()


def test_the_checkerboard_keeps_each_factor_uniform():
    for part in checkerboard(TABLE, RANGES):
        for k in range(5):
            held = np.bincount((PLACE[part, k] * 10).astype(int), minlength=10)
            assert abs(held / COUNT * 20 - 1).max() < 0.04
        both = np.corrcoef(PLACE[part].T) - np.eye(5)
        assert abs(both).max() < 0.02  # no pair of factors tells train from test either


def test_bad_input_is_one_sentence():
    for train in (0, 10, 11):
        with pytest.raises(VaenbError, match=f"^{train} training images cannot be split from 10 "
                                             f"with some left for the test: choose 1 to 9$"):
            constant_volume(10, train, 0)
    with pytest.raises(VaenbError, match="0 training images cannot be split from 1 "):
        default(1, 0)
    for fraction in (0, -0.1, 1.01, float("nan")):
        with pytest.raises(VaenbError, match=f"above 0 and at most 1, and not {fraction}"):
            constant_density(TABLE, RANGES, fraction, 0)
    for call in (checkerboard, lambda f, r: crop(f, r, 0.5)):
        with pytest.raises(VaenbError, match="factor 3 has values outside its range 9 to 23: "
                                             "give the ranges that"):
            call(TABLE, RANGES + [[0, 0], [0, 0], [0, 0], [1, 0], [0, 0]])
        with pytest.raises(VaenbError, match=r"\[163840, 5\] and ranges \[4, 2\] do not fit"):
            call(TABLE, RANGES[:4])
        with pytest.raises(VaenbError, match="factor 0 has values outside"):
            call(np.full((2, 5), np.nan), RANGES)


def test_a_density_splits_halves_are_those_of_its_seed():
    for half, part in zip(default(COUNT, 4), constant_density(TABLE, RANGES, 0.5, 4), strict=True):
        assert np.isin(part, half).all()
