"""The no-speech decision of a run: its calibration on speech of the validation split and on made sounds, and its file.

The windows of speech are heard as they are, with noise at 20 and 10 dB, and quietly. A window counts as many times as it has
words: those that are right for speech, since no other word is lost with the window, and all of them for the made sounds.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from jaxasr.data import BoundPipeline, decode_audio
from jaxasr.data.non_speech import FOR_CALIBRATION, changed_speech, made_sound
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.report import Progress
from jaxasr.score.confidence import words_right
from jaxasr.score.no_speech import NoSpeechMap, SpeechEvidence, fit_no_speech
from jaxasr.transcription.batch_transcriber import BatchTranscriber

NO_SPEECH_THRESHOLD = 0.5  # probability of no speech from which on the words of a window are withheld
SPEECH_WINDOWS = 60  # utterances of the validation split, each in all CONDITIONS
SOUND_WINDOWS = 20  # windows of each made sound
LEVELS_DB = (-55.0, -40.0, -25.0, -12.0)  # of the made sounds, in turn
CONDITIONS: tuple[tuple[float, float | None], ...] = ((0.0, None), (0.0, 20.0), (0.0, 10.0), (-30.0, None))  # gain, SNR


class ScoredWindow(NamedTuple):
    """A window of a known kind with the scores of its hypothesis."""

    evidence: SpeechEvidence
    speech: bool
    words: int  # that would be lost if it were withheld: right ones of speech, all of other sounds


def load_no_speech_map(workdir: Workdir, *, ctc: bool) -> NoSpeechMap:
    """Returns the map that `jaxasr calibrate` has stored in the workdir, or the default one.

    Args:
        ctc: True if the model has a CTC head.

    Raises:
        ValueError: the file is damaged, or belongs to a model with another head.
    """
    path = workdir.no_speech
    if not path.exists():
        return NoSpeechMap.default(ctc=ctc)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        weights = NoSpeechMap(*(float(kept[name]) for name in ("decoder_weight", "ctc_weight", "offset")))
        if weights.ctc_weight and not ctc:
            raise ValueError("it reads a CTC head, which the model lacks")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, or make it again with jaxasr calibrate") from error
    return weights


def calibrate_no_speech(
    transcriber: BatchTranscriber, data: BoundPipeline, workdir: Workdir
) -> tuple[NoSpeechMap, str]:
    """Fits the map of the no-speech decision, stores it in the workdir, and returns it with a line about its errors.

    Args:
        transcriber: the model and search of transcription.
        data: the validation split.

    Raises:
        ValueError: no word of the speech is right.
    """
    generator = np.random.default_rng(0)
    windows = [*_speech(transcriber, data, generator), *_sounds(transcriber, data, generator)]
    evidence = [window.evidence for window in windows]
    speech = np.array([window.speech for window in windows])
    words_n = np.array([window.words for window in windows], np.float64)
    fitted = fit_no_speech(evidence, speech, words_n)
    withheld = np.array([fitted(scores) >= NO_SPEECH_THRESHOLD for scores in evidence])
    lost, kept = (
        float(words_n[kind & chosen].sum() / words_n[kind].sum())
        for kind, chosen in ((speech, withheld), (~speech, ~withheld))
    )
    measures = {
        "threshold": NO_SPEECH_THRESHOLD,
        "right_words_lost": round(lost, 6),
        "other_words_kept": round(kept, 6),
    }
    about = {"fitted_on": "validation", "speech_windows": int(speech.sum()), "sound_windows": int((~speech).sum())}
    write_whole(workdir.no_speech, json.dumps(asdict(fitted) | about | measures, indent=1) + "\n")
    return fitted, (
        f"no speech: {len(windows)} windows; from a probability of {NO_SPEECH_THRESHOLD:g} on, {lost:.2%} of the right words "
        f"of speech are withheld, and {1 - kept:.2%} of the words written for made sounds"
    )


def _speech(
    transcriber: BatchTranscriber, data: BoundPipeline, generator: np.random.Generator
) -> Iterator[ScoredWindow]:
    """Yields utterances, spread over the split, in all conditions; longer ones than a window are left out."""
    chosen: list[int] = np.unique(np.linspace(0, len(data.ids) - 1, SPEECH_WINDOWS).round().astype(int)).tolist()
    waves: list[np.ndarray] = []
    texts: list[str] = []
    for example in chosen:
        wave_n = decode_audio(data.read(example), id=data.ids[example], rate_hz=transcriber.rate_hz)
        if len(wave_n) > transcriber.longest_samples:
            continue
        for gain_db, snr_db in CONDITIONS:
            waves.append(
                changed_speech(wave_n, gain_db=gain_db, snr_db=snr_db, rate_hz=transcriber.rate_hz, generator=generator)
            )
            texts.append(str(data.examples.texts[example]))
    scored = _score(transcriber, waves, "no speech: speech")
    right = words_right(texts, [text for text, _ in scored])
    for (_, evidence), right_words in zip(scored, right, strict=True):
        if evidence is not None:
            yield ScoredWindow(evidence, True, int(right_words.sum()))


def _sounds(
    transcriber: BatchTranscriber, data: BoundPipeline, generator: np.random.Generator
) -> Iterator[ScoredWindow]:
    """Yields made sounds, as long as utterances of the split, none longer than a window."""
    seconds = np.minimum(data.examples.seconds, transcriber.longest_samples / transcriber.rate_hz)
    waves = [
        made_sound(
            kind,
            seconds=float(generator.choice(seconds)),
            level_db=LEVELS_DB[number % len(LEVELS_DB)],
            rate_hz=transcriber.rate_hz,
            generator=generator,
        )
        for kind in FOR_CALIBRATION
        for number in range(SOUND_WINDOWS)
    ]
    for text, evidence in _score(transcriber, waves, "no speech: made sounds"):
        if evidence is not None:
            yield ScoredWindow(evidence, False, len(text.split()))


def _score(
    transcriber: BatchTranscriber, waves: Sequence[Int16[np.ndarray, " _"]], name: str
) -> list[tuple[str, SpeechEvidence | None]]:
    """Returns the text and the evidence of each wave, in their order."""
    order = sorted(range(len(waves)), key=lambda place: len(waves[place]))
    scored: dict[int, tuple[str, SpeechEvidence | None]] = {}
    with Progress(len(waves), name, "windows") as bar:
        for begin in range(0, len(order), transcriber.batch_size):
            places = order[begin : begin + transcriber.batch_size]
            for place, transcript in zip(places, transcriber([waves[place] for place in places]), strict=True):
                text = " ".join(word.text for word in transcript.words)
                scored[place] = text, transcript.evidence
            bar.advance(len(places))
    return [scored[place] for place in range(len(waves))]
