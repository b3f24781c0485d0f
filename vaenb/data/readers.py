"""Readers of the original formats: each turns the canonical files of a set into plain arrays.

A reader takes {file name: path} and returns {train_x, train_y, valid_x, ..., test_y} (some
missing): images uint8 [N, H, W] or [N, H, W, C], labels uint8 [N]. Archives are read in
memory and never unpacked to disk, and nothing is unpickled. A file that does not hold what
its format promises raises ValueError (or what the format's own library raises).
"""

import gzip
import io
import tarfile
import zipfile

import numpy as np

from vaenb.data import splits, tetrominoes
from vaenb.data.dataset import PARTS, resize

AT_ONCE = 512  # images that are resized together
HELD = 2000  # OMNIGLOT's validation images


def idx(path) -> np.ndarray:
    """A gzipped idx file of bytes (MNIST's format): uint8 of the shape its header gives."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of bytes")
    start = 4 + 4 * raw[3]
    shape = np.frombuffer(raw[4:start], ">u4").astype(int)
    if len(raw) != start + shape.prod():
        raise ValueError(f"{len(raw) - start} bytes for a shape of {shape.tolist()}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()


def mnist(files) -> dict:
    """The four idx files of MNIST or Fashion-MNIST."""
    images, labels = "{}-images-idx3-ubyte.gz", "{}-labels-idx1-ubyte.gz"
    return {f"{part}_{kind}": idx(files[name.format(stem)])
            for part, stem in (("train", "train"), ("test", "t10k"))
            for kind, name in (("x", images), ("y", labels))}


def cifar10(files) -> dict:
    """CIFAR-10, binary version: records of a label and 3 x 32 x 32 bytes, in planes."""
    def batch(tar, name):
        raw = tar.extractfile(f"cifar-10-batches-bin/{name}.bin").read()
        rows = np.frombuffer(raw, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
        return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]

    with tarfile.open(files["cifar-10-binary.tar.gz"], "r:gz") as tar:
        parts = [batch(tar, f"data_batch_{i}") for i in range(1, 6)]
        test_x, test_y = batch(tar, "test_batch")
    return {"train_x": np.concatenate([x for x, _ in parts]), "test_x": test_x,
            "train_y": np.concatenate([y for _, y in parts]), "test_y": test_y}


def svhn(files) -> dict:
    """SVHN, cropped digits: X is [32, 32, 3, N], y is [N, 1] with the digit 0 written as 10."""
    from scipy.io import loadmat

    arrays = {}
    for part in ("train", "test"):
        mat = loadmat(files[f"{part}_32x32.mat"], variable_names=("X", "y"))
        arrays[f"{part}_x"] = mat["X"].transpose(3, 0, 1, 2)
        arrays[f"{part}_y"] = (mat["y"].reshape(-1) % 10).astype(np.uint8)
    return arrays


def freyface(files) -> dict:
    """Frey Face: ff is [560, 1965], a column a frame of 28 x 20; no labels, no official split.

    Ours: the first 1565 frames train, the last 400 test, so that test frames are not the
    video neighbours of training frames (but for the border). VAE papers often shuffle first.
    """
    from scipy.io import loadmat

    x = loadmat(files["frey_rawface.mat"], variable_names=("ff",))["ff"].T.reshape(-1, 28, 20)
    return {"train_x": x[:-400], "test_x": x[-400:]}


def celeba(files) -> dict:
    """CelebA, aligned: centre crops of 140 x 140 pixels, at 32 x 32 and at 28 x 28; no labels.

    In the aligned pictures (178 x 218, eyes at the same place in all) the crop is rows 39 to
    178 and columns 19 to 158: forehead to chin with little background, and 140 = 5 x 28.
    Both sizes are made from the crop itself (keys train_x and train_x_28), since a 28 x 28
    picture made from the 32 x 32 one would be blurred twice. Splits as in the partition
    file. About ten minutes on one core.
    """
    from PIL import Image

    rows = [line.split() for line in files["list_eval_partition.txt"].read_text().splitlines()]
    arrays = {}
    with zipfile.ZipFile(files["img_align_celeba.zip"]) as archive:
        def face(name):
            with Image.open(io.BytesIO(archive.read(f"img_align_celeba/{name}"))) as image:
                x, y = (image.width - 140) // 2, (image.height - 140) // 2
                return np.asarray(image.convert("RGB").crop((x, y, x + 140, y + 140)))

        for code, part in enumerate(PARTS):
            names = [row[0] for row in rows if row and row[1] == str(code)]
            big = np.empty((len(names), 3, 32, 32), np.uint8)
            small = np.empty((len(names), 3, 28, 28), np.uint8)
            for i in range(0, len(names), AT_ONCE):
                faces = np.stack([face(name) for name in names[i:i + AT_ONCE]])
                faces = faces.transpose(0, 3, 1, 2)
                big[i:i + AT_ONCE], small[i:i + AT_ONCE] = resize(faces, 32), resize(faces, 28)
            arrays[f"{part}_x"] = big.transpose(0, 2, 3, 1)
            arrays[f"{part}_x_28"] = small.transpose(0, 2, 3, 1)
    return arrays


def matrix(path) -> np.ndarray:
    """A gzipped matrix of bytes or of integers in smallNORB's format: uint8 or int32.

    Little-endian: a magic number, the number of dimensions, their sizes (three at least, the
    unused ones meaning nothing), the values.
    """
    raw = gzip.decompress(path.read_bytes())
    kind = {0x1E3D4C55: "u1", 0x1E3D4C54: "<i4"}.get(int.from_bytes(raw[:4], "little"))
    if kind is None:
        raise ValueError("not a matrix of bytes or integers")
    ndim = int.from_bytes(raw[4:8], "little")
    shape = np.frombuffer(raw[8:8 + 4 * ndim], "<i4")
    return np.frombuffer(raw, kind, offset=8 + 4 * max(ndim, 3)).reshape(shape)


def smallnorb(files) -> dict:
    """smallNORB: dat is [24300, 2, 96, 96], of which the left camera's image is taken.

    Labels: animal, human, plane, truck, car. The test toys are others than the training toys.
    """
    arrays = {}
    for part, stem in (("train", "smallnorb-5x46789x9x18x6x2x96x96-training"),
                       ("test", "smallnorb-5x01235x9x18x6x2x96x96-testing")):
        arrays[f"{part}_x"] = matrix(files[f"{stem}-dat.mat.gz"])[:, 0].copy()
        arrays[f"{part}_y"] = matrix(files[f"{stem}-cat.mat.gz"]).astype(np.uint8)
    return arrays


def shapes3d(files) -> dict:
    """3D Shapes, resized from 64 x 64 to 32 x 32, since all of it would be 5.9 GB.

    Labels: the shape of the object, 0 to 3. No official split; ours: random halves, seed 1.
    About four minutes on one core, and 3 GB of memory.
    """
    import h5py

    with h5py.File(files["3dshapes.h5"], "r") as file:
        images, y = file["images"], file["labels"][:, 4].astype(np.uint8)
        x = np.empty((len(images), 3, 32, 32), np.uint8)
        for i in range(0, len(x), AT_ONCE):
            x[i:i + AT_ONCE] = resize(images[i:i + AT_ONCE].transpose(0, 3, 1, 2), 32)
    train, test = splits.default(len(x), seed=1)
    return {"train_x": x[train].transpose(0, 2, 3, 1), "train_y": y[train],
            "test_x": x[test].transpose(0, 2, 3, 1), "test_y": y[test]}


def omniglot(files) -> dict:
    """OMNIGLOT at 28 x 28 as Burda et al. (2015) made it, grey, ink 1: a column an image.

    data [784, 24345] and testdata [784, 8070] hold values from 0 to 1, columns of pixels first,
    rounded here to 255ths; target [50, N] tells the alphabet, which is the label. Validation
    images are cut from the training part at random (seed 1), 2000 as in He et al. (2019), whose
    own cut was not seeded.
    """
    from scipy.io import loadmat

    mat, arrays = loadmat(files["chardata.mat"]), {}
    for part, stem in (("train", ""), ("test", "test")):
        grey = mat[f"{stem}data"]
        if not (grey.min() >= 0 and grey.max() <= 1):
            raise ValueError(f"{stem}data is not within 0 and 1")
        x = np.rint(255 * grey.T).astype(np.uint8).reshape(-1, 28, 28)
        arrays[f"{part}_x"] = x.transpose(0, 2, 1)
        arrays[f"{part}_y"] = mat[f"{stem}target"].argmax(0).astype(np.uint8)
    x, y = arrays["train_x"], arrays["train_y"]
    train, held = splits.constant_volume(len(x), len(x) - HELD, seed=1)
    return arrays | {"train_x": x[train], "train_y": y[train],
                     "valid_x": x[held], "valid_y": y[held]}


def lines(files, name: str) -> dict:
    """A text of He et al. (2019): NAME.train.txt, NAME.valid.txt and NAME.test.txt in a tar.

    Returns {part: bytes}. The place of the files within the tar is not looked at.
    """
    path, found = files["datasets.tar.gz"], {}
    if not tarfile.is_tarfile(path):
        raise ValueError("it is no tar file, and may be a page that asks something: fetch it "
                         "with a browser")
    with tarfile.open(path) as tar:
        for member in tar:
            stem, _, part = member.name.removesuffix(".txt").rpartition("/")[2].partition(".")
            if stem == name and part in PARTS and member.isfile():
                found[part] = tar.extractfile(member).read()
    if lost := [part for part in PARTS if part not in found]:
        raise ValueError(f"it holds no {name}.{lost[0]}.txt")
    return found


def digits(files) -> dict:
    """scikit-learn's handwritten digits, 8 x 8 with values 0 to 16 spread over 0 to 255.

    In their order: the first 1500 train, the last 297 test.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    x = np.rint(found.images * (255 / 16)).astype(np.uint8)
    y = found.target.astype(np.uint8)
    return {"train_x": x[:1500], "train_y": y[:1500], "test_x": x[1500:], "test_y": y[1500:]}


def tetromino(files) -> dict:
    """The Tetrominoes at 32 x 32, random halves (seed 1) of all 163840; no labels."""
    table = tetrominoes.factors()
    return {f"{part}_x": tetrominoes.render(table[rows]).transpose(0, 2, 3, 1)
            for part, rows in zip(("train", "test"), splits.default(len(table), seed=1),
                                  strict=True)}
