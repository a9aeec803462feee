"""The synthetic corpus depends on its seed alone, and its splits share neither voices nor word sequences."""

import importlib.util
import zlib
from pathlib import Path

import numpy as np
import pytest

from jaxasr.data import Corpus, decode_audio
from jaxasr.data.corpora import espeak, phrases, spoken
from jaxasr.data.corpora.espeak import Request, Synthesizer
from jaxasr.data.corpora.phrases import sample_phrase, split_of
from jaxasr.data.corpora.spoken import VARIANTS, SpokenPhrases
from jaxasr.data.prepared.prepare import prepare

with_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="eSpeak NG comes with the extra `quickstart`"
)
SIZES = {"train": 12, "dev": 4, "test": 6}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a data dir with a small `spoken`."""
    data_dir = tmp_path_factory.mktemp("spoken")
    prepare(SpokenPhrases(**SIZES), data_dir)
    return data_dir


def test_word_sequences_of_one_split_are_never_said_in_another(rng: np.random.Generator):
    said = {split: {sample_phrase(split, rng) for _ in range(500)} for split in ("train", "dev", "test")}
    assert not said["train"] & said["test"]
    assert not said["train"] & said["dev"]
    assert not said["dev"] & said["test"]
    assert all(len(texts) > 250 for texts in said.values())
    words = {split: {word for text in said[split] for word in text.split()} for split in said}
    assert words["dev"] | words["test"] <= words["train"]
    assert len(words["train"]) == 58


def test_every_kind_of_phrase_is_in_every_split(rng: np.random.Generator):
    for split in ("train", "dev", "test"):
        some = [sample_phrase(split, rng) for _ in range(100)]
        assert any(text.split()[0] in phrases.DIGITS for text in some)
        assert any("THE" in text and any(month in text for month in phrases.MONTHS) for text in some)
        assert any(text[1] == " " for text in some)
        assert any("MUSIC" in text or "DOOR" in text or "LIGHT" in text for text in some)
        assert all(split_of(text) == split for text in some)


def test_no_voice_speaks_in_two_splits():
    everyone = [variant for variants in VARIANTS.values() for variant in variants]
    assert len(everyone) == len(set(everyone)) == 42


@with_espeak
def test_it_follows_from_the_seed_whatever_the_sizes(data_dir: Path, tmp_path: Path):
    prepare(SpokenPhrases(train=5, dev=4, test=6), tmp_path)
    for split, size in {"train": 5, "dev": 4, "test": 6}.items():
        first, again = (Corpus("spoken", split).open(folder) for folder in (data_dir, tmp_path))
        assert [first.read(i) for i in range(size)] == [again.read(i) for i in range(size)]
    assert Corpus("spoken", "dev").open(data_dir).manifest_hash == Corpus("spoken", "dev").open(tmp_path).manifest_hash
    prepare(SpokenPhrases(train=5, dev=4, test=6, seed=1), tmp_path, overwrite=True)
    assert Corpus("spoken", "dev").open(data_dir).texts != Corpus("spoken", "dev").open(tmp_path).texts


@with_espeak
def test_what_is_prepared_is_speech_at_16_khz(data_dir: Path):
    train = Corpus("spoken", "train").open(data_dir)
    assert len(train) == 12
    assert set(train.rates_hz.tolist()) == {16_000}
    seconds = train.samples / 16_000
    assert seconds.min() > 0.5
    assert seconds.max() < 6.0
    for i in range(len(train)):
        wave_n = decode_audio(train.read(i), id=train.ids[i])
        assert 0.15 < np.abs(wave_n).max() / 32_768 < 0.95
        edge = np.std(wave_n[:400].astype(float))
        middle = np.std(wave_n[4000:-4000].astype(float))
        assert middle > 1.5 * edge  # the pause before the speech is quieter


@with_espeak
def test_every_voice_and_accent_can_be_synthesised():
    """A new process gives bit-equal samples with every chosen voice."""
    voices = [
        f"{spoken.ACCENTS[n % 8]}+{name}" for n, name in enumerate(n for names in VARIANTS.values() for n in names)
    ]

    def sums() -> list[int]:
        with Synthesizer() as synthesizer:
            return [zlib.crc32(synthesizer.synthesize(Request("ONE G SIX", voice, 160, 50, 50, 1))) for voice in voices]

    once = sums()
    assert len(set(once)) == len(voices)
    assert once == sums()


@with_espeak
def test_an_unknown_voice_is_named():
    with Synthesizer() as synthesizer, pytest.raises(RuntimeError, match=r"could not say .*no-such-voice"):
        synthesizer.synthesize(Request("ONE", "no-such-voice", 160, 50, 50, 0))


def test_without_espeak_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(espeak.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install jaxasr\[quickstart\]"):
        prepare(SpokenPhrases(), tmp_path)


@pytest.mark.parametrize("size", [{"train": 0}, {"dev": -1}, {"seed": -1}])
def test_sizes_are_checked_at_once(size: dict[str, int]):
    with pytest.raises(ValueError, match="at least"):
        SpokenPhrases(**size)
