"""What a set is once it is in memory: images, labels, splits, and where they came from."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from vaenb.errors import VaenbError

PARTS = ("train", "valid", "test")
KEYS = tuple(f"{part}_{kind}" for part in PARTS for kind in "xy")
WHITE = np.uint8(255)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A named set: images uint8 [N, C, H, W], labels int64 [N] or None.

    ``valid_x`` is None where the set has no validation part. ``note`` says what is special
    (partial, own split, crop) and goes into every record; ``complete`` is true only if every
    image of the original is there. Raises VaenbError when the arrays do not fit together.
    """

    name: str
    train_x: np.ndarray = field(repr=False)
    train_y: np.ndarray | None = field(repr=False)
    valid_x: np.ndarray | None = field(repr=False)
    valid_y: np.ndarray | None = field(repr=False)
    test_x: np.ndarray = field(repr=False)
    test_y: np.ndarray | None = field(repr=False)
    note: str
    complete: bool
    licence: str

    def __post_init__(self):
        shape = None
        for part in PARTS:
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            if x is None:
                if part != "valid" or y is not None:
                    raise VaenbError(f"the set {self.name} has no images in its {part} part")
                continue
            if x.dtype != np.uint8 or x.ndim != 4 or len(x) == 0 or x.shape[1] not in (1, 3):
                raise VaenbError(f"{part}_x of the set {self.name} is {x.dtype} {list(x.shape)}, "
                                 f"and uint8 [N, 1 or 3, H, W] is needed")
            if shape not in (None, x.shape[1:]):
                raise VaenbError(f"{part}_x of the set {self.name} holds images of "
                                 f"{list(x.shape[1:])} and train_x of {list(shape)}")
            shape = x.shape[1:]
            if y is not None and (y.shape != x.shape[:1] or y.dtype != np.int64):
                raise VaenbError(f"{part}_y of the set {self.name} is {y.dtype} {list(y.shape)}, "
                                 f"and int64 [{len(x)}] is needed, one label an image")
            if y is not None and y.min() < 0:
                raise VaenbError(f"{part}_y of the set {self.name} has a label below 0: number "
                                 f"the classes from 0")

    def labelled(self, classes: int) -> "DataSet":
        """The set itself. Raises VaenbError where training or test images have no label, or one
        that is not 0 to ``classes`` - 1."""
        for part, y in (("train", self.train_y), ("test", self.test_y)):
            if y is None or y.max() >= classes:
                told = "has none" if y is None else f"goes up to {y.max()}"
                raise VaenbError(f"labels 0 to {classes - 1} are needed and {part}_y of the set "
                                 f"{self.name} {told}: set VAENB_DATA to a folder that holds a "
                                 f"{self.name}.npz with them")
        return self

    @cached_property
    def sha256(self) -> str:
        """Hash of all arrays (name, type, shape, bytes) in the order of KEYS: hex digits."""
        arrays = ((key, getattr(self, key)) for key in KEYS)
        return hashed((key, a) for key, a in arrays if a is not None)

    def describe(self) -> dict:
        """What a record says of its data: name, sha256, note, complete, size [C, H, W], counts."""
        return {"name": self.name, "sha256": self.sha256, "note": self.note,
                "complete": self.complete, "size": list(self.train_x.shape[1:]),
                "train": len(self.train_x), "test": len(self.test_x)}


def hashed(arrays, head: str = "") -> str:
    """SHA-256 of ``head`` and of pairs (name, array), each as name, type, shape, bytes: hex."""
    total = hashlib.sha256(head.encode())
    for name, a in arrays:
        total.update(f"{name} {a.dtype.str} {list(a.shape)};".encode())
        total.update(raw_bytes(a))
    return total.hexdigest()


def raw_bytes(a: np.ndarray) -> np.ndarray:
    """The bytes of an array in C order, uint8 [n], without a copy where that is possible."""
    return np.ascontiguousarray(a).reshape(-1).view(np.uint8)


def unit(x) -> torch.Tensor:
    """uint8 images (array or tensor, any shape) as float32 in [0, 1]: x / 255.

    Raises VaenbError for another type, since dividing twice goes unnoticed.
    """
    x = torch.as_tensor(x)
    if x.dtype != torch.uint8:
        raise VaenbError(f"unit() takes uint8 images and got {str(x.dtype)[6:]}: "
                         f"they may have been divided by 255 already")
    return x.to(torch.float32).div_(255)


def binarised(x: np.ndarray, seed: int) -> np.ndarray:
    """One fixed Bernoulli draw of grey uint8 images (any shape): uint8 0 or 255, P(255) = x / 255.

    For validation and test images, which are to be the same black and white ones each time
    (He et al. 2019, appendix B.3): put into a DataSet by ``dataclasses.replace``, they make part
    of its hash, and ``unit`` turns them into exact zeros and ones. Training images are drawn
    anew at each step, by the loss with ``hp.rng``. A pure function of (x, seed).
    Raises VaenbError for another type.
    """
    if x.dtype != np.uint8:
        raise VaenbError(f"binarised() takes uint8 images, and got {x.dtype}: give it the images "
                         f"of a DataSet")
    return (np.random.default_rng(seed).integers(255, size=x.shape, dtype=np.uint8) < x) * WHITE


def resize(x: np.ndarray, size: int, chunk: int = 1024) -> np.ndarray:
    """uint8 images [N, C, H, W] as uint8 [N, C, size, size]: bilinear with antialiasing.

    In float64, ties rounded up: the exact values are fractions with small denominators, so
    the result is the same on every machine and the hash of a resized set can be compared.
    Worked in chunks of images to bound memory.
    """
    if x.shape[2:] == (size, size):
        return x
    out = np.empty((*x.shape[:2], size, size), np.uint8)
    for i in range(0, len(x), chunk):
        part = torch.from_numpy(np.ascontiguousarray(x[i:i + chunk])).to(torch.float64)
        part = torch.nn.functional.interpolate(part, (size, size), mode="bilinear", antialias=True)
        out[i:i + chunk] = part.add_(0.5 + 1e-7).floor_().clamp_(0, 255).to(torch.uint8).numpy()
    return out
