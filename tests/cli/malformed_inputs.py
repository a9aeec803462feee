"""A generator of malformed inputs for the command line, seeded: the same inputs in every run.

A case is a command and the files it reads. Damage is of two kinds. Structural damage (a cut, a missing column, a wrong type,
a number out of range) is known to be detectable, so the command has to fail. Random damage (flipped and deleted bytes) may
leave a file that is well-formed, so the command may succeed. Neither may end in a traceback.
"""

import gzip
import io
import json
import random
import struct
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile

from tests.trained_run import TINY, TrainedRun, spoken, wav

SEED = 14
CASES = 500
HUGE = "9" * 400
BAD_NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1",
    HUGE,
    f"-{HUGE}",
    "1.5",
    "None",
    "'3'",
    "[1]",
    "1j",
    "True",
    "()",
    "²",
)
FOLDER = "{folder}"  # of the case, in its arguments


@dataclass(frozen=True)
class Case:
    """A command that reads malformed input."""

    name: str
    arguments: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)  # by path in the folder of the case
    environment: Mapping[str, str] = field(default_factory=dict)
    copies: tuple[str, ...] = ()  # "run", "data": folders of the trained run that the files are written into
    detectable: bool = True  # False: the damage may leave a well-formed input
    status: int = 1

    def words(self, folder: Path) -> list[str]:
        """Returns the command line for files in a folder."""
        return [word.replace(FOLDER, str(folder)) for word in self.arguments]


def cases(made: TrainedRun) -> list[Case]:
    """Returns CASES cases, with the families mixed."""
    rng = random.Random(SEED)
    families = [family(rng, made) for family in FAMILIES]
    found: list[Case] = []
    while families and len(found) < CASES:
        for family in list(families):
            try:
                found.append(next(family))
            except StopIteration:
                families.remove(family)
    assert len(found) >= CASES, len(found)
    return found[:CASES]


# Damage


def flipped(content: bytes, rng: random.Random) -> bytes:
    """Flips one to four bits."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def shortened(content: bytes, rng: random.Random) -> bytes:
    """Removes the end: at least a byte is left, and at least two are removed."""
    return content[: rng.randint(1, len(content) - 2)]


def spliced(content: bytes, rng: random.Random) -> bytes:
    """Removes, repeats or replaces a stretch of bytes."""
    begin = rng.randrange(len(content))
    end = min(len(content), begin + rng.randint(1, 40))
    middle = rng.choice([b"", content[begin:end] * 2, rng.randbytes(end - begin), b"\x00" * (end - begin), b"\n"])
    return content[:begin] + middle + content[end:]


# Families


def manifests(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields manifests in JSON Lines."""
    rows = [json.loads(line) for line in (made.wavs / "manifest.jsonl").read_text(encoding="utf-8").splitlines()][:3]
    audio = {row["audio"]: (made.wavs / row["audio"]).read_bytes() for row in rows}

    def case(name: str, content: bytes, **more: Any) -> Case:
        return _prepare(f"manifest.jsonl {name}", "manifest", audio | {"manifest.jsonl": content}, **more)

    def changed(**entries: object) -> bytes:
        return _json_lines([rows[0] | entries, *rows[1:]])

    yield case("empty", b"")
    yield case("blank lines", b"\n \n\n")
    yield case("null bytes", b"\x00" * 100)
    yield case("UTF-16", _json_lines(rows).decode().encode("utf-16"))
    yield case("cut", _json_lines(rows)[:-20])
    yield case("an array", b"[1, 2]\n" + _json_lines(rows))
    yield case("a number", b"3\n" + _json_lines(rows))
    yield case("nested deeply", b"[" * 100_000 + b"\n" + _json_lines(rows))
    yield case("a number of 5000 digits", b'{"id": ' + b"9" * 5_000 + b"}\n" + _json_lines(rows))
    yield case("no UTF-8", _json_lines(rows).replace(b"AB", b"\xff\xfe"))
    yield case("lone surrogate", _json_lines(rows).replace(b"AB", b"\\ud800"))
    for key in ("id", "audio", "text", "split"):
        yield case(f"without {key}", _json_lines([{k: v for k, v in rows[0].items() if k != key}, *rows[1:]]))
        yield case(f"{key} null", changed(**{key: None}))
        yield case(f"{key} a list", changed(**{key: ["AB"]}))
    for audio_path in ("gone.wav", ".", "/dev/zero", "a\x00b.wav", "x" * 5_000):
        yield case(f"audio {audio_path[:9]!r}", changed(audio=audio_path))
    for split in ("all", "a/b", "../x", " ", "train[:5]"):
        yield case(f"split {split!r}", changed(split=split))
    yield case("an id twice", _json_lines([rows[0], rows[0], rows[1]]))
    while True:
        damage = rng.choice([flipped, shortened, spliced])
        yield case(f"{damage.__name__} {rng.random():.6f}", damage(_json_lines(rows), rng), detectable=False)


def tables(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields manifests in CSV and TSV."""
    audio = {f"{n}.wav": (made.wavs / f"train-{n}.wav").read_bytes() for n in range(2)}
    head = "id,audio,text,speaker,split\n"
    good = head + "a,0.wav,AB,p,train\nb,1.wav,CAD,p,train\n"

    def case(name: str, content: bytes | str, suffix: str = "csv", **more: Any) -> Case:
        raw = content if isinstance(content, bytes) else content.encode()
        return _prepare(f"manifest.{suffix} {name}", "manifest", audio | {f"manifest.{suffix}": raw}, **more)

    yield case("header only", head)
    yield case("no header", good.removeprefix(head))
    yield case("open quotation mark", good.replace("AB", '"AB'))
    yield case("a cell too few", good.replace("a,0.wav,AB,p,train", "a,0.wav,AB,p"))
    yield case("a cell too many", good.replace("CAD", "CAD,CAD"))
    yield case("a null byte", good.replace("AB", "A\x00B"))
    yield case("a cell of 200 kB", good.replace("AB", "A" * 200_000))
    yield case("UTF-16", good.encode("utf-16"))
    yield case("no UTF-8", good.encode().replace(b"AB", b"\xe9"))
    yield case("colons", good.replace(",", ":"))
    yield case("commas", good, "tsv")
    yield case("a tab too many", good.replace(",", "\t").replace("AB", "A\tB"), "tsv")
    yield case("a column twice", good.replace("speaker", "text"), detectable=False)
    yield Case("manifest.csv beside manifest.tsv", _PREPARE, {"in/manifest.csv": b"", "in/manifest.tsv": b""})
    while True:
        damage = rng.choice([flipped, shortened, spliced])
        yield case(f"{damage.__name__} {rng.random():.6f}", damage(good.encode(), rng), detectable=False)


def recordings(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields WAV and FLAC files: their headers, cuts and contents."""
    sound = wav(spoken("ABBA"))
    flac = io.BytesIO()
    soundfile.write(flac, spoken("ABBA"), 16_000, format="FLAC")
    packed = flac.getvalue()

    def case(name: str, content: bytes, suffix: str = "wav", **more: Any) -> Case:
        row = {"id": "a", "audio": f"a.{suffix}", "text": "ABBA", "split": "train"}
        return _prepare(
            f"{suffix} {name}", "manifest", {f"a.{suffix}": content, "manifest.jsonl": _json_lines([row])}, **more
        )

    def header(offset: int, form: str, value: int) -> bytes:
        return sound[:offset] + struct.pack(form, value) + sound[offset + struct.calcsize(form) :]

    yield case("empty", b"")
    yield case("text", b"this is no audio\n" * 100)
    yield case("header only", sound[:44])
    for size in (4, 12, 20, 43):
        yield case(f"cut after {size} bytes", sound[:size])
    for share in (0.3, 0.7, 0.95):
        yield case(f"cut at {share:.0%}", sound[: int(share * len(sound)) // 2 * 2])
        yield case(f"cut at {share:.0%}", packed[: int(share * len(packed))], "flac")
    for offset, form, values in (
        (20, "<H", (0, 0x7777)),  # format
        (22, "<H", (0, 60_000)),  # channels
        (24, "<I", (0, 1, 2**32 - 1)),  # samples a second
        (34, "<H", (0, 7, 999)),  # bits of a sample
        (40, "<I", (0, len(sound) * 2)),  # bytes of data
    ):
        for value in values:
            yield case(f"header byte {offset} is {value}", header(offset, form, value))
    yield case("magic", b"fLaX" + packed[4:], "flac")
    yield case("stream info", packed[:8] + b"\x00" * 34 + packed[42:], "flac")
    for _ in range(12):
        yield case(f"flipped {rng.random():.6f}", packed[:100] + flipped(packed[100:], rng), "flac")  # CRC-16, MD5
    while True:
        yield case(f"spliced {rng.random():.6f}", spliced(sound, rng), detectable=False)


def archives(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields archives of AN4 and LibriSpeech, and gzipped text."""
    del made
    an4 = _an4_archive()
    lines = gzip.compress(b"YES I DO\nNO I DO NOT\n" * 50, mtime=0)

    def case(name: str, content: bytes, corpus: str = "an4", file: str = "an4.tar.gz") -> Case:
        return _prepare(f"{corpus} {name}", corpus, {file: content}, source=file)

    yield case("empty", b"")
    yield case("no archive", b"hello " * 1_000)
    yield case("another archive", _archive({"other/file.txt": b"hello"}))
    yield case("without transcripts", _archive({"an4/etc/an4_train.fileids": b"x/y/a-y-b\n"}))
    yield case(
        "transcripts that are no UTF-8", _archive({**_AN4, "an4/etc/an4_train.transcription": b"\xff\xfe (a)\n"})
    )
    for _ in range(6):
        yield case(f"cut {rng.random():.6f}", shortened(an4, rng))
    for _ in range(6):
        yield case(f"flipped {rng.random():.6f}", an4[:10] + flipped(an4[10:], rng))
    yield Case("librispeech another archive", _prepare_words("librispeech"), {"in/dev-clean.tar.gz": an4})
    yield Case("librispeech no archive", _prepare_words("librispeech"), {"in/dev-clean.tar.gz": b"hello"})
    yield Case("librispeech nothing", _prepare_words("librispeech"), {"in/other.tar.gz": an4})
    yield Case("librispeech part", (*_prepare_words("librispeech"), "parts=dev"), {"in/dev-clean.tar.gz": an4})
    for _ in range(4):
        yield case(f"gzip cut {rng.random():.6f}", shortened(lines, rng), "text", "lines.txt.gz")
        yield case(f"gzip flipped {rng.random():.6f}", lines[:10] + flipped(lines[10:], rng), "text", "lines.txt.gz")
    yield case("no gzip", b"YES\n", "text", "lines.txt.gz")
    yield case("no UTF-8", b"\xff\xfe\n" * 9 + b"YES\n", "text", "lines.txt")
    yield case("nothing", b"\n\n", "text", "lines.txt")
    for option in ("dev=nan", "dev=1", "dev=-0.1", f"dev={HUGE}", "dev=many", "devs=0.1", "name=a/b", "name=", "name"):
        words = (*_PREPARE[:1], "text", "--from", f"{FOLDER}/in/lines.txt", *_PREPARE[4:-1], option)
        yield Case(f"text {option[:12]}", words, {"in/lines.txt": b"YES\nNO\n"})


def overrides(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields overrides of an experiment."""
    fields = (
        "steps",
        "seed",
        "model.encoder.width",
        "optimizer.schedule.peak",
        "train_data.shapes.tokens",
        "ema_decay",
        "model.frontend.bins",
    )
    fields += (
        "objective.ctc_weight",
        "evals.train.search.width",
        "model.encoder.time_reduction",
    )
    syntax = (
        "seed",
        "=3",
        "seed=",
        "a..b=1",
        ".seed=1",
        "seed.=1",
        "seed=1 seed=2",
        "model.encoder.widht=4",
        "model=3",
    )
    syntax += (
        "model.encoder=Listener",
        "evals.best.search=3",
        "seed.x=1",
        "model.encoder.time_reduction.9=2",
        "\u017feed=1",
    )
    syntax += (
        "seed=" + "(" * 3_000,
        "seed=" + "9" * 5_000,
        "steps=0",
        "steps=-5",
        "model.encoder.width=0",
        "train_data.corpus=3",
    )
    syntax += (
        "optimizer.clip_norm=nan",
        "train_data.shapes.seconds=(nan,)",
        "train_data.shapes.seconds=()",
        "save_every=0",
    )
    for text in syntax:
        yield Case(f"override {text[:40]}", (*_show(made), *text.split(" ")), status=2 if text == "seed" else 1)
    while True:
        path, value = rng.choice(fields), rng.choice(BAD_NUMBERS)
        accepted = (path == "seed" and value == "-1") or (path, value) in _ACCEPTED
        yield Case(f"override {path}={value[:8]}", (*_show(made), f"{path}={value}"), detectable=not accepted)


_ACCEPTED = {("model.encoder.time_reduction", "()")}  # an encoder without reduction


def experiment_files(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields experiment files, tables and rules, and generators of variants."""
    base = "from dataclasses import replace\nfrom jaxasr import data, decode, nn, text, training\n"
    base += "from tests import tiny_experiments as tiny\n"
    bodies = ("def experiment(:", "import nothing_there", "1 / 0", "raise SystemExit(3)", "\x00", "experiment = 3", "")
    bodies += ("def experiment(): return 3", "def experiment(x): return x", "def experiment(): return experiment()")
    bodies += tuple(
        f"def experiment(): return replace(tiny.experiment(), {change})"
        for change in (
            "stepz=3",
            "steps='3'",
            "steps=None",
            "steps=float('inf')",
            f"seed={HUGE}",
            "model=3",
            "evals=[]",
            "evals={1: 2}",
            "validation=None",
            "optimizer=training.Adam(3)",
            "optimizer=training.Adam(training.Constant(float('nan')))",
            "train_data=tiny.experiment",
            "model=tiny.experiment().model.clone(ctc=3)",
            "model=tiny.experiment().model.clone(encoder=nn.Listener('wide', time_reduction=(2,)))",
            "objective=training.Objective(ctc_weight=2.0)",
            "train_data=replace(tiny.experiment().train_data, corpora='tones')",
            "evals={'a/b': tiny.experiment().validation}",
        )
    )
    for number, body in enumerate(bodies):
        words = ("show", f"{FOLDER}/file.py", "--data-dir", str(made.data_dir))
        yield Case(f"experiment {number} {body[:60]!r}", words, {"file.py": f"{base}{body}\n".encode()})
    generators = (
        "yield 'a', 3",
        "yield 'a'",
        "yield 'a/b', {}",
        "yield 'a', {1: 2}",
        "yield 'a', {'seed': 'x'}",
        "return",
        "1 / 0",
    )
    for generator in generators:
        content = f"{base}experiment = tiny.experiment\ndef some():\n    {generator}\n    yield from ()\n"
        yield Case(
            f"variants {generator}",
            ("sweep", f"{FOLDER}/file.py:some", "--workdir", FOLDER),
            {"file.py": content.encode()},
        )
    for content in ("def rules(): return 3", "def rules(): 1 / 0", "rules = 3", "def rules(:", "x = 1"):
        words = ("train", str(TINY), "--workdir", f"{FOLDER}/run", "--sharding-rules", f"{FOLDER}/rules.py")
        yield Case(f"rules {content}", words, {"rules.py": content.encode()})
    for content in (b"\xff\xfe", b"# coding: nothing\nx = 1\n", b"def experiment():\n\treturn 1\n        return 2\n"):
        yield Case(f"experiment bytes {content[:9]!r}", ("show", f"{FOLDER}/file.py"), {"file.py": content})
    yield Case("experiment a folder", ("show", FOLDER))
    yield Case("experiment no Python", ("show", f"{FOLDER}/file.txt"), {"file.txt": b"x"})
    while True:
        content = flipped(TINY.read_bytes(), rng)
        yield Case(
            f"experiment flipped {rng.random():.6f}",
            ("show", f"{FOLDER}/file.py"),
            {"file.py": content},
            detectable=False,
        )


def tokenizers(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields SentencePiece models and alphabets."""
    model = (TINY.parents[1] / "experiments" / "conformer_gulati2020" / "unigram_1000.model").read_bytes()
    code = "from jaxasr import text\nfrom tests import tiny_experiments as tiny\n"
    file = f"{code}T = text.SentencePiece('p.model', beside=__file__)\nT.encode('A')\nexperiment = tiny.experiment\n"

    def case(name: str, files: Mapping[str, bytes], content: str = file, **more: Any) -> Case:
        words = ("show", f"{FOLDER}/file.py", "--data-dir", str(made.data_dir))
        return Case(f"tokenizer {name}", words, {"file.py": content.encode(), **files}, **more)

    yield case("missing", {})
    yield case("empty", {"p.model": b""})
    yield case("text", {"p.model": b"hello\n" * 50})
    yield case("another digest", {"p.model": model}, file.replace("'p.model'", "'p.model', 'deadbeef'"))
    for alphabet in ("", "AA", 3, None):
        yield case(
            f"alphabet {alphabet!r}",
            {},
            f"{code}T = text.Characters({alphabet!r})\nT.encode('A')\nexperiment = tiny.experiment\n",
        )
    while True:
        damage = rng.choice([flipped, shortened, spliced])
        yield case(f"{damage.__name__} {rng.random():.6f}", {"p.model": damage(model, rng)}, detectable=False)


def n_grams(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields ARPA files that a search fuses."""
    good = "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-1.0\t<s>\t-0.3\n-1.0\t</s>\n-0.5\tA\t-0.2\n-0.6\tB\n"
    good += "\n\\2-grams:\n-0.3\t<s> A\n-0.4\tA B\n\n\\end\\\n"
    file = "from dataclasses import replace\nfrom jaxasr import decode\nfrom tests import tiny_experiments as tiny\n"
    file += "def experiment():\n    e = tiny.experiment()\n"
    file += "    search = decode.Beam(2, scorers=(decode.LmScorer('words', 0.3),))\n"
    file += "    return replace(e, evals={'train': replace(e.validation, search=search)})\n"

    def case(name: str, content: bytes | str, suffix: str = "arpa", **more: Any) -> Case:
        raw = content if isinstance(content, bytes) else content.encode()
        words = ("transcribe", f"{FOLDER}/file.py", str(made.wavs / "train-0.wav"), "--workdir", str(made.workdir))
        files = {"file.py": file.encode(), f"lm.{suffix}": raw}
        return Case(f"arpa {name}", (*words, "--lm", f"words={FOLDER}/lm.{suffix}"), files, **more)

    yield case("empty", "")
    yield case("text", "hello\n" * 100)
    yield case("without end", good.replace("\\end\\\n", ""))
    yield case("without data", good.replace("\\data\\\n", ""))
    for was, now in (("1=4", "1=5"), ("2=2", "2=1"), ("2=2", f"2={HUGE}"), ("1=4", "2=4"), ("1=4", "1=-4")):
        yield case(f"count {now[:5]}", good.replace(f"ngram {was}", f"ngram {now}"))
    for number in ("nan", "inf", "0.5", "x", "", f"-1e{HUGE}x"):
        yield case(f"probability {number[:5]}", good.replace("-0.5\tA", f"{number}\tA"))
    yield case("a word twice", good.replace("-0.6\tB", "-0.6\tA"))
    yield case("an unknown word", good.replace("A B", "A C"))
    yield case("an n-gram twice", good.replace("A B", "<s> A"))
    yield case("no UTF-8", good.encode().replace(b"\tB", b"\t\xff").replace(b" B", b" \xff"))
    yield case("gzip cut", gzip.compress(good.encode())[:-9], "arpa.gz")
    yield case("gzip flipped", _flip_at(gzip.compress(good.encode(), mtime=0), -6), "arpa.gz")
    yield case("no line ends", good.replace("\n", " "))
    while True:
        yield case(f"cut {rng.random():.6f}", good.encode()[: rng.randint(1, len(good) - 8)])


def results(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields files of results and table files."""
    row = json.loads((made.workdir / "results.jsonl").read_text(encoding="utf-8").splitlines()[-1]) | {"name": "run"}
    file = "from jaxasr.report import Cell, Column, Row\nCOLUMNS = (Column('test'),)\nROWS = (Row('one', 'run', {}),)\n"

    def case(name: str, content: bytes, table: str = file, **more: Any) -> Case:
        return Case(
            f"results {name}", ("table", f"{FOLDER}/t.py"), {"t.py": table.encode(), "results.jsonl": content}, **more
        )

    for key in ("name", "split", "wer", "experiment", "search", "intervals", "commit", "lms", "steps", "trained"):
        for value in (["x"], HUGE[:3] if key not in ("name", "split", "experiment", "commit") else 3):
            yield case(f"{key} is {value!r}", _json_lines([row | {key: value}]))
    for key in ("wer", "search", "intervals", "commit", "experiment"):
        yield case(f"without {key}", _json_lines([{k: v for k, v in row.items() if k != key}]))
    yield case("interval of text", _json_lines([row | {"intervals": {"wer": ["a", "b"]}}]))
    yield case("interval of one", _json_lines([row | {"intervals": {"wer": [0.1]}}]))
    yield case("wer of 400 digits", _json_lines([row]).replace(b'"wer": ', b'"wer": ' + HUGE.encode(), 1))
    tables = ("COLUMNS = 3", "ROWS = (3,)", "ROWS = (Row('one', 3),)", "ROWS = (Row('one', 'run', {'no': None}),)")
    tables += ("ROWS = (Row('one', 'run', {'test': Cell('x', 'C')}),)", "ROWS = (Row('one', 'run', {'test': 3}),)")
    tables += ("COLUMNS = (Column('test', metric='ter'),)", "COLUMNS = (Column(3),)", "def f(:", "1 / 0")
    for table in tables:
        yield case(f"table {table}", _json_lines([row]), f"{file}{table}\n")
    yield Case("results missing", ("table", f"{FOLDER}/t.py", "--results", f"{FOLDER}/none"), {"t.py": file.encode()})
    while True:
        yield case(f"spliced {rng.random():.6f}", spliced(_json_lines([row, row]), rng), detectable=False)


def tunings(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields files of `tune-decoding`, calibrations and hotwords for `transcribe`."""
    good: dict[str, Any] = {"split": "train", "search": {"width": "3"}, "of": ["width = 3"]}
    words = ("transcribe", str(TINY), str(made.wavs / "train-0.wav"), "--workdir", str(made.workdir))

    def case(name: str, content: bytes) -> Case:
        return Case(f"tuned.json {name}", (*words, "--tuned", f"{FOLDER}/tuned.json"), {"tuned.json": content})

    for key in good:
        for value in (3, None, [3], {"a": 1}, {"width": HUGE}):
            if (key, value) != ("search", {"width": HUGE}):
                yield case(f"{key} is {str(value)[:20]}", json.dumps(good | {key: value}).encode())
        yield case(f"without {key}", json.dumps({k: v for k, v in good.items() if k != key}).encode())
    yield case("another search", json.dumps(good).encode())
    for content in (b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000):
        yield case(f"{content[:5]!r}", content)
    for content in (b"", b"\n\n", b"\xff\n", b"1 2 3\n"):
        hot = (*words, "--search", "beam", "--hotwords", f"{FOLDER}/hot.txt")
        yield Case(f"hotwords {content!r}", hot, {"hot.txt": content})
    platts = (
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"slope": "x", "offset": 0}',
        b'{"slope": null, "offset": 0}',
        b"\xff",
        b"[" * 100_000,
    )
    platts += (
        b'{"slope": NaN, "offset": 0}',
        b'{"slope": 1e999, "offset": 0}',
        b'{"slope": ' + HUGE.encode() + b', "offset": 0}',
    )
    for content in platts:
        run = (*words[:-1], f"{FOLDER}/run")
        yield Case(f"confidence.json {content[:30]!r}", run, {"run/confidence.json": content}, copies=("run",))
    for spec in ("words", "=a", "words=", "words=a.txt", "words=none.arpa", "words=a.py@none"):
        yield Case(f"--lm {spec}", (*words, "--lm", spec), status=2 if spec in ("words", "=a", "words=") else 1)


def workdirs(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields damaged workdirs and prepared corpora."""
    train = ("train", str(TINY), "--workdir", f"{FOLDER}/run", "--data-dir", str(made.data_dir))
    lines = (
        b"hello\n",
        b"[]\n",
        b'{"step": "x"}\n',
        b'{"step": 1e999}\n',
        b'{"step": 1, "a": null}\n',
        b"\xff\n",
        b'{"a": 1}\n',
    )
    for line in lines:
        content = line + (made.workdir / "metrics.jsonl").read_bytes()
        yield Case(f"metrics.jsonl {line!r}", train, {"run/metrics.jsonl": content}, copies=("run",))
    for content in (b"", b"hello", b"\xff\xfe", b"model.encoder.width = 7\n", b"seed = 9" + HUGE.encode()):
        yield Case(f"experiment.txt {content[:9]!r}", train, {"run/experiment.txt": content}, copies=("run",))
    show = ("train", str(TINY), "--workdir", f"{FOLDER}/new", "--data-dir", f"{FOLDER}/data")
    inside = made.data_dir / "tones" / "1.0.0"
    info = json.loads((inside / "prepared.json").read_text(encoding="utf-8"))
    documents: list[bytes] = [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000]
    for change in (
        {"format": 99},
        {"splits": 3},
        {"splits": {"train": 3}},
        {"splits": {"train": {}}},
        {"recipe": None, "splits": {}},
    ):
        documents.append(json.dumps(info | change).encode())
    for entry in (
        {"examples": "x"},
        {"examples": HUGE},
        {"shards": 3},
        {"shards": [{"file": 3}]},
        {"examples": 7},
        {"index_sha256": 3},
    ):
        documents.append(
            json.dumps(info | {"splits": info["splits"] | {"train": info["splits"]["train"] | entry}}).encode()
        )
    for content in documents:
        name = f"prepared.json {content[:20]!r} {len(content)}"
        yield Case(name, show, {"data/tones/1.0.0/prepared.json": content}, copies=("data",))
    for file in ("index-train.jsonl", "tones-train.array_record-00000-of-00001"):
        content = (inside / file).read_bytes()
        yield Case(f"{file} empty", show, {f"data/tones/1.0.0/{file}": b""}, copies=("data",))
        for damage in (shortened, shortened, spliced):
            damaged = damage(content, rng)
            if file.startswith("index") or len(damaged) != len(content):
                yield Case(
                    f"{file} {damage.__name__} {rng.random():.6f}",
                    show,
                    {f"data/tones/1.0.0/{file}": damaged},
                    copies=("data",),
                )
    transcribe = (
        "transcribe",
        str(TINY),
        str(made.wavs / "train-0.wav"),
        "--workdir",
        f"{FOLDER}/run",
        "--checkpoint",
        "160",
    )
    for file in ("metadata/metadata", "state/_METADATA", "_CHECKPOINT_METADATA"):
        for content in (b"", b"{", b"[]", b"\xff", b"null"):
            name = f"run/checkpoints/160/{file}"
            yield Case(
                f"{file} {content!r}",
                transcribe,
                {name: content},
                copies=("run",),
                detectable=file == "metadata/metadata",
            )


def comparisons(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields files of hypotheses for `compare`."""
    content = (made.workdir / "hypotheses.train.jsonl").read_bytes()
    rows = [json.loads(line) for line in content.splitlines()]

    def case(name: str, damaged: bytes, file: str = "b.jsonl", **more: Any) -> Case:
        words = ("compare", f"{FOLDER}/a.jsonl", f"{FOLDER}/{file}")
        return Case(f"hypotheses {name}", words, {"a.jsonl": content, file: damaged}, **more)

    for value in (None, "x", -1, 1.5, [1], HUGE, {"a": 1}):
        for key in ("words", "substitutions"):
            yield case(f"{key} {str(value)[:9]}", _json_lines([rows[0] | {key: value}, *rows[1:]]), detectable=False)
    for key in ("id", "reference", "hypothesis"):
        for value in (None, 3, ["x"]):
            yield case(f"{key} {value!r}", _json_lines([rows[0] | {key: value}, *rows[1:]]))
        yield case(f"without {key}", _json_lines([{k: v for k, v in rows[0].items() if k != key}, *rows[1:]]))
    yield case("empty", b"")
    yield case("one less", _json_lines(rows[1:]))
    yield case("an id twice", _json_lines([*rows, rows[0]]))
    yield case("another reference", _json_lines([rows[0] | {"reference": "ZZ"}, *rows[1:]]))
    for name, damaged in {
        "arrays": b"[1]\n",
        "text": b"hello\n",
        "no UTF-8": b"\xff\n",
        "nested": b"[" * 100_000 + b"\n",
    }.items():
        yield case(name, content + damaged)
    yield case("trn without ids", b"HELLO WORLD\n", "b.trn")
    yield Case("compare one", ("compare", f"{FOLDER}/a.jsonl"), {"a.jsonl": content})
    yield Case("compare nothing", ("compare", f"{FOLDER}/*.jsonl", f"{FOLDER}/a.jsonl"), {"b": content})
    while True:
        damage = rng.choice([flipped, shortened, spliced])
        yield case(f"{damage.__name__} {rng.random():.6f}", damage(content, rng), detectable=False)


def launches(rng: random.Random, made: TrainedRun) -> Iterator[Case]:
    """Yields variables of a launcher and options of a command."""
    del rng
    job = {"JAXASR_COORDINATOR": "127.0.0.1:9", "JAXASR_PROCESSES": "2", "JAXASR_PROCESS": "1", "JAXASR_START_S": "1"}
    train = ("train", str(TINY), "--workdir", f"{FOLDER}/run", "--data-dir", str(made.data_dir))
    changes = [{name: value} for name in list(job)[1:] for value in ("x", "-1", "1.5", "²", "nan", "9" * 5_000)]
    changes += [
        {"JAXASR_COORDINATOR": value} for value in ("", "host", "host:", "host:0", "host:99999", "host:²", ":9")
    ]
    changes += [
        {"JAXASR_PROCESS": "2"},
        {"JAXASR_PROCESSES": "0"},
        {"JAXASR_DISTRIBUTED": "always"},
        {"JAXASR_HEARTBEAT_S": "0"},
    ]
    for change in changes:
        ((name, value),) = change.items()
        yield Case(f"{name}={value[:9]}", train, environment=job | change)
    for mesh in ("data", "data=x", "width=2", "data=2,data=2", f"data={HUGE}", "data=²", "fsdp=-1"):
        yield Case(f"--mesh {mesh[:9]}", (*train, "--mesh", mesh))
    for topology in ("", "v5e", "v5e:0x4", "v9:2x2", f"cpu:{HUGE}", "h100x0:2", "cpu:²"):
        yield Case(
            f"--topology {topology[:9]}", ("plan", str(TINY), "--topology", topology, "--data-dir", str(made.data_dir))
        )
    for option, value in (
        ("--window-s", "inf"),
        ("--batch-size", "0"),
        ("--hotword-bonus", "nan"),
        ("--checkpoint", "²"),
    ):
        words = ("transcribe", str(TINY), "a.wav", "--workdir", FOLDER, f"{option}={value}")
        yield Case(f"{option}={value}", words, status=2)
    for axis in ("ctc_weight=nan", "ctc_weight=0.1,inf", f"ctc_weight={HUGE}", "width=x", "widht=3"):
        words = (
            "tune-decoding",
            str(TINY),
            "--workdir",
            str(made.workdir),
            "--data-dir",
            str(made.data_dir),
            "--grid",
            axis,
        )
        yield Case(f"--grid {axis[:20]}", words)


Family = Callable[[random.Random, TrainedRun], Iterator[Case]]
FAMILIES: tuple[Family, ...] = (
    manifests, tables, recordings, archives, overrides, experiment_files, tokenizers, n_grams, results, tunings, workdirs,
    comparisons, launches,
)  # fmt: skip

_PREPARE = (
    "prepare",
    "manifest",
    "--from",
    f"{FOLDER}/in",
    "--data-dir",
    f"{FOLDER}/data",
    "--max-bad-share=0",
    "name=malformed",
)
_AN4 = {
    "an4/etc/an4_train.fileids": b"an4_clstk/fash/a-fash-b\nan4_clstk/fash/c-fash-b\n",
    "an4/etc/an4_train.transcription": b"<s> AB </s> (a-fash-b)\n<s> BA </s> (c-fash-b)\n",
    "an4/etc/an4_test.fileids": b"an4test_clstk/mewu/d-mewu-b\n",
    "an4/etc/an4_test.transcription": b"CAB (d-mewu-b)\n",
    "an4/wav/an4_clstk/fash/a-fash-b.wav": wav(spoken("AB")),
    "an4/wav/an4_clstk/fash/c-fash-b.wav": wav(spoken("BA")),
    "an4/wav/an4test_clstk/mewu/d-mewu-b.wav": wav(spoken("CAB")),
}


def _prepare(name: str, corpus: str, files: Mapping[str, bytes], *, source: str = "", **more: Any) -> Case:
    words = (
        _prepare_words(corpus)
        if not source
        else (*_prepare_words(corpus)[:3], f"{FOLDER}/in/{source}", *_prepare_words(corpus)[4:])
    )
    words = (*words, "name=malformed") if corpus != "librispeech" else words
    return Case(name, words, {f"in/{path}": content for path, content in files.items()}, **more)


def _prepare_words(corpus: str) -> tuple[str, ...]:
    return (_PREPARE[0], corpus, *_PREPARE[2:-1])


def _show(made: TrainedRun) -> tuple[str, ...]:
    return ("show", str(TINY), "--data-dir", str(made.data_dir))


def _json_lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _an4_archive() -> bytes:
    return _archive(_AN4)


def _archive(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return file.getvalue()


def _flip_at(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)
