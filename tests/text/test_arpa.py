"""ARPA files as SRILM and KenLM write them: reading, writing, and the errors for broken files."""

import gzip
import os
import tracemalloc

import numpy as np
import pytest

from jaxasr.text.arpa import read_arpa, write_arpa
from jaxasr.text.kneser_ney import estimate
from jaxasr.text.ngram import BEGIN, STOP, Grams, NGram, score
from tests.reference.back_off import as_dictionary

SRILM = """some words of whoever made it

\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-0.9\t</s>
-99\t<s>\t-0.5
-0.7\ta\t-0.25
-0.8\tÜB▁\t-0.125
-inf\t<unk>

\\2-grams:
-0.6\t<s> a
-0.3\ta ÜB▁\t-0.0625
-0.2\tÜB▁ </s>

\\3-grams:
-0.1\ta ÜB▁ </s>

\\end\\
and something behind
"""


@pytest.fixture
def write(tmp_path):
    """Returns `write(text)`, which writes a file and returns its path."""

    def write(text: str, name: str = "lm.arpa"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_what_srilm_writes_is_read(write, name):
    model = read_arpa(write(SRILM, name))
    assert model.words == ("</s>", "<s>", "a", "ÜB▁", "<unk>")
    assert (model.order, model.counts, model.unknown) == (3, (5, 3, 1), 4)
    assert as_dictionary(model) == {
        ("</s>",): (-0.9, 0.0),
        ("<s>",): (-99.0, -0.5),
        ("a",): (-0.7, -0.25),
        ("ÜB▁",): (-0.8, -0.125),
        ("<unk>",): (-99.0, 0.0),
        ("<s>", "a"): (-0.6, 0.0),
        ("a", "ÜB▁"): (-0.3, -0.0625),
        ("ÜB▁", "</s>"): (-0.2, 0.0),
        ("a", "ÜB▁", "</s>"): (-0.1, 0.0),
    }
    np.testing.assert_allclose(score(model, [["a", "ÜB▁"]]).log10_probs, [-0.6, -0.3, -0.1])


def test_blanks_line_ends_and_upper_case_unknowns_are_read_as_well(write):
    text = (
        SRILM.replace("\t", "  ").replace("\n", "\r\n").replace("<unk>", "<UNK>").replace("ngram 1=5", "ngram  1 = 5")
    )
    changed = read_arpa(write(text))
    plain = read_arpa(write(SRILM, "plain.arpa"))
    assert list(as_dictionary(changed).values()) == list(as_dictionary(plain).values())
    assert changed.id("whatever") == changed.ids["<UNK>"]


def test_blanks_of_other_alphabets_belong_to_words(write):
    word = "a\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}b"
    assert word in read_arpa(write(SRILM.replace("ÜB▁", word))).ids


def test_a_context_may_lack_its_own_suffix(write):
    """SRILM prunes n-grams that are suffixes of kept ones: here 'ÜB▁ </s>' of 'a ÜB▁ </s>'."""
    text = SRILM.replace("ngram 2=3", "ngram 2=2").replace("-0.2\tÜB▁ </s>\n", "")
    scores = score(read_arpa(write(text)), [["a", "ÜB▁"], ["ÜB▁"]])
    np.testing.assert_allclose(scores.log10_probs, [-0.6, -0.3, -0.1, -0.5 - 0.8, -0.125 - 0.9])


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_what_is_written_comes_back(rng, tmp_path, name):
    sentences = [list(rng.choice(list("abcdé"), size=rng.integers(0, 9))) for _ in range(50)]
    model = estimate(sentences, 4)
    write_arpa(model, tmp_path / name)
    back = read_arpa(tmp_path / name)
    assert back.words == model.words
    for found, grams in zip(back.orders, model.orders, strict=True):
        np.testing.assert_array_equal(found.contexts, grams.contexts)
        np.testing.assert_array_equal(found.words, grams.words)
        np.testing.assert_array_equal(found.log10_probs.astype(np.float32), grams.log10_probs.astype(np.float32))
        np.testing.assert_array_equal(
            found.log10_back_offs.astype(np.float32), grams.log10_back_offs.astype(np.float32)
        )
    write_arpa(back, tmp_path / f"again-{name}")
    assert (tmp_path / f"again-{name}").read_bytes() == (tmp_path / name).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_the_text_of_a_file(tmp_path):
    write_arpa(estimate([["a", "b"], ["a"]], 2), tmp_path / "lm.arpa")
    lines = (tmp_path / "lm.arpa").read_text().splitlines()
    assert lines[:7] == [
        "\\data\\",
        "ngram 1=5",
        "ngram 2=4",
        "",
        "\\1-grams:",
        "-0.90309\t<unk>\t0",
        "-99\t<s>\t-0.30103",
    ]
    assert lines[-5:] == ["-0.35902193\ta </s>", "-0.42596874\ta b", "-0.1627273\tb </s>", "", "\\end\\"]


BROKEN = {
    "no header": (SRILM.replace("\\data\\", "\\dater\\"), r":\d+: this is no ARPA file: it has no line \\data"),
    "no counts": (SRILM.replace("ngram", "n-gram"), r"lm.arpa:4: a line such as 'ngram 1=5000' .* 'n-gram 1=5'"),
    "counts out of order": (SRILM.replace("ngram 2=3\n", ""), r":5: the number of 2-grams is needed, .* 'ngram 3=1'"),
    "too few": (
        SRILM.replace("-0.2\tÜB▁ </s>\n", ""),
        r":19: \\data\\ says 3 2-grams, there are 2 before '\\\\3-grams:'",
    ),
    "too many": (SRILM.replace("ngram 2=3", "ngram 2=2"), r":18: \\data\\ says 2 2-grams, there are more"),
    "cut": (SRILM.partition("\\3")[0], r"the line \\3-grams: is needed here, there is the end of the file"),
    "cut within": (SRILM.partition("-0.2\t")[0], r"says 3 2-grams, there are 2 before the end of the file"),
    "no end": (SRILM.partition("\\end")[0], r"\\end\\ is needed behind the 3-grams, there is the end of the file"),
    "wrong order": (
        SRILM.replace("\\2-grams", "\\4-grams"),
        r":15: the line \\2-grams: is needed here, there is '\\\\4-",
    ),
    "one order too many": (SRILM.replace("ngram 3=1\n", ""), r"\\end\\ is needed behind the 2-grams"),
    "no number": (
        SRILM.replace("-0.3\t", "-0.x3\t"),
        r":17: a log10 probability is needed, there is '-0.x3' in '-0.x3\\ta",
    ),
    "nan": (SRILM.replace("-0.3\t", "nan\t"), r":17: a log10 probability is needed, there is 'nan'"),
    "no back-off": (SRILM.replace("-0.0625", "?"), r":17: a log10 back-off is needed, there is '\?'"),
    "positive": (SRILM.replace("-0.3\t", "0.3\t"), r":17: a log10 probability of 0 or less is needed, there is 0.3"),
    "too many fields": (SRILM.replace("-0.6\t<s> a", "-0.6\t<s> a 0 0"), r":16: a probability, 2 words and perhaps"),
    "too few fields": (SRILM.replace("-0.6\t<s> a", "-0.6\ta"), r":16: a probability, 2 words and perhaps a back-off"),
    "strange word": (SRILM.replace("-0.6\t<s> a", "-0.6\t<s> b"), r":16: the word 'b' is not among the 1-grams"),
    "word twice": (SRILM.replace("ÜB▁\t-0.125", "a\t-0.125"), r":12: the word 'a' stands here a second time"),
    "more than there can be": (
        SRILM.replace("ngram 2=3", "ngram 2=26"),
        r":15: \\data\\ says 26 2-grams; 5 words have 25 of them",
    ),
    "a count of 400 digits": (SRILM.replace("ngram 1=5", "ngram 1=" + "5" * 400), r":4: a line such as 'ngram 1=5000'"),
    "gram twice": (SRILM.replace("ÜB▁ </s>\n\n", "a ÜB▁\n\n"), r":18: the same 2-gram stands in line 17 already"),
    "no context": (SRILM.replace("a ÜB▁ </s>", "a a </s>"), r":21: 'a a </s>' begins with what is no 2-gram: 'a a'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_named_with_its_line(write, case):
    text, message = BROKEN[case]
    assert text != SRILM
    with pytest.raises(ValueError, match=message):
        read_arpa(write(text))


def test_files_that_are_no_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no ARPA file .*lost.arpa; `jaxasr ngram` makes one"):
        read_arpa(tmp_path / "lost.arpa")
    path = write(SRILM, "lm.gz")
    whole = path.read_bytes()
    for damaged in (whole[:-60], whole[:-1], whole[:-8], whole[:40] + b"\xff" * 40 + whole[80:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"lm\.gz is cut off or damaged"):
            read_arpa(path)
    path.write_bytes(SRILM.encode("latin-1", errors="replace"))
    with pytest.raises(ValueError, match="a word that is no UTF-8"):
        read_arpa(path)


MIB = 1 << 20
BOMBS = {
    "zeros": b"\0" * (16 * MIB),
    "blank lines": b"\n" * (16 * MIB),
    "lines before the model": b"some text\n" * MIB,
    "one line in the model": SRILM.encode().partition(b"-0.3")[0] + b"-0.3 " + b"a" * (16 * MIB),
    "lines behind the model": SRILM.encode() + b"-0.1 a\n" * MIB,
    "one gram for ever": SRILM.encode().partition(b"-0.2\t")[0] + b"-0.3 a </s>\n" * MIB,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_unpacks_to_a_large_one_takes_no_memory(write, tmp_path, kind):
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(BOMBS[kind], 1))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"longer than 1,048,576|65,536 bytes so far are no part|there are more"):
            read_arpa(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("special", ["pipe", "folder", "device"])
def test_only_regular_files_are_read(tmp_path, special):
    path = tmp_path / "lm.arpa"
    {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda path: os.symlink("/dev/zero", path)}[special](path)
    with pytest.raises(ValueError, match=rf"lm\.arpa is a .*{special}; an ARPA file is needed"):
        read_arpa(path)


def test_words_that_a_file_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match=r"can't hold, empty or with a blank: \['a b'\]"):
        write_arpa(estimate([["a b"]], 1), tmp_path / "lm.arpa")
    assert not list(tmp_path.iterdir())


def test_single_words_are_in_their_places():
    none = np.zeros(2, np.int32)
    numbers = np.zeros(2)
    with pytest.raises(ValueError, match="the 1-grams of an NGram are its 2 words"):
        NGram((BEGIN, STOP), (Grams(none, none, numbers, numbers),))
