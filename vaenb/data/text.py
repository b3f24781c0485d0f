"""Text: a sentence a line, and batches of sentences of one length (He et al. 2019)."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np
import torch

from vaenb.data import sequences, store
from vaenb.data.dataset import PARTS, hashed
from vaenb.data.sources import TEXTS, source
from vaenb.errors import VaenbError

SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>")  # ids 0 to 3, as in the paper's public code
START, END, UNKNOWN = 1, 2, 3


@dataclass(frozen=True, eq=False)
class Part:
    """Sentences one after another: ids int32 [all of them], with <s> and </s>.

    Sentence i is ``part[i]``, int32 [its words + 2]; ``starts`` int64 [N + 1] says where each
    begins and the last ends.
    """

    ids: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        i = range(len(self))[i]
        return self.ids[self.starts[i]:self.starts[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """How many ids each sentence has, <s> and </s> among them: int64 [N]."""
        return np.diff(self.starts)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in three parts, and its vocabulary: ``words[id]``, the four ``SYMBOLS`` first.

    The paper's "19997 entries" of Yelp are ``len(words)``: 4 symbols and 19993 words, every
    word of the training part once. The rare words that Yang et al. (2017) had written as _UNK
    before are one ordinary word among them, as in the paper's code; <unk> stands only for
    words that the training part has not, or that were cut from the vocabulary. ``complete`` is
    true only if every sentence of the paper's text is there and no word of it was cut: never of
    a text of your own.
    """

    name: str
    words: tuple[str, ...] = field(repr=False)
    train: Part = field(repr=False)
    valid: Part = field(repr=False)
    test: Part = field(repr=False)
    note: str
    complete: bool
    licence: str

    def part(self, name: str) -> Part:
        """The part of that name. Raises VaenbError for another than train, valid, test."""
        if name not in PARTS:
            raise VaenbError(f"a text has the parts {', '.join(PARTS)}, and not {name!r}")
        return getattr(self, name)

    def groups(self, part: str, size: int) -> list[np.ndarray]:
        """Rows of sentences of one length, at most ``size`` together: int64, by rising length.

        As in the paper's code: fixed once, in the order of the file within a length; what
        changes from epoch to epoch is the order of the batches. Raises VaenbError for a size
        below 1.
        """
        if type(size) is not int or size < 1:
            raise VaenbError(f"a batch holds at most `size` sentences, a whole number above 0, "
                             f"and not {size!r}")
        lengths = self.part(part).lengths
        order = np.argsort(lengths, kind="stable")
        runs = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
        return [run[i:i + size] for run in runs for i in range(0, len(run), size)]

    def stack(self, part: str, rows) -> torch.Tensor:
        """Those sentences of one length as a batch: int64 [B, length], <s> first, </s> last.

        Raises VaenbError where their lengths differ, since nothing is padded.
        """
        part = self.part(part)
        lengths = part.lengths[rows]
        if len(lengths) == 0 or (lengths != lengths[0]).any():
            raise VaenbError("a batch takes sentences of one length: take its rows from groups()")
        places = part.starts[:-1][rows][:, None] + np.arange(lengths[0])
        return torch.from_numpy(part.ids[places].astype(np.int64))

    def batches(self, part: str, size: int) -> Iterator[torch.Tensor]:
        """Every sentence of a part once, by rising length, as int64 [B <= size, length]: see
        ``groups``, ``stack``."""
        return (self.stack(part, rows) for rows in self.groups(part, size))

    def sentence(self, ids) -> str:
        """The words of some ids (array or tensor [length]), without <s>, up to the first </s>."""
        until = takewhile(lambda i: i != END, map(int, ids))
        return " ".join(self.words[i] for i in until if i != START)

    @cached_property
    def sha256(self) -> str:
        """Hash of the number of entries and of the ids of all parts: hex digits."""
        parts = ((name, getattr(self, name)) for name in PARTS)
        arrays = ((name, a) for name, part in parts for a in (part.starts, part.ids))
        return hashed(arrays, f"{len(self.words)};")

    def describe(self) -> dict:
        """What a record says of its data: name, sha256, note, complete, entries, the share of test
        words that are <unk>, counts."""
        words = self.test.ids[self.test.ids > END]
        return {"name": self.name, "sha256": self.sha256, "note": self.note,
                "complete": self.complete, "entries": len(self.words),
                "unknown": round(float((words == UNKNOWN).mean()), 4),
                **{part: len(getattr(self, part)) for part in PARTS}}


def load(name: str, size: int | None = None, limit: int | None = None) -> Corpus:
    """The text ``name``: yahoo, yelp, synthetic, or the path of a file or a folder of your own.

    yahoo and yelp are looked for as ``train.txt``, ``valid.txt``, ``test.txt`` in the folder
    ``NAME`` of ``vaenb.data.folder()``, and fetched where they are not; synthetic is generated
    (about 6 s). Your folder holds the same three files; a single file is cut by lines, the
    first 80 % to train, then 10 % and 10 %. Files are UTF-8, a sentence a line, its words
    between spaces; in yelp a label and a tab stand before each sentence, and are left out.
    ``size``: keep the most frequent words of the training part, this many besides the
    ``SYMBOLS`` (None: all; of equally frequent ones those that come first). ``limit``: the most
    words a sentence may have. A word written like a symbol is that symbol.
    Raises VaenbError for what is not so, and says the file and the line.
    """
    for value, told in ((size, "size is the number of words to keep"),
                        (limit, "limit is the most words of a sentence")):
        if value is not None and (type(value) is not int or value < 1):
            raise VaenbError(f"{told}, a whole number above 0, and not {value!r}")
    if name == "synthetic":
        if size is not None or limit is not None:
            raise VaenbError("the synthetic text has 1000 words and 10 words a sentence: leave "
                             "out size and limit")
        return synthetic()
    index = {word: i for i, word in enumerate(SYMBOLS)}
    if name in TEXTS:
        files, note = named(name)
    else:
        files, note = own(Path(name).expanduser())
    labels = name in TEXTS and source(name).labels
    parts = {part: encode(raw, where, index, labels, limit)
             for part, (raw, where) in files.items()}
    if len(parts) == 1:
        parts = cut(parts["train"], files["train"][1])
    words = tuple(index)
    counts = np.bincount(parts["train"].ids, minlength=len(words))
    counts[:len(SYMBOLS)] = 0
    kept = np.argsort(-counts, kind="stable")[:np.count_nonzero(counts)]
    if cut_off := size is not None and size < len(kept):
        kept = kept[:size]
        note += f"; vocabulary cut to its {size} most frequent words"
    final = np.full(len(words), UNKNOWN, np.int32)
    final[:len(SYMBOLS)] = np.arange(len(SYMBOLS))
    final[kept] = np.arange(len(kept)) + len(SYMBOLS)
    parts = {key: Part(final[part.ids], part.starts) for key, part in parts.items()}
    words = SYMBOLS + tuple(words[i] for i in kept)
    if name not in TEXTS:
        return Corpus(name=Path(name).expanduser().resolve().name, words=words, **parts,
                      note=note, complete=False, licence="your own")
    home, counts = source(name), tuple(map(len, parts.values()))
    return Corpus(name=name, words=words, **parts, note=note, licence=home.licence,
                  complete=counts == home.counts and not cut_off)


def named(name: str) -> tuple[dict, str]:
    """The parts {part: (bytes, path)} of yahoo or yelp, fetched where one is not there; a note."""
    parts, note = store.read_text(name)
    if len(parts) < len(PARTS):
        parts, note = store.read_text(store.prepare(name).name)
    place = store.folder() / name
    return ({part: (raw, place / f"{part}.txt") for part, raw in parts.items()},
            note or "no note beside the files")


def own(path: Path) -> tuple[dict, str]:
    """The same of a folder with three files, or of one file, all of it as the training part."""
    try:
        if path.is_dir():
            files = {part: path / f"{part}.txt" for part in PARTS}
            return {part: (f.read_bytes(), f) for part, f in files.items()}, "own text"
        return {"train": (path.read_bytes(), path)}, (
            "own text; one file, cut by lines: the first 80 % train, then 10 % validation, "
            "10 % test")
    except FileNotFoundError as error:
        raise VaenbError(f"there is no file {error.filename}: the texts are "
                         f"{', '.join(TEXTS)}, synthetic, a file of your own, or a folder with "
                         f"train.txt, valid.txt and test.txt") from error
    except OSError as error:
        raise VaenbError(f"{error.filename} cannot be read ({error.strerror})") from error


def encode(raw: bytes, where: Path, index: dict, labels: bool, limit: int | None) -> Part:
    """The sentences of a file, new words being added to the ``index`` {word: id} as they come;
    ``labels``: a label and a tab stand before each, and are left out."""
    try:
        lines = raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise VaenbError(f"line {line} of {where} is not UTF-8 (byte "
                         f"0x{error.object[error.start]:02x}): convert the file") from error
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise VaenbError(f"{where} is empty: a text has a sentence a line")
    ids, starts = array("i"), [0]
    for n, line in enumerate(lines, 1):
        if labels:
            _, tab, line = line.partition("\t")
            if not tab:
                raise VaenbError(f"line {n} of {where} has no label: put a label and a tab before "
                                 f"each sentence")
        words = line.split()
        if not words:
            raise VaenbError(f"line {n} of {where} has no words: delete it")
        if limit is not None and len(words) > limit:
            raise VaenbError(f"line {n} of {where} has {len(words)} words and the limit is "
                             f"{limit}: shorten it or raise the limit")
        ids.append(START)
        ids.extend([index.setdefault(word, len(index)) for word in words])
        ids.append(END)
        starts.append(len(ids))
    return Part(np.array(ids, np.int32), np.array(starts))


def cut(part: Part, where: Path) -> dict[str, Part]:
    """One file's sentences cut 80, 10, 10 in their order. Raises VaenbError for fewer than 3."""
    n = len(part)
    if n < len(PARTS):
        raise VaenbError(f"{where} has {n} of the at least 3 lines that three parts need")
    held = max(n // 10, 1)
    ends, parts = (0, n - 2 * held, n - held, n), {}
    for key, (a, b) in zip(PARTS, pairwise(ends), strict=True):
        starts = part.starts[a:b + 1]
        parts[key] = Part(part.ids[starts[0]:starts[-1]], starts - starts[0])
    return parts


def synthetic(vocabulary: int = 1000, count: int = 20000) -> Corpus:
    """The synthetic sequences as a text: the words "0" to "999", 1004 entries.

    ``sequences.generate()`` gives the same sequences with the z and the probabilities behind, and
    says what fewer words or sequences are, and which are too few.
    """
    parts = {}
    for key, part in zip(PARTS, sequences.generate(vocabulary, count), strict=True):
        ids = np.pad(part.tokens + len(SYMBOLS), ((0, 0), (1, 1)))
        ids[:, 0], ids[:, -1] = START, END
        n, length = ids.shape
        parts[key] = Part(ids.astype(np.int32).ravel(), np.arange(n + 1) * length)
    whole = (vocabulary, count) == (1000, 20000)
    note = (f"drawn by vaenb.data.sequences, seed {sequences.SEED}: the paper's recipe, another "
            f"stream of random numbers")
    return Corpus(name="synthetic", words=SYMBOLS + tuple(map(str, range(vocabulary))), **parts,
                  note=note if whole else f"{note}; {count} sequences of {vocabulary} words",
                  complete=whole, licence="as this code; after J. He et al. (2019)")
