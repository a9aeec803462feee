"""Windows of samples to words with times and confidences, decoded in batches of few shapes."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Int16

from jaxasr.data import Shape
from jaxasr.records import Batch, LanguageModel, Word
from jaxasr.score.no_speech import NoSpeechMap, SpeechEvidence
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.transcription.decode import DecodedBatch, DecodeFn
from jaxasr.transcription.timestamps.time_tokens import TimeTokens, all_text
from jaxasr.transcription.timing import (
    FrameClock,
    WordTokens,
    alignment_spans,
    attention_spans,
    log_posteriors,
    on_monotonic_path,
    tokens_to_words,
    uniform_spans,
)

LENGTH_FRACTIONS = (0.25, 0.5, 1.0)  # lengths of batches, as fractions of the longest window

Calibration = Callable[[Float[np.ndarray, " words"]], Float[np.ndarray, " words"]]  # log posteriors to probabilities


@dataclass(frozen=True)
class WindowTranscript:
    """The transcript of one window."""

    words: tuple[Word, ...]  # times in seconds from the beginning of the window
    log_prob: float  # of the hypothesis
    complete: bool  # False: the search was cut at its limit of tokens
    no_speech_prob: float | None = None  # probability that the window holds no speech; None: not computed, or no words
    evidence: SpeechEvidence | None = None  # from which it is computed; None: no words
    mean_log_prob: float = 0.0  # of a token, the end included, as in `log_prob`
    compression: float = 0.0  # bytes of the text over those that zlib makes of it; repetition has a large one
    advance_s: float | None = None  # from its beginning to that of the next window; None: up to its end
    temperature: float = 0.0  # at which the tokens were drawn; 0: searched


@dataclass(frozen=True)
class BatchTranscriber:
    """A transcriber of windows with a trained model.

    A batch has at most `batch_size` windows and one of the lengths of `length_fractions`.
    """

    decode_fn: DecodeFn
    variables: Any
    lms: Mapping[str, LanguageModel]
    tokenizer: Tokenizer
    clock: FrameClock
    rate_hz: int
    longest_samples: int  # of a window
    batch_size: int
    calibration: Calibration = np.exp  # maps log posteriors to confidences
    no_speech: NoSpeechMap | None = None  # None: the probability of no speech is not computed
    length_fractions: tuple[float, ...] = LENGTH_FRACTIONS
    times: TimeTokens | None = None  # the tokens of times, where the decoder writes them

    def __call__(self, waves: Sequence[Int16[np.ndarray, " _"]]) -> list[WindowTranscript]:
        """Transcribes 1 to `batch_size` waves, none longer than a window; one transcript per wave.

        Raises:
            FloatingPointError: the log probability of a hypothesis is NaN.
        """
        decoded: DecodedBatch = jax.device_get(self.decode_fn(self.variables, self.batch(waves), self.lms))
        if np.isnan(decoded.log_probs_b[: len(waves)]).any():
            raise FloatingPointError("the log probability of a window is NaN; the parameters are probably not finite")
        return [self._transcript(decoded, row, len(wave_n)) for row, wave_n in enumerate(waves)]

    def batch(self, waves: Sequence[Int16[np.ndarray, " _"]]) -> Batch:
        """Returns 1 to `batch_size` waves as a batch, of the shortest length and the fewest examples that have a program."""
        longest = max(map(len, waves))
        samples = next(
            n for share in self.length_fractions if (n := int(np.ceil(share * self.longest_samples))) >= longest
        )
        rows = min(self.batch_size, 1 << (len(waves) - 1).bit_length())
        batch = Batch.blank(Shape(samples=samples, tokens=1, examples=rows))
        for row, wave_n in enumerate(waves):
            batch.wave_bn[row, : len(wave_n)] = wave_n
            batch.sample_lengths_b[row] = len(wave_n)
            batch.ids_b[row] = zlib.crc32(wave_n.tobytes())  # of the draws of samples
            batch.valid_b[row] = True
        return batch

    def _transcript(self, decoded: DecodedBatch, row: int, samples: int) -> WindowTranscript:
        row_tokens_u = np.asarray(decoded.tokens_bu[row, : int(decoded.token_lengths_b[row])])
        end_s = samples / self.rate_hz
        segments = all_text(row_tokens_u) if self.times is None else self.times.read(row_tokens_u, end_s)
        words = tokens_to_words(row_tokens_u[segments.text], self.tokenizer)
        log_probs_u = np.asarray(decoded.token_log_probs_bu[row])[: len(row_tokens_u)][segments.text]
        confidences = self.calibration(log_posteriors(words, log_probs_u))
        timed = []
        spans = _spans(words, decoded, row, segments.text, most_positions=self.clock.positions(end_s))
        for word, (first, last), confidence in zip(words, spans, confidences.tolist(), strict=True):
            start_s, stop_s = np.clip(self.clock.span_s(first, last), 0.0, end_s).tolist()
            timed.append(Word(word.text, start_s, stop_s, round(confidence, 4)))
        evidence = decoded.evidence(row)
        no_speech = None if self.no_speech is None or evidence is None else round(self.no_speech(evidence), 4)
        log_prob = float(decoded.log_probs_b[row])
        return WindowTranscript(
            tuple(timed),
            log_prob,
            bool(decoded.finished_b[row]),
            no_speech,
            evidence,
            mean_log_prob=log_prob / (len(row_tokens_u) + 1),
            compression=_compression(self.tokenizer.decode(row_tokens_u.tolist())),
            advance_s=segments.advance_s,
        )


def _compression(text: str) -> float:
    content = text.encode()
    return len(content) / len(zlib.compress(content))


def _spans(
    words: Sequence[WordTokens],
    decoded: DecodedBatch,
    row: int,
    text_u: Int[np.ndarray, " u"],
    *,
    most_positions: int,
) -> list[tuple[float, float]]:
    """Returns the first and last position of each word, among the positions of real audio: a frontend may add silence.

    Words get equal shares where CTC cannot align the tokens because there are more of them than positions.

    Args:
        text_u: the places of the tokens with the text of the words.
    """
    if decoded.weights_bus is not None:
        real = min(int(decoded.hidden_lengths_b[row]), most_positions)
        return attention_spans(words, on_monotonic_path(np.asarray(decoded.weights_bus[row])[text_u, :real]))
    alignment = decoded.alignment
    if alignment is None or not alignment.possible_b[row]:
        return uniform_spans(words, len(text_u), float(decoded.hidden_lengths_b[row]))
    return alignment_spans(
        words, np.asarray(alignment.first_bu[row])[text_u], np.asarray(alignment.last_bu[row])[text_u]
    )
