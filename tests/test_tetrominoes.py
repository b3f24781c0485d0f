"""The Tetrominoes: the table of the public generator, and pictures counted point by point."""

import hashlib

import numpy as np
import pytest

from vaenb import VaenbError, data
from vaenb.data import readers
from vaenb.data.tetrominoes import (
    BINS,
    COUNT,
    FACTORS,
    RANGES,
    colour,
    corners,
    coverage,
    factors,
    render,
)

TABLE = factors()
SOME = TABLE[::8191]  # 21 rows of all hues and scales


def raster(row, size=32):
    """The sub-pixel centres of each pixel inside the J, each centre turned back and tried."""
    turn, _, scale, x, y = row
    at = (np.arange(16 * size) + 0.5) * 32 / (16 * size)
    x, y = np.meshgrid(at - x - 0.5, at - y - 0.5)
    turn = np.deg2rad(turn)
    u = (np.cos(turn) * x - np.sin(turn) * y) / scale
    v = (np.sin(turn) * x + np.cos(turn) * y) / scale
    inside = (abs(u) < 1) & (abs(v) < 1.5) & ((u > 0) | (v > 0.5))
    return inside.reshape(size, 16, size, 16).sum((1, 3))


# ---- the table ----

def test_the_table_is_the_generators_number_for_number():
    """Its draws are NumPy's legacy uniform numbers of seed 1, hue slowest and y fastest."""
    assert TABLE.shape == (COUNT, 5) and TABLE.dtype == np.float64 and COUNT == np.prod(BINS)
    width = (RANGES[:, 1] - RANGES[:, 0]) / BINS
    first = [0.417022004702574, 0.7203244934421581, 0.00011437481734488664, 0.30233257263183977,
             0.14675589081711304]
    assert np.allclose(TABLE[0], RANGES[:, 0] + width * first, rtol=0, atol=1e-12)
    second = [0.0923385947687978, 0.1862602113776709, 0.34556072704304774, 0.39676747423066994,
              1.538816734003357]
    assert np.allclose(TABLE[1], RANGES[:, 0] + width * second, rtol=0, atol=1e-12)
    half = TABLE[COUNT // 2]  # its hue is the fifth bin's
    assert 0.4375 <= half[1] < 0.4375 + 0.875 / 8 and half[0] < 337.5 / 16


def test_one_image_in_each_stratum():
    cell = ((TABLE - RANGES[:, 0]) / (RANGES[:, 1] - RANGES[:, 0]) * BINS).astype(int)
    assert (np.bincount(np.ravel_multi_index(cell.T, BINS), minlength=COUNT) == 1).all()


def test_the_range_cuts_half_a_pixel():
    found = corners(TABLE)
    assert -0.52 < found.min() < -0.3 and 32.3 < found.max() < 32.52


# ---- the pictures ----

@pytest.mark.parametrize("size", [32, 20, 45])
def test_coverage_is_the_count_of_a_raster_sixteen_times_as_fine(size):
    rows = SOME[:: 1 if size == 32 else 4]
    assert np.array_equal(coverage(rows, size), [raster(row, size) for row in rows])


def test_the_j_upright():
    row = np.array([[0.0, 0, 4, 15.5, 15.5]])  # its box is rows 10 to 21, columns 12 to 19
    want = np.zeros((32, 32))
    want[10:22, 16:20] = 256
    want[18:22, 12:20] = 256
    assert np.array_equal(coverage(row, 32)[0], want)
    image = render(row)[0]
    assert np.array_equal(image[0], want * 255 / 256) and not image[1:].any()  # hue 0 is red


def test_centres_on_the_outline_count_once():
    for shift in (1 / 32, 3 / 32):
        for turn in (0, 90):
            row = np.array([[turn, 0, 4, 15.5 + shift, 15.5 + shift]])
            assert coverage(row, 32).sum() == 4 * 4**2 * 256


def test_area():
    whole = (corners(SOME).min((1, 2)) >= 0) & (corners(SOME).max((1, 2)) <= 32)
    area = coverage(SOME, 32).sum((1, 2)) / 256
    assert whole.sum() > 15
    assert abs(area / (4 * SOME[:, 2] ** 2) - 1)[whole].max() < 5e-3
    dense = coverage(SOME[whole], 128).sum((1, 2)) / 256 / 16
    assert abs(dense / (4 * SOME[whole, 2] ** 2) - 1).max() < 1e-3


def test_a_quarter_turn_a_shift_and_a_larger_picture_of_the_same():
    rows = SOME.copy()
    rows[:, 3:] = 15.5
    seen = coverage(rows, 32)
    rows[:, 0] += 90
    assert np.array_equal(coverage(rows, 32), np.rot90(seen, axes=(1, 2)))
    rows[:, 3:] += 2, -3
    rows[:, 0] -= 90
    assert np.array_equal(coverage(rows, 32), np.roll(seen, (-3, 2), (1, 2)))
    rows[:, 2], rows[:, 3:] = rows[:, 2] / 2, 5.25  # twice as many pixels across: centre 11.5
    double = coverage(rows, 64)
    rows[:, 2], rows[:, 3:] = rows[:, 2] * 2, 11
    assert np.array_equal(double[:, :32, :32], coverage(rows, 32))
    assert double[:, 32:].sum() == double[:, :, 32:].sum() == 0


def test_what_is_outside_is_cut_off_and_nothing_else():
    rows = SOME[:8].copy()
    rows[:, 3:] = 15.5
    seen = coverage(rows, 32)
    rows[:, 3] -= 20
    rows[:, 4] += 18
    want = np.zeros_like(seen)
    want[:, 18:, :12] = seen[:, :14, 20:]
    assert want.any() and np.array_equal(coverage(rows, 32), want)
    rows[:, 3] = -40
    assert not coverage(rows, 32).any()


def test_colour_is_hue_at_full_saturation():
    hue = np.array([0, 1 / 12, 1 / 6, 1 / 3, 0.5, 2 / 3, 5 / 6, 1])
    want = [[1, 0, 0], [1, 0.5, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1],
            [1, 0, 0]]
    assert np.allclose(colour(hue), want, atol=1e-15)
    found = colour(TABLE[::97, 1])
    assert np.array_equal(found.max(1), np.ones(len(found))) and not found.min(1).any()


def test_a_third_of_a_turn_of_hue_permutes_the_channels():
    rows = SOME.copy()
    rows[:, 1] = np.linspace(0, 0.6, len(rows))
    image = render(rows).astype(int)
    rows[:, 1] += 1 / 3
    assert abs(render(rows) - np.roll(image, 1, axis=1)).max() <= 1  # to a rounding
    assert image.max() == 255


def test_pixels_are_coverage_times_colour_rounded():
    exact = 255 / 256 * coverage(SOME, 32)[:, None] * colour(SOME[:, 1])[:, :, None, None]
    image = render(SOME)
    assert image.dtype == np.uint8 and image.shape == (len(SOME), 3, 32, 32)
    assert abs(image - exact).max() <= 0.5 + 1e-9
    assert np.array_equal(image, render(SOME, chunk=4)) and render(SOME[:0]).shape[0] == 0
    assert render(SOME[:1], size=64).shape == (1, 3, 64, 64)


def test_the_same_pictures_everywhere():
    digest = hashlib.sha256(render(SOME).tobytes()).hexdigest()
    assert digest == "d48fd16fc58c6574d64deff4e1a26d9d28553ba1a09bca0e154a17e78f0aeaf0"


# ---- by name ----

def test_the_set_by_name_is_drawn_in_halves(monkeypatch, tmp_path):
    monkeypatch.setenv("VAENB_DATA", str(tmp_path))
    drawn = []
    monkeypatch.setattr(readers.tetrominoes, "render", lambda table: drawn.append(table)
                        or np.tile(np.arange(3, dtype=np.uint8)[:, None, None],
                                   (len(table), 1, 2, 1)))
    got = data.load("tetrominoes")
    assert got.train_x.shape == got.test_x.shape == (COUNT // 2, 3, 2, 1) and got.complete
    assert got.train_x[0, :, 0, 0].tolist() == [0, 1, 2]
    assert got.train_y is got.valid_x is got.test_y is None and "seed 1" in got.note
    halves = data.splits.default(COUNT, 1)
    assert all(np.array_equal(a, TABLE[b]) for a, b in zip(drawn, halves, strict=True))
    state = {s["name"]: s for s in data.status()}["tetrominoes"]
    assert (state["state"], state["images"]) == ("embedded", "81920 + 81920")
    assert len(drawn) == 2 and not list(tmp_path.iterdir())  # a listing draws nothing


# ---- bad input ----

def test_bad_input_is_one_sentence():
    for bad in (TABLE[0], TABLE[:3, :4], np.full((1, 5), np.nan)):
        with pytest.raises(VaenbError, match=r"factors \[N, 5\] \(rotation, hue, scale, x, y\)"):
            render(bad)
    for size in (0, 2.5, True):
        with pytest.raises(VaenbError, match="whole number above 0, and not"):
            render(SOME, size=size)
    assert len(FACTORS) == len(RANGES) == len(BINS)
