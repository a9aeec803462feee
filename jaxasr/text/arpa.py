"""The ARPA file format for n-gram models, as SRILM and KenLM write and read it: `read_arpa` and `write_arpa`.

    \\data\\                            one line an order, then a section an order
    ngram 1=3
    ngram 2=2

    \\1-grams:
    -99     <s>    -0.3                log10 probability, the words, log10 back-off (none: 0)
    ...
    \\end\\
"""

import gzip
import re
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jaxasr.files import kind_of_file, limited_lines, open_whole
from jaxasr.text.ngram import Grams, NGram, gram_keys

_GZIP = b"\x1f\x8b"
_LINES_AT_ONCE = 100_000
_LONGEST_LINE = 1 << 20
_MOST_SKIPPED = 1 << 16  # bytes of blank lines, of the text before \data\ and of that after \end\


def read_arpa(path: Path) -> NGram:
    """Reads the model of an ARPA file, gzipped or not.

    Blanks or tabs separate numbers and words, the n-grams may have any order, and text before \\data\\ is skipped. A
    probability of -inf is read as -99. The first n - 1 words of an n-gram must be an n-gram of the file. The last n - 1 need
    not be, because SRILM prunes them.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not an ARPA file. The message has the line, its content and what is needed.
    """
    if not path.exists():
        raise FileNotFoundError(f"no ARPA file {path}; `jaxasr ngram` makes one, and so do KenLM and SRILM")
    if kind := kind_of_file(path):
        raise ValueError(f"{path} is {kind}; an ARPA file is needed")
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            reader = _ArpaReader(path, limited_lines(file.readline, path, longest=_LONGEST_LINE))
            model = _read(reader)
            while reader.next_line():  # to the trailer, which has the checksum
                reader.skip(reader.line)
            return model
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is cut off or damaged: {error}") from error


def write_arpa(model: NGram, path: Path) -> None:
    """Writes the file whole or not at all, gzipped if its name ends in .gz. Numbers are rounded to float32.

    Raises:
        ValueError: a word is empty or contains a blank.
    """
    odd = [word for word in model.words if not word or word.encode().split() != [word.encode()]]
    if odd:
        raise ValueError(f"words that an ARPA file can't hold, empty or with a blank: {odd[:5]}")
    with open_whole(path) as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                packed.writelines(_arpa_lines(model))
        else:
            raw.writelines(_arpa_lines(model))


@dataclass
class _ArpaReader:
    """A reader of the lines that are not blank. It keeps the current line and its number for error messages."""

    path: Path
    lines: Iterator[bytes]
    number: int = 0
    line: bytes = field(default=b"", init=False)  # b"" after the last line
    skipped: int = field(default=0, init=False)  # bytes that are no part of the model

    def next_line(self) -> bytes:
        for line in self.lines:
            self.number += 1
            self.line = line.strip()
            if self.line:
                return self.line
            self.skipped += len(line)
            if self.skipped > _MOST_SKIPPED:
                self.skip(b"")
        self.line = b""
        return self.line

    def skip(self, line: bytes) -> None:
        """Counts a line that is no part of the model. Raises ValueError if the file has more than 64 KiB of them."""
        self.skipped += len(line)
        if self.skipped > _MOST_SKIPPED:
            raise self.error(f"more than {_MOST_SKIPPED:,} bytes so far are no part of a model: this is no ARPA file")

    def error(self, text: str, number: int | None = None) -> ValueError:
        return ValueError(f"{self.path}:{number or self.number}: {text}")

    @property
    def shown(self) -> str:
        """The current line for an error message."""
        return repr(self.line.decode(errors="replace")[:80]) if self.line else "the end of the file"


@dataclass(frozen=True)
class _Section:
    """The contents of the section of one order, in the order of the file."""

    words: np.ndarray  # shape (grams, order)
    log10_probs: np.ndarray
    log10_back_offs: np.ndarray
    lines: np.ndarray  # line numbers


def _read(lines: _ArpaReader) -> NGram:
    counts = _header(lines)
    ids: dict[bytes, int] = {}
    orders: list[Grams] = []
    for order, count in enumerate(counts, start=1):
        orders.append(_sorted_grams(lines, _section(lines, order, count, ids), orders, list(ids)))
    if lines.line != b"\\end\\":
        raise lines.error(f"\\end\\ is needed behind the {len(counts)}-grams, there is {lines.shown}")
    try:
        return NGram(tuple(word.decode() for word in ids), tuple(orders))
    except UnicodeDecodeError as error:
        raise ValueError(f"{lines.path} has a word that is no UTF-8: {error.object!r}") from error


def _header(lines: _ArpaReader) -> list[int]:
    while lines.next_line() != b"\\data\\":
        if not lines.line:
            raise lines.error("this is no ARPA file: it has no line \\data\\")
        lines.skip(lines.line)
    counts: list[int] = []
    while found := re.fullmatch(rb"ngram\s+(\d{1,3})\s*=\s*(\d{1,12})", lines.next_line()):
        if int(found[1]) != len(counts) + 1:
            raise lines.error(f"the number of {len(counts) + 1}-grams is needed, there is {lines.shown}")
        counts.append(int(found[2]))
    if not counts:
        raise lines.error(f"a line such as 'ngram 1=5000' is needed behind \\data\\, there is {lines.shown}")
    return counts


def _section(lines: _ArpaReader, order: int, count: int, ids: dict[bytes, int]) -> _Section:
    """Reads the n-grams of an order and stops at the line after them. Adds single words to `ids` in the order of the file."""
    if lines.line != f"\\{order}-grams:".encode():
        raise lines.error(f"the line \\{order}-grams: is needed here, there is {lines.shown}")
    if order > 1 and count > len(ids) ** order:
        raise lines.error(f"\\data\\ says {count} {order}-grams; {len(ids)} words have {len(ids) ** order} of them")
    words = array("q")
    probs = array("d")
    back_offs = array("d")
    numbers = array("q")
    while (line := lines.next_line()) and not line.startswith(b"\\"):
        if len(probs) == count:
            raise lines.error(f"\\data\\ says {count} {order}-grams, there are more: {lines.shown}")
        fields = line.split()
        if not order < len(fields) < order + 3:
            raise lines.error(f"a probability, {order} words and perhaps a back-off are needed, there is {lines.shown}")
        if order == 1:
            if fields[1] in ids:
                raise lines.error(f"the word {fields[1].decode(errors='replace')!r} stands here a second time")
            ids[fields[1]] = len(ids)
        try:
            words.extend([ids[word] for word in fields[1 : order + 1]])
        except KeyError as error:
            word = error.args[0].decode(errors="replace")
            raise lines.error(f"the word {word!r} is not among the 1-grams") from None
        probs.append(_number(lines, fields[0], "log10 probability"))
        back_offs.append(_number(lines, fields[-1], "log10 back-off") if len(fields) == order + 2 else 0.0)
        numbers.append(lines.number)
    if len(probs) != count:
        raise lines.error(f"\\data\\ says {count} {order}-grams, there are {len(probs)} before {lines.shown}")
    grams = np.array(words, np.int64).reshape(-1, order)
    return _Section(grams, np.array(probs), np.array(back_offs), np.array(numbers, np.int64))


def _number(lines: _ArpaReader, text: bytes, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number != number or number == float("inf"):
        raise lines.error(f"a {what} is needed, there is {text[:40].decode(errors='replace')!r} in {lines.shown}")
    if what == "log10 probability" and number > 0:
        raise lines.error(f"a log10 probability of 0 or less is needed, there is {number} in {lines.shown}")
    return max(number, -99.0) if number == float("-inf") else number


def _sorted_grams(lines: _ArpaReader, section: _Section, orders: list[Grams], ids: list[bytes]) -> Grams:
    """Sorts the n-grams by context and word, and looks up the index of each context in the order below."""
    contexts = np.zeros(len(section.words), np.int64)
    last = section.words[:, -1]
    for n, grams in enumerate(orders):
        contexts = grams.find(contexts, section.words[:, n])
    lost = np.flatnonzero(contexts < 0)
    if len(lost):
        words: list[int] = section.words[lost[0]].tolist()
        gram = [ids[word].decode(errors="replace") for word in words]
        text = f"{' '.join(gram)!r} begins with what is no {len(orders)}-gram: {' '.join(gram[:-1])!r}"
        raise lines.error(text, int(section.lines[lost[0]]))
    order = np.argsort(gram_keys(contexts, last), kind="stable")
    keys = gram_keys(contexts[order], last[order])
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        first, second = (int(section.lines[order[twice[0] + i]]) for i in (0, 1))
        raise lines.error(f"the same {len(orders) + 1}-gram stands in line {first} already", second)
    return Grams(
        contexts=contexts[order].astype(np.int32),
        words=last[order].astype(np.int32),
        log10_probs=section.log10_probs[order],
        log10_back_offs=section.log10_back_offs[order],
    )


def _arpa_lines(model: NGram) -> Iterator[bytes]:
    yield b"\\data\\\n"
    for order, count in enumerate(model.counts, start=1):
        yield f"ngram {order}={count}\n".encode()
    texts = np.array([b""], object)  # the words of each context
    words = np.array([word.encode() for word in model.words], object)
    for order, grams in enumerate(model.orders, start=1):
        yield f"\n\\{order}-grams:\n".encode()
        texts = texts[grams.contexts] + words[grams.words]
        highest = order == model.order
        probs = grams.log10_probs.astype(np.float32)
        back_offs = grams.log10_back_offs.astype(np.float32)
        for first in range(0, len(grams), _LINES_AT_ONCE):
            some = slice(first, first + _LINES_AT_ONCE)
            lines = (
                b"%s\t%s\n" % (_format_number(prob), text)
                if highest
                else b"%s\t%s\t%s\n" % (_format_number(prob), text, _format_number(back))
                for prob, text, back in zip(probs[some], texts[some], back_offs[some], strict=True)
            )
            yield b"".join(lines)
        texts = texts + b" "
    yield b"\n\\end\\\n"


def _format_number(number: np.float32) -> bytes:
    """Formats a number with the fewest digits that identify it among float32 numbers."""
    return str(number).removesuffix(".0").encode() if number else b"0"
