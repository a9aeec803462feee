"""A few utterances, and the check that a folder in another format holds the same ones as the project's own manifest."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jaxasr.data import Corpus
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.prepared.prepare import prepare


@dataclass(frozen=True)
class Utterance:
    """An utterance with an id of the form SPEAKER-BOOK-NUMBER, as LibriSpeech has them."""

    id: str
    split: str
    text: str
    audio: bytes

    @property
    def speaker(self) -> str:
        """The speaker."""
        return self.id.split("-")[0]


@pytest.fixture(scope="session")
def utterances(tone: Callable[..., bytes]) -> list[Utterance]:
    """Returns three utterances of train and two of dev."""
    rows = {
        "19-198-0000": ("train", "HELLO YOU"),
        "19-198-0001": ("train", "ÜBER ALLES"),
        "26-495-0000": ("train", 'SAY "NO"'),
        "84-121-0000": ("dev", "GO ON"),
        "84-121-0001": ("dev", "IT'S 3 O'CLOCK"),
    }
    return [
        Utterance(id, split, text, tone(0.2 + 0.05 * number, pitch_hz=300.0 + 50 * number))
        for number, (id, (split, text)) in enumerate(rows.items())
    ]


Contents = dict[str, list[tuple[str, bytes]]]


def prepared(source: Manifest, data_dir: Path) -> Contents:
    """Prepares a corpus and returns text and audio bytes of its utterances by split."""
    splits = prepare(source, data_dir, max_bad_share=0.0).splits
    opened = {split: Corpus(source.name, split).open(data_dir) for split in splits}
    return {split: [(corpus.texts[i], corpus.read(i)) for i in range(len(corpus))] for split, corpus in opened.items()}


@pytest.fixture(scope="session")
def own(utterances: list[Utterance], tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """Returns the utterances as they are prepared from the project's own manifest."""
    folder = tmp_path_factory.mktemp("own")
    rows = []
    for row in utterances:
        (folder / f"{row.id}.flac").write_bytes(row.audio)
        rows.append({"id": row.id, "audio": f"{row.id}.flac", "text": row.text, "split": row.split})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return prepared(Manifest(folder, "own"), folder / "data")


@pytest.fixture
def assert_same(own: Contents, tmp_path: Path) -> Callable[..., None]:
    """Returns `assert_same(folder, title, **options)`: it is recognised as `title` and has the utterances of `own`."""

    def check(folder: Path, title: str, **options: str) -> None:
        source = Manifest(folder, "other", **options)  # pyright: ignore[reportArgumentType]
        assert next(source.origin()) == f"{folder} is read as {title}:"
        assert prepared(source, tmp_path / "prepared") == own

    return check


@pytest.fixture
def write_audio(utterances: list[Utterance]) -> Callable[..., None]:
    """Returns `write_audio(path_of)`, which writes the audio of each utterance to `path_of(utterance)`."""

    def write(path_of: Callable[[Utterance], Path]) -> None:
        for row in utterances:
            path = path_of(row)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row.audio)

    return write
