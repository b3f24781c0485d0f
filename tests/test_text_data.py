"""Texts and the synthetic sequences: known sentences, the real formats, each error's sentence."""

import dataclasses
import hashlib
import http.server
import io
import json
import math
import tarfile
import threading

import numpy as np
import pytest
import torch

from vaenb import VaenbError, data
from vaenb.data import sequences, text
from vaenb.data.sources import TEXTS

TRAIN = ["the cat sat", "a dog", "the dog ran off", "a cat", "the end", "so it was"]
VALID = ["the bird", "a cat sat"]
TEST = ["the dog sat", "owls fly", "a cat"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty data folder for every test."""
    monkeypatch.setenv("VAENB_DATA", str(tmp_path / "sets"))
    return tmp_path / "sets"


def refuses(words, call, *args, **settings):
    """The call fails with one sentence that has all these words in it."""
    with pytest.raises(VaenbError) as caught:
        call(*args, **settings)
    said = str(caught.value)
    assert "\n" not in said and ". " not in said
    for word in words.split("|"):
        assert word in said, said
    return said


def put(folder, train=TRAIN, valid=VALID, test=TEST, note=None):
    """The three files of a text, and its note as someone else's script writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {}
    for part, lines in (("train", train), ("valid", valid), ("test", test)):
        raw = "".join(line + "\n" for line in lines).encode()
        (folder / f"{part}.txt").write_bytes(raw)
        parts[part] = {"lines": len(lines), "sha256": hashlib.sha256(raw).hexdigest()}
    if note:
        folder.with_suffix(".json").write_text(json.dumps({"note": note, "parts": parts}))
    return folder


# ---- a text in memory ----

def unknown(part):
    """How many words of a part are <unk>."""
    return int((part.ids == text.UNKNOWN).sum())


def test_sentences_become_ids_and_words_again(tmp_path):
    got = text.load(put(tmp_path / "mine"))
    assert got.words[:8] == ("<pad>", "<s>", "</s>", "<unk>", "the", "cat", "a", "dog")
    assert len(got.words) == 4 + len({w for line in TRAIN for w in line.split()})
    for part, lines in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        assert len(got.part(part)) == len(lines)
        for ids, line in zip(got.part(part), lines, strict=True):
            assert ids[0] == 1 and ids[-1] == 2 and len(ids) == len(line.split()) + 2
            known = " ".join(w if w in got.words else "<unk>" for w in line.split())
            assert got.sentence(ids) == got.sentence(torch.from_numpy(ids)) == known
    assert got.sentence(got.test[1]) == "<unk> <unk>"
    assert got.sentence([1, 4, 2, 5, 5]) == "the" and got.sentence([2, 4]) == ""
    assert got.train[-1].tolist() == got.train[5].tolist()
    assert got.test.lengths.tolist() == [5, 4, 4]
    assert unknown(got.test) == 2 and unknown(got.train) == 0
    assert got.describe() == {"name": "mine", "sha256": got.sha256, "note": "own text",
                              "complete": False, "entries": len(got.words), "unknown": 0.2857,
                              "train": 6, "valid": 2, "test": 3}


def test_the_vocabulary_keeps_the_most_frequent_words_and_the_first_of_equals(tmp_path):
    folder = put(tmp_path / "mine")
    whole, got = text.load(folder), text.load(folder, size=4)
    assert got.words[4:] == ("the", "cat", "a", "dog")  # 3, 2, 2, 2 times, in order of coming
    assert text.load(folder, size=3).words[4:] == ("the", "cat", "a")
    assert got.sentence(got.train[2]) == "the dog <unk> <unk>"
    assert unknown(got.train) == 7
    assert "cut to its 4 most frequent words" in got.note and "cut" not in whole.note
    same = text.load(folder, size=len(whole.words) - 4)
    assert same.words == whole.words and same.sha256 == whole.sha256 != got.sha256
    assert same.note == whole.note


def test_a_word_written_like_a_symbol_is_that_symbol(tmp_path):
    got = text.load(put(tmp_path / "mine", train=["a <unk> _UNK", "b"]))
    assert got.train[0].tolist() == [1, 4, 3, 5, 2] and got.words[4:] == ("a", "_UNK", "b")
    assert unknown(got.train) == 1


def test_the_hash_follows_the_ids_and_their_parts(tmp_path):
    hashes = {text.load(put(tmp_path / "a", **change)).sha256 for change in (
        {}, {"valid": VALID[::-1]}, {"valid": TEST, "test": VALID}, {"train": TRAIN[:-1]},
        {"test": ["the dog", "sat owls fly", "a cat"]})}
    assert len(hashes) == 5
    renamed = [[line.replace("cat", "cow") for line in part] for part in (TRAIN, VALID, TEST)]
    assert text.load(put(tmp_path / "b", *renamed)).sha256 == text.load(
        put(tmp_path / "a")).sha256


# ---- batches ----

@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """200 sentences of 1 to 7 words, each with a word of its own."""
    lengths = np.random.default_rng(0).integers(1, 8, 200)
    lines = [" ".join([f"w{i}", *["x"] * (n - 1)]) for i, n in enumerate(lengths)]
    return text.load(put(tmp_path_factory.mktemp("texts") / "many", lines)), lengths


def test_batches_hold_sentences_of_one_length_each_once(many):
    got, lengths = many
    for size in (1, 8, 1000):
        batches = list(got.batches("train", size))
        seen = [row for batch in batches for row in batch]
        assert sorted(got.sentence(row).split()[0] for row in seen) == sorted(
            f"w{i}" for i in range(200))
        assert all(b.dtype == torch.int64 and 1 <= len(b) <= size for b in batches)
        assert all((b[:, 0] == 1).all() and (b[:, -1] == 2).all() for b in batches)
        assert not any((b[:, 1:-1] < 3).any() for b in batches)  # nor <pad>, <s>, </s> inside
        assert len(batches) == sum(-(-n // size) for n in np.bincount(lengths) if n)


def test_batches_come_by_rising_length_and_in_the_order_of_the_file(many):
    got, _ = many
    batches = list(got.batches("train", 8))
    lengths = [len(batch[0]) for batch in batches]
    assert lengths == sorted(lengths)
    for rows, batch in zip(got.groups("train", 8), batches, strict=True):
        assert (np.diff(rows) > 0).all() and torch.equal(got.stack("train", rows), batch)


def test_bad_batches_are_refused(many):
    got, lengths = many
    for size in (0, -1, 2.0, True):
        refuses("whole number above 0", got.batches, "train", size)
    refuses("train, valid, test|'dev'", got.part, "dev")
    two = [int((lengths == 1).argmax()), int((lengths == 2).argmax())]
    refuses("one length|groups()", got.stack, "train", two)
    refuses("one length", got.stack, "train", [])


# ---- files ----

def test_one_file_is_cut_by_lines_80_10_10(tmp_path):
    path = tmp_path / "novel.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(f"né{i} x" for i in range(29)).encode())
    got = text.load(str(path))
    assert [got.sentence(got.train[i]) for i in (0, 24)] == ["né0 x", "né24 x"]
    assert (len(got.train), len(got.valid), len(got.test)) == (25, 2, 2)
    assert got.sentence(got.valid[0]) == got.sentence(got.test[1]) == "<unk> x"  # new words
    assert got.name == "novel.txt" and "first 80 % train" in got.note and not got.complete
    path.write_text("a b\nc")
    refuses("novel.txt has 2|at least 3 lines", text.load, path)


def test_each_fault_of_a_file_is_one_sentence_with_its_line(tmp_path):
    path = put(tmp_path / "mine") / "valid.txt"
    for raw, said, settings in (
            (b"", "valid.txt is empty|a sentence a line", {}),
            (b"a b\n \t \nc\n", "line 2 of|valid.txt has no words|delete it", {}),
            (b"a\nb\n\n", "line 3 of|has no words", {}),
            (b"a\n\nb\nc\xff d\n", "line 4 of|valid.txt is not UTF-8|0xff|convert", {}),
            (b"a b\nc d e\n", "line 2 of|valid.txt has 3 words and the limit is 2", {"limit": 2})):
        path.write_bytes(raw)
        (path.parent / "train.txt").write_text("a b")
        refuses(said, text.load, path.parent, **settings)
    path.write_bytes(b"a b\n")
    text.load(path.parent, size=1)
    path.unlink()
    refuses("there is no file|valid.txt|yahoo, yelp, synthetic", text.load, path.parent)
    refuses("there is no file yaho:|train.txt, valid.txt and test.txt", text.load, "yaho")
    for size in (0, -3, 2.5, True):
        refuses("number of words to keep|above 0", text.load, path.parent, size=size)


# ---- yahoo and yelp ----

def test_yahoo_is_found_in_the_data_folder_and_its_note_is_carried(home):
    put(home / "yahoo", note="reduced: six, two and three")
    got = text.load("yahoo")
    assert got.name == "yahoo" and got.note == "reduced: six, two and three"
    assert not got.complete and "research use" in got.licence
    state = {row["name"]: row for row in data.status()}["yahoo"]
    assert (state["state"], state["images"], state["note"]) == (
        "partial", "6 + 2 + 3", "reduced: six, two and three")
    (home / "yahoo" / "test.txt").write_text("the other\n")
    refuses("test.txt was altered|yahoo.json|delete the note alone", text.load, "yahoo")
    assert {row["name"]: row for row in data.status()}["yahoo"]["state"] == "damaged"
    (home / "yahoo.json").unlink()
    assert text.load("yahoo").note == "no note beside the files"
    refuses("yahoo is a text|vaenb.data.text.load('yahoo')", data.load, "yahoo")


def test_yelp_loses_labels_and_is_complete_with_its_counts_and_all_its_words(home, monkeypatch):
    put(home / "yelp", *([f"{i % 5}\t{line}" for i, line in enumerate(part)]
                         for part in (TRAIN, VALID, TEST)))
    got, plain = text.load("yelp"), text.load(put(home / "plain"))
    assert got.sha256 == plain.sha256 and got.words == plain.words and not got.complete
    monkeypatch.setitem(TEXTS, "yelp", dataclasses.replace(TEXTS["yelp"], counts=(6, 2, 3)))
    assert text.load("yelp").complete and not text.load("yelp", size=5).complete
    put(home / "yelp", ["1\ta", "2\t"])
    refuses("line 2 of|yelp/train.txt has no words", text.load, "yelp")
    put(home / "yelp", ["1\ta", "b c"])
    refuses("line 2 of|yelp/train.txt has no label|a label and a tab", text.load, "yelp")


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Let the home of yahoo be a server on this machine that gives these bytes."""
    monkeypatch.setenv("NO_PROXY", "*")
    root, asked = tmp_path / "www", []
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=root)

        def log_message(self, form, *args):
            asked.append(args[0])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def start(raw):
        (root / "download").write_bytes(raw)
        url = f"http://127.0.0.1:{server.server_address[1]}/download?id=13az#"
        monkeypatch.setitem(TEXTS, "yahoo", dataclasses.replace(TEXTS["yahoo"], home=url,
                                                                counts=(6, 2, 3)))
        return asked

    yield start
    server.shutdown()
    server.server_close()


def tar_of(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, lines in files.items():
            for prefix in ("", "._"):  # as a Mac packs them
                info = tarfile.TarInfo(f"yahoo_data/{prefix}{name.replace('_', '.')}.txt")
                raw = b"\0\5\x16" if prefix else "".join(f"{line}\n" for line in lines).encode()
                info.size = len(raw)
                tar.addfile(info, io.BytesIO(raw))
    return out.getvalue()


def test_yahoo_is_fetched_unpacked_and_kept(serve, home):
    asked = serve(tar_of(yahoo_train=TRAIN, yahoo_valid=VALID, yahoo_test=TEST, yelp_test=["x"]))
    got = text.load("yahoo")
    assert asked == ["GET /download?id=13az HTTP/1.1"]  # what stands after # is not sent
    assert got.complete and "from http://127.0.0.1" in got.note
    assert got.sentence(got.test[0]) == "the dog sat"
    assert text.load("yahoo").sha256 == got.sha256 and len(asked) == 1
    assert data.prepare("yahoo") == home / "yahoo" and len(asked) == 1
    assert sorted(p.name for p in (home / "yahoo").iterdir()) == [
        "datasets.tar.gz", "test.txt", "train.txt", "valid.txt"]
    state = {row["name"]: row for row in data.status()}["yahoo"]
    assert (state["state"], state["images"]) == ("complete", "6 + 2 + 3")


def test_what_is_no_archive_of_yahoo_is_refused(serve, home):
    serve(b"<html>Google Drive cannot scan this file for viruses</html>")
    refuses("originals of yahoo|no tar file|browser|delete them", text.load, "yahoo")
    (home / "yahoo" / "datasets.tar.gz").unlink()
    serve(tar_of(yahoo_train=TRAIN, yelp_test=TEST))
    refuses("originals of yahoo|no yahoo.valid.txt", text.load, "yahoo")
    assert not list(home.rglob("*.txt"))


def test_without_a_network_the_sentence_says_which_files_to_put_where(monkeypatch, home):
    def refuse(*args, **kwargs):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    refuses(f"set yelp|no {home / 'yelp' / 'train.txt'}|drive.usercontent.google.com|put "
            f"train.txt, valid.txt and test.txt into {home / 'yelp'}", text.load, "yelp")
    state = {row["name"]: row for row in data.status()}["yelp"]
    assert state["state"] == "absent" and "vaenb data yelp" in state["note"]


# ---- the synthetic sequences ----

@pytest.fixture(scope="module")
def small():
    """The weights of a generator of 20 words and 4 units."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences, "UNITS", 4)
        return sequences.weights(20)


def by_hand(w, tokens, z):
    """log p of each word after the first, by loops over units and gates in plain floats."""
    units, said = len(w["state"]), []
    cell = [sum(w["state"][i, k] * z[k] for k in range(2)) for i in range(units)]
    hidden = [math.tanh(c) for c in cell]
    for before, word in zip(tokens, tokens[1:], strict=False):
        seen = [*w["embedding"][before], *z, *hidden]
        into, forget, new, out = (
            [sum(w["gates"][g * units + i, k] * v for k, v in enumerate(seen))
             + w["bias"][0, g * units + i] + w["bias"][1, g * units + i] for i in range(units)]
            for g in range(4))
        for i in range(units):
            cell[i] = (cell[i] / (1 + math.exp(-forget[i]))
                       + math.tanh(new[i]) / (1 + math.exp(-into[i])))
            hidden[i] = math.tanh(cell[i]) / (1 + math.exp(-out[i]))
        logits = [sum(a * h for a, h in zip(w["out"][v], hidden, strict=True))
                  + sum(b * k for b, k in zip(w["direct"][v], z, strict=True))
                  for v in range(len(w["out"]))]
        said.append(logits[word] - math.log(sum(map(math.exp, logits))))
    return said


def by_torch(w, tokens, z):
    """The same [N, L - 1] by PyTorch's LSTM, for many sequences."""
    w, tokens, z = ({k: torch.from_numpy(a) for k, a in w.items()}, torch.from_numpy(tokens),
                    torch.from_numpy(z))
    units = len(w["state"])
    lstm = torch.nn.LSTM(units + 2, units, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(w["gates"][:, :units + 2])
        lstm.weight_hh_l0.copy_(w["gates"][:, units + 2:])
        lstm.bias_ih_l0.copy_(w["bias"][0])
        lstm.bias_hh_l0.copy_(w["bias"][1])
        c = (z @ w["state"].T)[None]
        length = tokens.shape[1] - 1
        seen = torch.cat([w["embedding"][tokens[:, :-1]], z[:, None].expand(-1, length, -1)], 2)
        logits = lstm(seen, (c.tanh(), c))[0] @ w["out"].T + (z @ w["direct"].T)[:, None]
        return logits.log_softmax(2).gather(2, tokens[:, 1:, None])[..., 0].numpy()


def test_the_probabilities_are_those_of_an_independent_loop(small):
    got = sequences.draw(small, 12)
    for tokens, z, log_prob in zip(got.tokens, got.z, got.log_prob, strict=True):
        assert log_prob[1:] == pytest.approx(by_hand(small, tokens, z), abs=1e-12)
    assert (got.log_prob[:, 0] == -np.log(20)).all()


def test_the_papers_generator_its_ranges_and_how_much_z_tells():
    w = sequences.weights()
    assert {k: a.shape for k, a in w.items()} == {
        "embedding": (1000, 100), "gates": (400, 202), "bias": (2, 400), "state": (100, 2),
        "out": (1000, 100), "direct": (1000, 2)}
    for name, a in w.items():
        top = 5 if name == "direct" else 1
        assert 0.97 * top < a.max() <= top and -top <= a.min() < -0.97 * top
        assert abs(a.mean()) < 5 * top / np.sqrt(3 * a.size)
    got = sequences.draw(w, 400)
    assert got.tokens.shape == (400, 10) and got.tokens.dtype == np.int64
    assert got.tokens.min() >= 0 and 990 < got.tokens.max() < 1000
    known = by_torch(w, got.tokens, got.z)
    assert np.abs(known - got.log_prob[:, 1:]).max() < 1e-9
    wrong = by_torch(w, got.tokens, np.roll(got.z, 1, axis=0))
    assert known.sum(1).mean() > wrong.sum(1).mean() + 50  # nats a sequence


def test_words_are_drawn_with_the_probabilities_that_are_told(small, monkeypatch):
    monkeypatch.setattr(sequences, "LENGTH", 3)
    got = sequences.draw(small)
    for word in range(20):  # had the last word been this one
        pair = np.column_stack([got.tokens[:, :2], np.full(20000, word)])
        p = np.exp(by_torch(small, pair, got.z)[:, 1])
        drawn, spread = (got.tokens[:, 2] == word).astype(float), np.sqrt((p * (1 - p)).sum())
        assert abs(drawn.sum() - p.sum()) < 5 * spread
        far = got.z[:, 0] > 0  # and so where z is to the right
        assert abs(drawn[far].sum() - p[far].sum()) < 5 * spread


def test_the_clusters_of_z_and_the_first_word(small, monkeypatch):
    monkeypatch.setattr(sequences, "LENGTH", 2)
    got = sequences.draw(small)
    assert got.tokens.shape == got.log_prob.shape == (20000, 2) and got.z.shape == (20000, 2)
    assert sorted(map(tuple, sequences.CENTRES)) == [(-2, -2), (-2, 2), (2, -2), (2, 2)]
    for k, centre in enumerate(sequences.CENTRES):
        z = got.z[got.cluster == k]
        assert abs(len(z) - 5000) < 5 * np.sqrt(20000 * 3 / 16)
        assert np.abs(z.mean(0) - centre).max() < 5 / np.sqrt(len(z))
        assert np.abs(np.cov(z.T) - np.eye(2)).max() < 5 * np.sqrt(2 / len(z))
    for rows in (got.cluster >= 0, got.cluster == 1):  # uniform, whatever z
        counts = np.bincount(got.tokens[rows, 0], minlength=20)
        spread = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert abs(spread - 19) < 5 * np.sqrt(2 * 19)


def test_a_draw_depends_on_the_seed_and_on_nothing_else(small, monkeypatch):
    first, whole = sequences.draw(small, 50), sequences.weights(20)
    np.random.seed(7)
    for again in (sequences.draw(small, 50), sequences.draw(small, 50, chunk=7)):
        assert np.array_equal(first.tokens, again.tokens) and np.array_equal(first.z, again.z)
    assert np.array_equal(sequences.weights(20)["out"], whole["out"])
    monkeypatch.setattr(sequences, "SEED", 2)
    assert not np.array_equal(first.tokens, sequences.draw(small, 50).tokens)
    assert not np.array_equal(sequences.weights(20)["out"], whole["out"])
    refuses("at least 2 words, and not 1", sequences.weights, 1)
    refuses("n is 0|at least 1", sequences.draw, small, 0)


def test_the_split_and_the_text_made_of_it(small, monkeypatch):
    monkeypatch.setattr(sequences, "weights", lambda vocabulary=1000: small)  # seconds less
    train, valid, test = sequences.generate()
    assert [len(part.tokens) for part in (train, valid, test)] == [16000, 2000, 2000]
    whole = sequences.draw(small)
    for i in range(4):
        assert np.array_equal(np.concatenate([train[i], valid[i], test[i]]), whole[i])
    got = text.load("synthetic")
    assert len(got.words) == 1004 and got.words[4] == "0" and got.words[-1] == "999"
    assert np.array_equal(got.valid.ids.reshape(2000, 12)[:, 1:-1], valid.tokens + 4)
    assert got.sentence(got.test[7]) == " ".join(map(str, test.tokens[7]))
    assert [len(b) for b in got.batches("train", 16)] == [16] * 1000
    assert got.complete and "another stream" in got.note and got.describe()["entries"] == 1004
    for settings in ({"size": 5}, {"limit": 20}):
        refuses("synthetic|leave out", text.load, "synthetic", **settings)


def test_a_smaller_synthetic_text_says_that_it_is_smaller():
    got = text.synthetic(vocabulary=20, count=50)
    assert [len(got.part(p)) for p in ("train", "valid", "test")] == [40, 5, 5]
    assert len(got.words) == 24 and not got.complete and "50 sequences of 20 words" in got.note
    assert got.train.ids.max() <= 23 and (got.test.lengths == 12).all()
    refuses("count=9|at least 10", text.synthetic, 20, 9)
    refuses("2 words", text.synthetic, 1, 50)
