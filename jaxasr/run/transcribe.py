"""Files of speech to text, with the best model of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np

from jaxasr.data import decode_audio
from jaxasr.decode import Search
from jaxasr.records import Batch
from jaxasr.report.subtitles import Word
from jaxasr.run.evaluate import compiled_search
from jaxasr.run.experiment import Experiment, tokenizer_of
from jaxasr.run.restore import Choice, trained_variables
from jaxasr.run.workdir import Workdir
from jaxasr.text.tokenizer import Tokenizer

LONGEST_S = 60.0  # of one file; what is longer has to be cut before
STEP_S = 2.0  # lengths are padded up to a multiple, so that few shapes are compiled


@dataclass(frozen=True)
class Transcript:
    """What was heard in a file."""

    path: Path
    text: str
    words: tuple[Word, ...]  # with their times, as far as the attention tells them
    seconds: float
    log_prob: float  # of the whole hypothesis
    complete: bool  # False: the search was cut before it came to an end


@dataclass(frozen=True)
class Refusal:
    """A file that could not be transcribed, and why."""

    path: Path
    reason: str


def transcribe(
    experiment: Experiment,
    workdir: Workdir,
    paths: Sequence[Path],
    *,
    search: Search | None = None,
    checkpoint: Choice = "best",
) -> Iterator[Transcript | Refusal]:
    """Transcribes files one after another, in their order. One that can't be used is refused, the others are still done.

    Args:
        search: that of the experiment's `watch` split if None.
        checkpoint: "best", "last", a step, or "mean": of all that are kept.

    Raises:
        FileNotFoundError: there is no such run or checkpoint.
        ValueError: the checkpoint does not fit the experiment.
    """
    rate_hz = experiment.train_data.rate_hz
    variables, _ = trained_variables(experiment, workdir, checkpoint)
    decode = compiled_search(experiment.model, search or experiment.watch.search)
    tokenizer = tokenizer_of(experiment.train_data)
    for path in paths:
        try:
            wave_n = read_wave(path, experiment)
        except (OSError, ValueError) as error:
            yield Refusal(path, str(error))
            continue
        batch = _batch(wave_n, rate_hz)
        found = jax.device_get(decode(variables, batch))
        tokens = found.tokens_bwu[0, 0, : int(found.token_lengths_bw[0, 0])]
        yield Transcript(
            path,
            tokenizer.decode(tokens),
            tuple(words_heard(tokens, found.weights_buhs[0], tokenizer, _position_s(experiment))),
            len(wave_n) / rate_hz,
            float(found.log_probs_bw[0, 0]),
            bool(found.finished_bw[0, 0]),
        )


def words_heard(
    tokens_u: np.ndarray, weights_uhs: np.ndarray, tokenizer: Tokenizer, position_s: float
) -> Iterator[Word]:
    """Each word, from where a twentieth of its attention lies to where all but a twentieth does.

    Args:
        tokens_u: without the end.
        weights_uhs: attention, at least as many rows as tokens.
        position_s: seconds of an encoder position.
    """
    texts = [tokenizer.decode(tokens_u[: k + 1]).rstrip() for k in range(len(tokens_u))]
    owners = [len(text.split()) - 1 if text != before else -1 for before, text in pairwise(["", *texts])]
    for number, word in enumerate(texts[-1].split() if texts else []):
        mine = [k for k, owner in enumerate(owners) if owner == number]
        heard_s = np.cumsum(weights_uhs[mine].sum(axis=(0, 1)))
        bounds = np.searchsorted(heard_s, np.array([0.05, 0.95]) * heard_s[-1])
        start, end = np.minimum(bounds, len(heard_s) - 1)
        yield Word(word, round(float(start) * position_s, 3), round(float(end + 1) * position_s, 3))


def _position_s(experiment: Experiment) -> float:
    return experiment.model.encoder.stride * experiment.model.frontend.hop_ms / 1000


def read_wave(path: Path, experiment: Experiment) -> np.ndarray:
    """A file's samples at the experiment's rate, mono, 16 bits.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it can't be decoded, holds NaN, nothing, less than one window or more than LONGEST_S.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no audio file {path}")
    rate_hz, frontend = experiment.train_data.rate_hz, experiment.model.frontend
    wave_n = decode_audio(path.read_bytes(), id=str(path), rate_hz=rate_hz)
    seconds = len(wave_n) / rate_hz
    if seconds * 1000 < frontend.window_ms:
        raise ValueError(
            f"{path} has {len(wave_n)} samples ({seconds * 1000:.1f} ms at {rate_hz} Hz); at least one window of "
            f"{frontend.window_ms:g} ms is needed"
        )
    if seconds > LONGEST_S:
        raise ValueError(
            f"{path} is {seconds:.1f} s long; at most {LONGEST_S:g} s are transcribed in one piece: cut it at its pauses"
        )
    return wave_n


def _batch(wave_n: np.ndarray, rate_hz: int) -> Batch:
    step = round(STEP_S * rate_hz)
    padded = np.zeros((1, -(-len(wave_n) // step) * step), np.int16)
    padded[0, : len(wave_n)] = wave_n
    one = np.ones(1, np.int32)
    return Batch(
        wave_bn=padded,
        sample_lengths_b=one * len(wave_n),
        tokens_bu=np.zeros((1, 1), np.int32),
        token_lengths_b=0 * one,
        ids_b=np.zeros(1, np.uint32),
        valid_b=np.ones(1, bool),
    )
