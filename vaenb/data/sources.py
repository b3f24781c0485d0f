"""The canonical homes: which files a set is made of, where they are, and their hashes."""

import difflib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vaenb.data import readers
from vaenb.errors import VaenbError


@dataclass(frozen=True)
class Source:
    """A named set: its files ({name: SHA-256, "md5:..." or None}), home, reader, counts, licence.

    ``home`` is the address that a file's name is appended to; ``login`` marks a page that a
    person must fetch from. ``counts``: images in (train, valid, test), or (all,) where there
    is no official split. ``size``: side that ``load`` resizes to unless asked otherwise.
    ``extra``: the optional extra of this package that the reader needs. ``variants``: others
    made sets of the same counts, and only one whose note names ``home`` is the original.
    ``labels``: of a text, whether a label and a tab stand before each sentence.
    """

    reader: Callable[[dict], dict]
    counts: tuple[int, ...]
    licence: str
    home: str = ""
    files: tuple[tuple[str, str | None], ...] = ()
    note: str = ""
    login: bool = False
    size: int | None = None
    extra: str = ""
    variants: bool = False
    labels: bool = False


SOURCES = {
    "mnist": Source(
        readers.mnist, (60000, 0, 10000), "CC BY-SA 3.0, as commonly stated",
        "https://ossci-datasets.s3.amazonaws.com/mnist/", (
            ("train-images-idx3-ubyte.gz",
             "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            ("train-labels-idx1-ubyte.gz",
             "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            ("t10k-images-idx3-ubyte.gz",
             "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            ("t10k-labels-idx1-ubyte.gz",
             "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"))),
    "fashion_mnist": Source(
        readers.mnist, (60000, 0, 10000), "MIT (Zalando SE)",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", (
            ("train-images-idx3-ubyte.gz",
             "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            ("train-labels-idx1-ubyte.gz",
             "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            ("t10k-images-idx3-ubyte.gz",
             "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            ("t10k-labels-idx1-ubyte.gz",
             "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"))),
    "svhn": Source(
        readers.svhn, (73257, 0, 26032), "non-commercial use only",
        "http://ufldl.stanford.edu/housenumbers/", (
            ("train_32x32.mat",
             "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
            ("test_32x32.mat",
             "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"))),
    "cifar10": Source(
        readers.cifar10, (50000, 0, 10000), "none stated; cite Krizhevsky (2009)",
        "https://www.cs.toronto.edu/~kriz/", (
            ("cifar-10-binary.tar.gz",
             "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),)),
    "freyface": Source(  # its home publishes no hash and we know no second witness of one
        readers.freyface, (1965,), "none stated (B. Frey; S. Roweis's data page)",
        "https://cs.nyu.edu/~roweis/data/", (("frey_rawface.mat", None),),
        note="own split, first 1565 frames train, last 400 test"),
    "celeba": Source(
        readers.celeba, (162770, 19867, 19962), "non-commercial research only",
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html", (
            ("img_align_celeba.zip",
             "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74"),
            ("list_eval_partition.txt",
             "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7")),
        note="aligned, centre crop of 140 x 140 pixels", login=True),
    "smallnorb": Source(  # hashes as recorded by TensorFlow Datasets
        readers.smallnorb, (24300, 0, 24300), "research purposes only, not to be sold",
        "https://cs.nyu.edu/~yann/data/norb-v1.0-small/", (
            ("smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz",
             "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873"),
            ("smallnorb-5x46789x9x18x6x2x96x96-training-cat.mat.gz",
             "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa"),
            ("smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat.gz",
             "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474"),
            ("smallnorb-5x01235x9x18x6x2x96x96-testing-cat.mat.gz",
             "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff")),
        note="the left image of each stereo pair"),
    "shapes3d": Source(
        readers.shapes3d, (480000,), "Apache 2.0 (C. Burgess and H. Kim, DeepMind)",
        "https://storage.googleapis.com/3d-shapes/", (
            ("3dshapes.h5",
             "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"),),
        note="resized to 32 x 32; own split, random halves; the label is the shape",
        extra="[shapes]"),
    "omniglot": Source(  # hash as recorded by TFSnippet
        readers.omniglot, (22345, 2000, 8070), "MIT (B. Lake); 28 x 28 version by Y. Burda",
        "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/", (
            ("chardata.mat", "md5:21ecaf34373511aa7691cf2e0802aa3d"),),
        note="grey in 255ths; validation cut from the training part at random, seed 1; "
             "the label is the alphabet", variants=True),
    "digits": Source(
        readers.digits, (1500, 0, 297), "CC BY 4.0 (E. Alpaydin and C. Kaynak, UCI)",
        note="scikit-learn's handwritten digits, 8 x 8, resized; first 1500 train, last 297 test",
        size=28),
    "tetrominoes": Source(
        readers.tetromino, (81920, 0, 81920), "as this code; after A. Bozkurt et al. (2019)",
        note="drawn by vaenb.data.tetrominoes, seed 1; own split, random halves"),
}
NAMES = tuple(SOURCES)
# Texts: sentences in (train, valid, test), usually quoted, the log of the paper's code agreeing.
# The home is what that code downloads (jxhe/vae-lagging-encoder, prepare_data.py); what stands
# after "#" names the file and is not sent. No hash of either file is published.
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
TEXTS = {
    "yahoo": Source(
        partial(readers.lines, name="yahoo"), (100000, 10000, 10000),
        "none stated; from Yahoo! Answers, research use",
        f"{DRIVE}13azGlTuGdzWLCmgDmQPmvb_jcexVWX7i#", (("datasets.tar.gz", None),)),
    "yelp": Source(
        partial(readers.lines, name="yelp"), (100000, 10000, 10000),
        "Yelp Dataset terms, academic use",
        f"{DRIVE}1FT49oLNV8syhmGXEgiK6XTjEfMNqqEJJ#", (("datasets.tar.gz", None),), labels=True),
}


def source(name: str) -> Source:
    """The source of that name. Raises VaenbError with the names there are."""
    if name in TEXTS:
        return TEXTS[name]
    if name not in SOURCES:
        near = difflib.get_close_matches(str(name).lower().replace("-", "_"), NAMES, 1)
        guess = f" (did you mean {near[0]!r}?)" if near else ""
        raise VaenbError(f"there is no data set {name!r}{guess}: there are {', '.join(NAMES)}, "
                         f"and of texts {', '.join(TEXTS)}")
    return SOURCES[name]


def folder() -> Path:
    """Where the sets are: ``$VAENB_DATA``, else ``vaenb`` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("VAENB_DATA") or Path(cache) / "vaenb").expanduser()


def fetch(name: str, file: str, why: str) -> Path:
    """One original of a set: the copy in ``folder()/NAME``, else downloaded there; hash checked.

    Where there is no hash to check, pooch logs the one it found. ``why`` begins the sentence
    (VaenbError) where the file cannot be had.
    """
    home, path = source(name), folder() / name / file
    url, digest = home.home + file, dict(home.files)[file]
    kind, _, digits = (digest or "").rpartition(":")
    kind = kind or "sha256"
    named = f"{'MD5' if kind == 'md5' else 'SHA-256'} {digits}"
    if path.exists():
        with open(path, "rb") as opened:
            if digest is None or digits == hashlib.file_digest(opened, kind).hexdigest():
                return path
    start, end = f"the set {name} cannot be had: {why}", (
        f"put train.txt, valid.txt and test.txt into {path.parent}" if name in TEXTS else
        f"set VAENB_DATA to a folder that holds {name}.npz")
    if home.login:
        wrong = f", and {path} has not the {named}" if path.exists() else ""
        raise VaenbError(f"{start}{wrong}, and {by_hand(name)}, or {end}")
    try:
        import pooch  # only here: a prepared file must load without it

        return Path(pooch.retrieve(url, digest and f"{kind}:{digits}", file, path.parent))
    except (OSError, ImportError) as error:
        if getattr(error, "response", None) is not None:
            error.response.close()  # pooch leaves it open
        raise VaenbError(f"{start} and {url} could not be fetched ({words(error)}): run `vaenb "
                         f"data {name}` where it can, put the file at {path}, or {end}") from error
    except ValueError as error:
        raise VaenbError(f"{start} and what {url} gave has not the {named} and was "
                         f"thrown away: try again, put the file at {path}, or {end}") from error


def original(name: str, files: dict) -> dict:
    """The arrays that the set's reader makes of its original files. Raises VaenbError."""
    try:
        return source(name).reader(files)
    except ImportError as error:
        raise VaenbError(f"the set {name} needs the package {error.name}, which is not installed: "
                         f"run `pip install -e '.{source(name).extra}'` where vaenb stands"
                         ) from error
    except Exception as error:  # whatever a format's own library raises
        raise VaenbError(f"the originals of {name} in {folder() / name} cannot be read "
                         f"({words(error)}): delete them and run `vaenb data {name}`") from error


def by_hand(name: str) -> str:
    """What to do for a set behind a login page."""
    home = source(name)
    return (f"it is behind a login page: take {' and '.join(dict(home.files))} from {home.home} "
            f"and put them into {folder() / name}")


def words(error: Exception) -> str:
    """A few words for an error: the server's or the system's, else its first line."""
    code = getattr(getattr(error, "response", None), "status_code", None)
    if code or type(error).__module__.startswith("requests"):  # whose own text is a paragraph
        return f"HTTP {code}" if code else type(error).__name__
    first = str(error).partition("\n")[0]
    return getattr(error, "strerror", None) or first or type(error).__name__
