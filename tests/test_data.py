"""The data room: readers on tiny files in the real formats, through the real download path."""

import dataclasses
import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import socket
import sys
import tarfile
import threading
import zipfile
from fractions import Fraction

import numpy as np
import pooch
import pytest
import torch

from vaenb import VaenbError, data
from vaenb.data import readers, store
from vaenb.data.sources import SOURCES


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty data folder for every test."""
    monkeypatch.setenv("VAENB_DATA", str(tmp_path / "sets"))
    return tmp_path / "sets"


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Let a set's canonical home be a server on this machine that holds the given bytes."""
    monkeypatch.setenv("NO_PROXY", "*")
    root = tmp_path / "www"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        asked = []

        def __init__(self, *args):
            super().__init__(*args, directory=root)

        def log_message(self, form, *args):
            self.asked.append(args[0])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def start(name, files, counts, hashed=True):
        for file, raw in files.items():
            (root / file).write_bytes(raw)
        known = tuple((f, hashlib.sha256(raw).hexdigest() if hashed else None)
                      for f, raw in files.items())
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        assert set(files) == set(dict(SOURCES[name].files))  # the names of the real files
        monkeypatch.setitem(SOURCES, name, dataclasses.replace(
            SOURCES[name], home=url, files=known, counts=counts))
        return Quiet.asked

    yield start
    server.shutdown()
    server.server_close()


def refuses(text, call, *args):
    """The call fails with one sentence that has all these words in it."""
    with pytest.raises(VaenbError) as caught:
        call(*args)
    said = str(caught.value)
    assert "\n" not in said and ". " not in said
    for word in text.split("|"):
        assert word in said, said
    return said


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def idx_gz(a):
    head = b"\0\0\x08" + bytes([a.ndim]) + np.array(a.shape, ">u4").tobytes()
    return gzip.compress(head + a.tobytes())


def mnist_files(train=7, test=3):
    x, y = pixels(train + test, 28, 28), pixels(train + test) % 10
    files = {"train-images-idx3-ubyte.gz": x[:train], "train-labels-idx1-ubyte.gz": y[:train],
             "t10k-images-idx3-ubyte.gz": x[train:], "t10k-labels-idx1-ubyte.gz": y[train:]}
    return {name: idx_gz(a) for name, a in files.items()}, x, y


def mat(**arrays):
    from scipy.io import savemat

    out = io.BytesIO()
    savemat(out, arrays, do_compression=True)
    return out.getvalue()


def prepared(home, name, note=None, **arrays):
    """A prepared set as someone else's script writes it, with its note or without."""
    home.mkdir(exist_ok=True)
    np.savez(home / f"{name}.npz", **arrays)
    if note is not None:
        parts = {k: {"shape": list(a.shape), "dtype": str(a.dtype),
                     "sha256": hashlib.sha256(a.tobytes()).hexdigest()}
                 for k, a in arrays.items()}
        (home / f"{name}.json").write_text(
            json.dumps({"dataset": name, "note": note, "parts": parts}))
    return home / f"{name}.npz"


def tiny_svhn(home, note="reduced: eight and four"):
    return prepared(home, "svhn", note, train_x=pixels(8, 32, 32, 3), train_y=pixels(8) % 10,
                    test_x=pixels(4, 32, 32, 3, seed=1), test_y=pixels(4) % 10)


# ---- the original formats, fetched from a server ----

@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_is_fetched_checked_read_and_kept(name, serve, home):
    files, x, y = mnist_files()
    asked = serve(name, files, (7, 0, 3))
    got = data.load(name)
    assert np.array_equal(got.train_x, x[:7, None]) and np.array_equal(got.test_x, x[7:, None])
    assert np.array_equal(got.train_y, y[:7]) and got.test_y.dtype == np.int64
    assert got.valid_x is None and got.complete and "complete, from http" in got.note
    assert len(asked) == 4
    assert data.load(name).sha256 == got.sha256 and len(asked) == 4  # prepared: no second visit
    (home / f"{name}.npz").unlink()
    assert data.load(name).sha256 == got.sha256 and len(asked) == 4  # nor for the originals
    assert data.prepare(name) == home / f"{name}.npz"


def test_cifar10_binary(serve):
    x, y = pixels(23, 3, 32, 32), pixels(23) % 10
    rows = np.concatenate([y[:, None], x.reshape(23, -1)], axis=1)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for i, stem in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
            raw = rows[4 * i:4 * i + 4].tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{stem}.bin")
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    serve("cifar10", {"cifar-10-binary.tar.gz": out.getvalue()}, (20, 0, 3))
    got = data.load("cifar10")
    assert np.array_equal(got.train_x, x[:20]) and np.array_equal(got.test_x, x[20:])
    assert got.train_y.tolist() == y[:20].tolist() and got.test_y.tolist() == y[20:].tolist()


def test_svhn_mat_has_its_images_last_and_calls_zero_ten(serve):
    x, y = pixels(9, 3, 32, 32), np.arange(1, 10, dtype=np.uint8) % 10
    labels = np.where(y == 0, 10, y).astype(np.uint8)
    labels[0], y[0] = 10, 0
    part = [mat(X=x[s].transpose(2, 3, 1, 0), y=labels[s, None])
            for s in (slice(0, 6), slice(6, 9))]
    serve("svhn", {"train_32x32.mat": part[0], "test_32x32.mat": part[1]}, (6, 0, 3))
    got = data.load("svhn")
    assert np.array_equal(got.train_x, x[:6]) and np.array_equal(got.test_x, x[6:])
    assert got.train_y.tolist() == y[:6].tolist() and got.train_y[0] == 0


def test_frey_face_mat_is_cut_in_order_and_its_hash_is_logged(serve, caplog):
    x = pixels(1965, 28, 20)
    raw = mat(ff=x.reshape(1965, 560).T)
    serve("freyface", {"frey_rawface.mat": raw}, (1965,), hashed=False)
    pooch.get_logger().addHandler(caplog.handler)
    got = data.load("freyface")
    pooch.get_logger().removeHandler(caplog.handler)
    assert hashlib.sha256(raw).hexdigest() in caplog.text
    assert np.array_equal(got.train_x, x[:1565, None])
    assert np.array_equal(got.test_x, x[1565:, None]) and got.train_y is None
    assert got.complete and "first 1565 frames" in got.note
    assert data.load("freyface", size=28).train_x.shape == (1565, 1, 28, 28)


def test_celeba_is_read_from_the_zip_put_there_and_cropped(serve, home):
    from PIL import Image

    faces, lines, out = [], [], io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i, split in enumerate([0, 2, 0, 1, 0, 2]):
            jpg, name = io.BytesIO(), f"{i + 1:06d}.jpg"
            Image.fromarray(pixels(218, 178, 3, seed=i)).save(jpg, "JPEG")
            faces.append(np.asarray(Image.open(jpg))[39:179, 19:159].transpose(2, 0, 1))
            archive.writestr(f"img_align_celeba/{name}", jpg.getvalue())
            lines.append(f"{name} {split}\n")
    files = {"img_align_celeba.zip": out.getvalue(),
             "list_eval_partition.txt": "".join(lines).encode()}
    asked = serve("celeba", files, (3, 1, 2))
    refuses("celeba|login page|img_align_celeba.zip|VAENB_DATA", data.load, "celeba")
    folder = home / "celeba"
    folder.mkdir(parents=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    got = data.load("celeba")
    assert got.complete and got.train_x.shape == (3, 3, 32, 32) and got.train_y is None
    assert len(got.valid_x) == 1 and len(got.test_x) == 2 and not asked
    for size in (32, 28):  # each from the crop itself
        got, want = data.load("celeba", size=size), data.resize(np.stack(faces), size)
        assert np.array_equal(got.train_x, want[[0, 2, 4]])
        assert np.array_equal(got.valid_x, want[[3]]) and np.array_equal(got.test_x, want[[1, 5]])
    state = {s["name"]: s for s in data.status()}["celeba"]
    assert state["state"] == "complete" and state["images"] == "3 + 1 + 2"
    (home / "celeba.npz").unlink()
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    refuses("celeba|list_eval_partition.txt has not the SHA-256", data.load, "celeba")


def norb(a, kind):
    sizes = np.array((*a.shape, 7, 7)[:max(3, a.ndim)], "<i4")  # what is unused is not read
    head = np.array([kind, a.ndim], "<i4").tobytes() + sizes.tobytes()
    return gzip.compress(head + a.tobytes())


def norb_files():
    x = pixels(9, 2, 96, 96)
    files = {}
    for stem, s in (("46789x9x18x6x2x96x96-training", slice(0, 5)),
                    ("01235x9x18x6x2x96x96-testing", slice(5, 9))):
        y = np.arange(9, dtype="<i4")[s] % 5
        files[f"smallnorb-5x{stem}-dat.mat.gz"] = norb(x[s], 0x1E3D4C55)
        files[f"smallnorb-5x{stem}-cat.mat.gz"] = norb(y, 0x1E3D4C54)
    return files, x


def test_smallnorb_matrices_and_the_left_camera(serve):
    files, x = norb_files()
    serve("smallnorb", files, (5, 0, 4))
    got = data.load("smallnorb")
    assert np.array_equal(got.train_x, x[:5, :1]) and np.array_equal(got.test_x, x[5:, :1])
    assert got.train_y.tolist() == [0, 1, 2, 3, 4] and got.test_y.tolist() == [0, 1, 2, 3]
    assert got.complete and "the left image of each stereo pair" in got.note
    assert data.load("smallnorb", size=32).train_x.shape == (5, 1, 32, 32)


def test_a_smallnorb_matrix_that_is_none_is_refused(serve, home):
    files, x = norb_files()
    name = next(iter(files))
    for raw in (norb(x[:5], 0x1E3D4C53), gzip.compress(gzip.decompress(files[name])[:-1]),
                gzip.compress(b"")):
        serve("smallnorb", {**files, name: raw}, (5, 0, 4))
        refuses("originals of smallnorb|cannot be read|delete them", data.load, "smallnorb")


def test_shapes3d_is_made_smaller_and_halved(serve):
    h5py = pytest.importorskip("h5py")
    x, labels, out = pixels(1030, 64, 64, 3), np.zeros((1030, 6)), io.BytesIO()
    labels[:, 4] = np.arange(1030) % 4
    with h5py.File(out, "w") as file:
        file.create_dataset("images", data=x, chunks=(100, 64, 64, 3))
        file.create_dataset("labels", data=labels)
    serve("shapes3d", {"3dshapes.h5": out.getvalue()}, (1030,))
    got = data.load("shapes3d")
    train, test = data.splits.default(1030, 1)
    small = data.resize(x.transpose(0, 3, 1, 2), 32)
    assert np.array_equal(got.train_x, small[train]) and np.array_equal(got.test_x, small[test])
    assert np.array_equal(got.train_y, train % 4) and np.array_equal(got.test_y, test % 4)
    assert got.complete and "resized to 32 x 32; own split" in got.note


def test_shapes3d_without_its_package_names_the_extra(serve, monkeypatch):
    serve("shapes3d", {"3dshapes.h5": b"HDF"}, (4,))
    monkeypatch.setitem(sys.modules, "h5py", None)
    refuses(r"shapes3d|needs the package h5py|pip install -e '.[shapes]'", data.load, "shapes3d")


def omniglot_files(train=9, test=4):
    x, y = pixels(train + test, 28, 28), np.arange(train + test) % 50
    grey = x.transpose(0, 2, 1).reshape(len(x), 784).T / 255  # columns first
    hot = np.eye(50)[y].T
    raw = mat(data=grey[:, :train], target=hot[:, :train],
              testdata=grey[:, train:], testtarget=hot[:, train:])
    return {"chardata.mat": raw}, x, y


def test_omniglot_is_read_upright_and_its_validation_part_is_cut_by_a_seed(serve, monkeypatch):
    files, x, y = omniglot_files()
    serve("omniglot", files, (6, 3, 4))
    monkeypatch.setattr(readers, "HELD", 3)
    got = data.load("omniglot")
    train, valid = data.splits.constant_volume(9, 6, 1)
    assert np.array_equal(got.train_x[:, 0], x[train]) and np.array_equal(got.train_y, y[train])
    assert np.array_equal(got.valid_x[:, 0], x[valid]) and np.array_equal(got.valid_y, y[valid])
    assert np.array_equal(got.test_x[:, 0], x[9:]) and np.array_equal(got.test_y, y[9:])
    assert got.complete and "complete, from http" in got.note and "validation cut" in got.note
    assert data.load("omniglot").sha256 == got.sha256


def test_an_omniglot_beyond_0_and_1_is_refused(serve):
    raw = mat(data=np.full((784, 9), 255.0), target=np.eye(50)[:, :9],
              testdata=np.zeros((784, 4)), testtarget=np.eye(50)[:, :4])
    serve("omniglot", {"chardata.mat": raw}, (6, 3, 4))
    refuses("originals of omniglot|not within 0 and 1", data.load, "omniglot")


def test_another_version_of_omniglot_is_never_complete(home, monkeypatch):
    monkeypatch.setitem(SOURCES, "omniglot", dataclasses.replace(
        SOURCES["omniglot"], counts=(6, 3, 4)))
    arrays = {f"{part}_x": pixels(n, 28, 28) for part, n in (("train", 6), ("valid", 3),
                                                            ("test", 4))}
    prepared(home, "omniglot", "made by area averaging", **arrays)
    got = data.load("omniglot")
    assert got.describe()["note"] == "made by area averaging" and not got.complete
    assert {s["name"]: s["state"] for s in data.status()}["omniglot"] == "partial"
    home_of = SOURCES["omniglot"].home
    prepared(home, "omniglot", f"complete, from {home_of}", **arrays)
    assert data.load("omniglot").complete


def test_a_hash_may_be_an_md5(serve, monkeypatch, home):
    files, *_ = omniglot_files()
    serve("omniglot", files, (6, 3, 4))
    monkeypatch.setattr(readers, "HELD", 3)
    source = SOURCES["omniglot"]

    def known(digest):
        monkeypatch.setitem(SOURCES, "omniglot", dataclasses.replace(
            source, files=(("chardata.mat", digest),)))

    known("md5:" + "0" * 32)
    refuses(f"omniglot|has not the MD5 {'0' * 32}|thrown away", data.load, "omniglot")
    known("md5:" + hashlib.md5(files["chardata.mat"]).hexdigest())
    assert data.load("omniglot").complete
    (home / "omniglot.npz").unlink()
    (home / "omniglot" / "chardata.mat").write_bytes(b"half")  # a broken copy is fetched again
    assert data.load("omniglot").complete


def test_digits_are_embedded_and_always_the_same(offline, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    got = data.load("digits")
    assert got.train_x.shape == (1500, 1, 28, 28) and got.test_x.shape == (297, 1, 28, 28)
    assert got.sha256 == data.load("digits").sha256 and got.complete
    plain = data.load("digits", size=8)
    assert plain.train_x.max() == 255 and plain.train_x.min() == 0
    assert plain.train_x[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0
    assert plain.train_y[:10].tolist() == list(range(10))
    assert set(plain.test_y.tolist()) == set(range(10))
    assert not home.exists()
    assert {s["name"]: s["state"] for s in data.status()}["digits"] == "embedded"
    data.prepare("digits")  # to carry it where scikit-learn is not
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert data.load("digits").sha256 == got.sha256
    (home / "digits.npz").unlink()
    refuses("digits|sklearn|not installed", data.load, "digits")


# ---- prepared files ----

def test_a_prepared_set_needs_no_network_and_no_other_package(offline, home, monkeypatch):
    for package in ("pooch", "scipy", "sklearn", "PIL", "requests"):
        monkeypatch.setitem(sys.modules, package, None)
    tiny_svhn(home)
    got = data.load("svhn")
    assert np.array_equal(got.train_x, pixels(8, 32, 32, 3).transpose(0, 3, 1, 2))
    assert got.describe() == {
        "name": "svhn", "sha256": got.sha256, "note": "reduced: eight and four",
        "complete": False, "size": [3, 32, 32], "train": 8, "test": 4}
    assert got.licence == "non-commercial use only"
    with pytest.raises(dataclasses.FrozenInstanceError):
        got.note = "complete"


def test_the_hash_follows_the_pixels_the_labels_and_their_place(home):
    tiny_svhn(home)
    got = data.load("svhn")
    hashes = {got.sha256, data.load("svhn", size=28).sha256,
              dataclasses.replace(got, train_x=got.train_x[:7], train_y=got.train_y[:7]).sha256,
              dataclasses.replace(got, train_y=None).sha256,
              dataclasses.replace(got, test_y=got.test_y[::-1].copy()).sha256}
    assert len(hashes) == 5
    assert dataclasses.replace(got, note="another").sha256 == got.sha256


def test_status_tells_complete_partial_absent_damaged(home, monkeypatch):
    tiny_svhn(home)
    prepared(home, "freyface", train_x=pixels(1565, 28, 20), test_x=pixels(400, 28, 20))
    prepared(home, "mnist", None, train_x=pixels(5, 28, 28), test_x=pixels(2, 28, 28))
    (home / "cifar10.npz").write_bytes(b"")
    found = {s["name"]: s for s in data.status()}
    assert list(found) == [*data.NAMES, "yahoo", "yelp"]
    assert {n: s["state"] for n, s in found.items()} == {
        "mnist": "partial", "fashion_mnist": "absent", "svhn": "partial", "cifar10": "damaged",
        "freyface": "complete", "celeba": "absent", "smallnorb": "absent", "shapes3d": "absent",
        "omniglot": "absent", "digits": "embedded", "tetrominoes": "embedded",
        "yahoo": "absent", "yelp": "absent"}
    assert found["svhn"]["images"] == "8 + 4"
    assert found["svhn"]["note"] == "reduced: eight and four"
    assert found["svhn"]["path"] == str(home / "svhn.npz")
    assert "all 1965 of 1965" in found["freyface"]["note"]
    assert "only 7 of 70000" in found["mnist"]["note"]
    assert "vaenb data fashion_mnist" in found["fashion_mnist"]["note"]
    assert all(s["licence"] for s in found.values())


def test_truncated_altered_and_wrong_files_are_refused(home):
    path = tiny_svhn(home)
    whole, note = path.read_bytes(), path.with_suffix(".json")
    path.write_bytes(whole[:-1000])
    refuses("svhn.npz|truncated or damaged|delete it|vaenb data svhn", data.load, "svhn")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    refuses("svhn.npz|damaged|delete it", data.load, "svhn")
    with np.load(io.BytesIO(whole)) as arrays:
        arrays = dict(arrays)
    np.savez(path, **{**arrays, "test_y": arrays["test_y"] ^ 1})  # a sound file, other labels
    refuses("svhn.npz was altered|test_y|svhn.json|delete it", data.load, "svhn")
    np.savez(path, **{k: a for k, a in arrays.items() if k != "train_y"})
    refuses("svhn.npz was altered|train_y", data.load, "svhn")
    path.write_bytes(whole)
    note.write_text(note.read_text()[:-40])
    refuses("svhn.json|cannot be read|svhn.npz", data.load, "svhn")
    note.unlink()
    assert "only 12 of 99289" in data.load("svhn").note
    bad = {"train_x": arrays["train_x"].astype(np.float32)}, {"train_x": arrays["test_x"][0, 0]}, {
        "test_x": arrays["test_x"][:, :28]}, {"train_y": arrays["train_y"][:-1]}, {
        "test_y": arrays["test_y"] / 2}, {"train_x": arrays["train_x"][:0]}
    for change in bad:
        np.savez(path, **{**arrays, **change})
        refuses(f"svhn.npz is not a prepared set|{next(iter(change))}", data.load, "svhn")
    np.savez(path, train_x=arrays["train_x"])
    refuses("svhn.npz|no images in its test part", data.load, "svhn")


def test_a_note_never_stands_beside_other_data(home, monkeypatch):
    """Stopped between the two renames, the new set is there and the old note is not."""
    path, replace = tiny_svhn(home), os.replace
    arrays, _ = store.read(path)

    def half(source, target):
        if str(target).endswith(".json"):
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(store.os, "replace", half)
    changed = arrays | {"test_y": arrays["test_y"] ^ 1}
    refuses("svhn.npz could not be written", store.write, path, changed, "new")
    assert np.array_equal(data.load("svhn").test_y, changed["test_y"])


def test_nothing_is_unpickled(home):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    home.mkdir()
    objects = np.empty(2, object)
    objects[0] = Trap()
    np.savez(home / "svhn.npz", train_x=objects, test_x=objects)
    refuses("svhn.npz|allow_pickle=False", data.load, "svhn")


# ---- bad input ----

def test_unknown_names_and_sizes():
    refuses("no data set 'minst'|did you mean 'mnist'|digits, tetrominoes", data.load, "minst")
    refuses("did you mean 'fashion_mnist'", data.prepare, "Fashion-MNIST")
    assert "did you mean" not in refuses("no data set 'zzz'", data.load, "zzz")
    for size in (0, -3, 2.5, "28", True):
        refuses("whole number", data.load, "digits", size)


def test_missing_set_and_no_network(offline, home):
    said = refuses("set svhn|VAENB_DATA|train_32x32.mat|http://ufldl.stanford.edu/housenumbers/",
                   data.load, "svhn")
    assert str(home / "svhn.npz") in said and "ConnectionError" in said
    assert not [p for p in home.rglob("*") if p.is_file()]


def test_a_partial_set_stays_when_the_whole_cannot_be_had(offline, home):
    path = tiny_svhn(home)
    before = path.read_bytes()
    refuses("svhn.npz is partial", data.prepare, "svhn")
    assert path.read_bytes() == before and not data.load("svhn").complete


def test_missing_pooch_is_named(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    refuses("mnist|pooch|VAENB_DATA", data.load, "mnist")


def test_a_download_that_is_not_what_it_should_be_is_thrown_away(serve, home, monkeypatch):
    files, *_ = mnist_files()
    serve("mnist", files, (7, 0, 3))
    right = SOURCES["mnist"]
    wrong = ((right.files[0][0], "0" * 64), *right.files[1:])
    monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(right, files=wrong))
    refuses("mnist|has not the SHA-256 000|thrown away|VAENB_DATA", data.load, "mnist")
    assert not [p for p in home.rglob("*") if p.is_file()]
    gone = dataclasses.replace(right, home=right.home + "moved/")
    monkeypatch.setitem(SOURCES, "mnist", gone)
    refuses("mnist|HTTP 404|moved/train-images-idx3-ubyte.gz", data.load, "mnist")
    monkeypatch.setitem(SOURCES, "mnist", right)
    (home / "mnist").mkdir(exist_ok=True)
    (home / "mnist" / right.files[0][0]).write_bytes(b"half")  # a broken copy is fetched again
    assert len(data.load("mnist").train_x) == 7


def test_originals_that_cannot_be_read_or_are_too_few(serve, home):
    files, *_ = mnist_files()
    name = "train-images-idx3-ubyte.gz"
    for raw in (files[name][:-20], idx_gz(pixels(7, 28, 28))[:9], gzip.compress(b"\0\0\x0d\1abcd"),
                gzip.compress(gzip.decompress(files[name])[:-5])):
        serve("mnist", {**files, name: raw}, (7, 0, 3))
        refuses("originals of mnist|cannot be read|delete them", data.load, "mnist")
    serve("mnist", files, (60000, 0, 10000))
    refuses("originals of mnist|70000 images", data.load, "mnist")
    assert not list(home.glob("*.npz")) and not list(home.glob("*.json"))


@pytest.mark.parametrize("stop", [OSError(errno.ENOSPC, "No space left on device"),
                                  KeyboardInterrupt()])
def test_a_full_disk_or_an_interruption_leaves_nothing_half_written(stop, serve, home,
                                                                   monkeypatch):
    files, *_ = mnist_files()
    serve("mnist", files, (7, 0, 3))

    def savez(file, **arrays):
        file.write(b"PK half of it")
        file.flush()
        raise stop

    old = prepared(home, "mnist", "two", train_x=pixels(1, 28, 28), test_x=pixels(1, 28, 28))
    before = {p: p.read_bytes() for p in (old, old.with_suffix(".json"))}
    with monkeypatch.context() as patch:
        patch.setattr(store.np, "savez", savez)
        if isinstance(stop, OSError):
            refuses("mnist.npz|No space left on device|VAENB_DATA", data.prepare, "mnist")
        else:
            with pytest.raises(KeyboardInterrupt):
                data.prepare("mnist")
    assert {p: p.read_bytes() for p in home.iterdir() if p.is_file()} == before
    assert data.load("mnist").note == "two"
    data.prepare("mnist")
    assert data.load("mnist").complete
    assert sorted(p.name for p in home.iterdir()) == ["mnist", "mnist.json", "mnist.npz"]


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("VAENB_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.folder() == tmp_path / "vaenb"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.folder() == tmp_path / ".cache" / "vaenb"
    monkeypatch.setenv("VAENB_DATA", "~/sets")
    assert data.folder() == tmp_path / "sets"


# ---- pixels ----

def weights(n, m):
    """The m x n matrix of antialiased linear resizing, in exact fractions."""
    scale = Fraction(n, m)
    reach = max(scale, Fraction(1))
    rows = []
    for i in range(m):
        w = [max(Fraction(0), 1 - abs(j + Fraction(1, 2) - (i + Fraction(1, 2)) * scale) / reach)
             for j in range(n)]
        rows.append([v / sum(w) for v in w])
    return np.array(rows, object)


@pytest.mark.parametrize("shape, size", [((32, 32), 28), ((8, 8), 28), ((28, 20), 28), ((9, 9), 3),
                                         ((24, 24), 16)])
def test_resize_is_exact_to_the_last_bit(shape, size):
    x = pixels(2, 1, *shape)
    x[1] = np.where(x[1] > 127, 255, 0)
    got = data.resize(x, size)
    assert got.dtype == np.uint8
    for image, small in zip(x[:, 0], got[:, 0], strict=True):
        exact = weights(shape[0], size) @ image.astype(int) @ weights(shape[1], size).T
        assert np.array_equal(small, np.vectorize(lambda v: (v + Fraction(1, 2)) // 1)(exact))


def test_resize_keeps_constants_means_range_and_does_not_depend_on_chunks():
    flat = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 3, 32, 32))
    for size in (7, 28, 45):
        assert np.array_equal(data.resize(flat, size), flat[:, :, :1, :1].repeat(size, 2).repeat(
            size, 3))
    x = pixels(50, 3, 32, 32)
    small = data.resize(x, 28)
    assert abs(small.mean() - x.mean()) < 0.5
    assert np.array_equal(small, data.resize(x, 28, chunk=7))
    assert data.resize(x, 32) is x
    edge = np.zeros((1, 1, 32, 32), np.uint8)
    edge[..., 16:] = 255
    wide = data.resize(edge, 28)
    assert wide.min() == 0 and wide.max() == 255
    assert (np.diff(wide[0, 0, 0].astype(int)) >= 0).all()


def test_binarised_draws_once_black_or_white_with_the_greys_as_probabilities():
    grey = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 1, 64, 64))
    got = data.binarised(grey, seed=1)
    assert got.dtype == np.uint8 and set(np.unique(got)) == {0, 255} and got.shape == grey.shape
    assert not got[0].any() and (got[255] == 255).all()
    p = np.arange(256) / 255
    assert (np.abs((got > 0).mean((1, 2, 3)) - p) <= 5 * np.sqrt(p * (1 - p) / 4096)).all()
    assert np.array_equal(got, data.binarised(grey, seed=1))
    other = data.binarised(grey, seed=2)
    agree = (got == other).mean((1, 2, 3))  # two draws are independent
    assert (np.abs(agree - p**2 - (1 - p)**2) <= 5 * np.sqrt(0.25 / 4096)).all()
    assert set(data.unit(got).unique().tolist()) == {0.0, 1.0}
    refuses("binarised|uint8 images|float64", data.binarised, grey / 255, 1)


def test_unit_is_a_255th_and_refuses_what_was_divided_already():
    x = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    for images in (x, torch.from_numpy(x)):
        got = data.unit(images)
        assert got.dtype == torch.float32 and got.shape == (4, 1, 8, 8)
        assert torch.equal(got.flatten(), torch.arange(256, dtype=torch.float32) / 255)
    refuses("uint8|float32|255 already", data.unit, data.unit(x))
