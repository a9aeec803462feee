"""From windows of samples to words with times and confidences: batches of few shapes, and what the model says of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int16

from jaxasr.data import Shape
from jaxasr.records import Batch, LanguageModel, Word
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.transcription.decode import DecodedBatch, DecodeFn
from jaxasr.transcription.timing import FrameClock, WordTokens, alignment_spans, attention_spans, log_posteriors, tokens_to_words, uniform_spans

LENGTH_FRACTIONS = (0.25, 0.5, 1.0)  # lengths of batches, as shares of the longest window

Calibrated = Callable[[Float[np.ndarray, " words"]], Float[np.ndarray, " words"]]  # log posteriors to probabilities


@dataclass(frozen=True)
class WindowTranscript:
    """What was heard in one window."""

    words: tuple[Word, ...]  # in seconds from the beginning of the window
    log_prob: float  # of the hypothesis
    complete: bool  # False: the search was cut before it came to an end


@dataclass(frozen=True)
class BatchTranscriber:
    """Hears windows with a trained model. Batches have at most `rows` of them and one of the lengths of RUNGS."""

    decode_fn: DecodeFn
    variables: Any
    lms: Mapping[str, LanguageModel]
    tokenizer: Tokenizer
    clock: FrameClock
    rate_hz: int
    longest_samples: int  # of a window
    batch_size: int
    calibrated: Calibrated = np.exp  # what makes confidences of log posteriors

    def __call__(self, waves: Sequence[Int16[np.ndarray, " _"]]) -> list[WindowTranscript]:
        """One reading a wave; 1 to `rows` waves, none longer than a window.

        Raises:
            FloatingPointError: the log probability of a hypothesis is NaN.
        """
        heard: DecodedBatch = jax.device_get(self.decode_fn(self.variables, self._batch(waves), self.lms))
        if np.isnan(heard.log_probs_b[: len(waves)]).any():
            raise FloatingPointError("the log probability of a window is NaN; the parameters are probably not finite")
        return [self._reading(heard, row, len(wave_n)) for row, wave_n in enumerate(waves)]

    def _batch(self, waves: Sequence[Int16[np.ndarray, " _"]]) -> Batch:
        longest = max(map(len, waves))
        samples = next(n for share in LENGTH_FRACTIONS if (n := int(np.ceil(share * self.longest_samples))) >= longest)
        rows = min(self.batch_size, 1 << (len(waves) - 1).bit_length())
        batch = Batch.blank(Shape(samples=samples, tokens=1, examples=rows))
        for row, wave_n in enumerate(waves):
            batch.wave_bn[row, : len(wave_n)] = wave_n
            batch.sample_lengths_b[row] = len(wave_n)
            batch.valid_b[row] = True
        return batch

    def _reading(self, heard: DecodedBatch, row: int, samples: int) -> WindowTranscript:
        length = int(heard.token_lengths_b[row])
        words = tokens_to_words(np.asarray(heard.tokens_bu[row, :length]), self.tokenizer)
        confidences = self.calibrated(log_posteriors(words, np.asarray(heard.token_log_probs_bu[row])))
        end_s = samples / self.rate_hz
        timed = []
        for word, (first, last), confidence in zip(words, _spans(words, heard, row), confidences.tolist(), strict=True):
            start_s, stop_s = np.clip(self.clock.span_s(first, last), 0.0, end_s).tolist()
            timed.append(Word(word.text, start_s, stop_s, round(confidence, 4)))
        return WindowTranscript(tuple(timed), float(heard.log_probs_b[row]), bool(heard.finished_b[row]))


def _spans(words: Sequence[WordTokens], heard: DecodedBatch, row: int) -> list[tuple[float, float]]:
    """First and last position of each word. What CTC can't align, for it is more than there are positions, is spread."""
    if heard.weights_bus is not None:
        return attention_spans(words, np.asarray(heard.weights_bus[row, :, : int(heard.hidden_lengths_b[row])]))
    alignment = heard.alignment
    if alignment is None or not alignment.possible_b[row]:
        return uniform_spans(words, int(heard.token_lengths_b[row]), float(heard.hidden_lengths_b[row]))
    return alignment_spans(words, np.asarray(alignment.first_bu[row]), np.asarray(alignment.last_bu[row]))
