"""The Tetrominoes: one coloured J in the dark, with five known factors (Bozkurt et al. 2021).

163840 images, exactly one in each cell of a grid of 16 rotations x 8 hues x 5 scales x 16 x
16 positions, drawn uniformly inside its cell. The table of factors is that of the authors'
public generator, number for number (legacy NumPy seeding, seed 1); the pictures are ours.
Factors and pictures are two steps, so that a caller draws only the images it needs.
"""

import numpy as np

from vaenb.errors import VaenbError

FACTORS = ("rotation", "hue", "scale", "x", "y")
BINS = (16, 8, 5, 16, 16)
RANGES = np.array([[0, 337.5], [0, 0.875], [2, 5], [8, 23], [8, 23]])
COUNT = 163840  # the product of BINS
FINE = 16  # sub-pixels along a side of a pixel
# The corners of the J about the centre of its 2 x 3 box, clockwise on the screen (y down):
# a right column of three units and a bottom row of two.
CORNERS = np.array([[0, -1.5], [1, -1.5], [1, 1.5], [-1, 1.5], [-1, 0.5], [0, 0.5]])


def factors() -> np.ndarray:
    """The table of factors, float64 [163840, 5], one row an image, columns as in ``FACTORS``.

    Rotation in degrees, hue in turns, scale in pixels a unit square, x and y in pixels of a
    32 x 32 image; all within ``RANGES``.
    """
    order = np.indices((8, 16, 5, 16, 16)).reshape(5, -1).T[:, [1, 0, 2, 3, 4]]
    place = (order + np.random.RandomState(1).random_sample(order.shape)) / BINS
    low, high = RANGES.T
    return low + place * (high - low)


def render(factors, size: int = 32, chunk: int = 256) -> np.ndarray:
    """The images of rows of factors [N, 5]: uint8 [N, 3, size, size], black around the J.

    The J is turned about the centre of its box, placed at (x + 0.5, y + 0.5), and drawn on a
    grid 16 times finer: a pixel's coverage is the fraction of its 256 sub-pixel centres that
    lie inside. The colour has that hue, saturation 1 and the coverage as its value. Lengths
    are in pixels of 32 x 32 images and scale by size / 32. What lies outside is cut off: at
    scale 5 up to half a pixel at the borders. The authors' generator draws with OpenCV, whose
    conventions set its pictures off by a few hundredths of a pixel.
    Raises VaenbError for another shape, for values that are no numbers, and for a bad size.
    """
    table = np.asarray(factors, np.float64)
    if table.ndim != 2 or table.shape[1] != len(FACTORS) or not np.isfinite(table).all():
        raise VaenbError(f"render() takes finite factors [N, 5] ({', '.join(FACTORS)}) and got "
                         f"{list(table.shape)}: give it rows of factors()")
    if type(size) is not int or size < 1:
        raise VaenbError(f"size is the side of the images in pixels, a whole number above 0, "
                         f"and not {size!r}")
    out = np.empty((len(table), 3, size, size), np.uint8)
    for i in range(0, len(table), chunk):
        part = table[i:i + chunk]
        light = (255 / FINE**2) * coverage(part, size)[:, None]
        np.add(light * colour(part[:, 1])[:, :, None, None], 0.5, out=out[i:i + chunk],
               casting="unsafe")
    return out


def colour(hue: np.ndarray) -> np.ndarray:
    """Red, green and blue [N, 3] of a hue in turns [N], at saturation and value 1."""
    away = np.abs((6 * hue[:, None] - [0, 2, 4] + 3) % 6 - 3)  # from each primary, in sixths
    return np.clip(2 - away, 0, 1)


def corners(table: np.ndarray) -> np.ndarray:
    """Where the six corners lie, (x, y) in pixels of a 32 x 32 image: [N, 6, 2]."""
    turn = np.deg2rad(table[:, :1])
    across, down = table[:, 2:3] * CORNERS[:, 0], table[:, 2:3] * CORNERS[:, 1]
    x = np.cos(turn) * across + np.sin(turn) * down
    y = np.cos(turn) * down - np.sin(turn) * across
    return np.stack([x, y], axis=2) + table[:, None, 3:] + 0.5


def coverage(table: np.ndarray, size: int) -> np.ndarray:
    """How many of the 256 sub-pixel centres of each pixel the J holds: [N, size, size].

    By scanlines: on each fine row that an edge of the outline crosses, the centres to the left
    of the crossing are counted, with a plus for edges that go down (the J is on their left)
    and a minus for those that go up. A centre on the outline counts if the J is to its right
    or below it.
    """
    end = FINE * size
    start = corners(table).reshape(-1, 6, 2) * (end / 32)
    step = np.roll(start, -1, axis=1) - start
    (x, y), (dx, dy) = start.reshape(-1, 2).T, step.reshape(-1, 2).T
    other = np.roll(start, -1, axis=1)[..., 1].reshape(-1)
    first, last = (np.clip(np.ceil(edge(y, other) - 0.5), 0, end).astype(np.int64)
                   for edge in (np.minimum, np.maximum))
    slope, sign = np.divide(dx, dy, out=np.zeros_like(dx), where=dy != 0), np.sign(dy)

    rows = last - first  # each edge is repeated once a row that it crosses
    row = np.arange(rows.sum()) - np.repeat(rows.cumsum() - rows - first, rows)
    x, slope, sign, image = (np.repeat(a, rows) for a in (
        x + (0.5 - y) * slope, slope, sign, np.arange(len(y)) // 6))
    left = np.clip(np.ceil(x + row * slope - 0.5), 0, end).astype(np.int64)
    pixel = (image * size + row // FINE) * (size + 1) + left // FINE
    shape = len(table), size, size + 1
    whole, rest = (np.bincount(pixel, weight, shape[0] * shape[1] * shape[2]).reshape(shape)
                   for weight in (sign, sign * (left % FINE)))
    beyond = whole[..., ::-1].cumsum(-1)[..., ::-1] - whole  # crossings in pixels to the right
    return (rest + FINE * beyond)[..., :-1]
