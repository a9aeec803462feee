"""From tokens to words: which tokens write a word, where in time it stands, and how probable the model finds it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from jaxasr.nn import Seq2Seq
from jaxasr.text.tokenizer import Tokenizer

EDGE = 0.05  # share of a word's attention that lies before its beginning, and behind its end


@dataclass
class WordTokens:
    """A word and its tokens."""

    text: str = ""
    own: list[int] = field(default_factory=list)  # those that write its letters
    all: list[int] = field(default_factory=list)  # and the space behind it, which says that it ends there


@dataclass(frozen=True)
class FrameClock:
    """When encoder positions are.

    A frame is a window of samples and stands for the hop in its middle: frame t for the time from t hops and half of
    (window - hop) on. A position stands for as many frames as the encoder's stride. (A convolutional front looks as far back
    as ahead around the first of them, so it tends to be ahead by up to half a stride.)
    """

    position_s: float
    offset_s: float

    def span_s(self, first: float, last: float) -> tuple[float, float]:
        """From the beginning of a position to the end of another."""
        return self.offset_s + first * self.position_s, self.offset_s + (last + 1) * self.position_s


def frame_clock(model: Seq2Seq) -> FrameClock:
    """The clock of a model."""
    front = model.frontend
    return FrameClock(model.encoder.stride * front.hop_ms / 1000, (front.window_ms - front.hop_ms) / 2000)


def tokens_to_words(tokens_u: Int[np.ndarray, " u"], tokenizer: Tokenizer) -> list[WordTokens]:
    """The words of a token sequence (without the end), and who writes them. A space belongs to the word before it."""
    words: list[WordTokens] = []
    leading: list[int] = []
    before = ""
    for k in range(len(tokens_u)):
        text = tokenizer.decode(tokens_u[: k + 1].tolist()).rstrip()
        if text == before:
            (words[-1].all if words else leading).append(k)
            continue
        known, before = len(words), text
        words.extend(WordTokens() for _ in text.split()[known:])
        for word in words[known:] or words[-1:]:
            word.own.append(k)
            word.all.extend([*leading, k])
            leading = []
    for word, text in zip(words, before.split(), strict=True):
        word.text = text
    return words


def alignment_spans(
    words: Sequence[WordTokens], first_u: Int[np.ndarray, " u"], last_u: Int[np.ndarray, " u"]
) -> list[tuple[float, float]]:
    """Of each word the first and the last position, by those of its tokens (ops.ctc_alignment)."""
    return [(float(first_u[word.own].min()), float(last_u[word.own].max())) for word in words]


def attention_spans(words: Sequence[WordTokens], weights_us: Float[np.ndarray, "u s"]) -> list[tuple[float, float]]:
    """Of each word the position before which EDGE of its attention lies, and that behind which as much does.

    Args:
        weights_us: attention, summed over heads.
    """
    spans = []
    for word in words:
        heard_s = np.cumsum(weights_us[word.own].sum(axis=0, dtype=np.float64))
        bounds = np.searchsorted(heard_s, np.array([EDGE, 1 - EDGE]) * heard_s[-1])
        start, end = np.minimum(bounds, len(heard_s) - 1)
        spans.append((float(start), float(end)))
    return spans


def uniform_spans(words: Sequence[WordTokens], tokens: int, positions: float) -> list[tuple[float, float]]:
    """Spans for words that nothing aligns: as if every token took as long as any other."""
    share = positions / max(tokens, 1)
    return [(min(word.own) * share, (max(word.own) + 1) * share - 1) for word in words]


def log_posteriors(words: Sequence[WordTokens], token_log_probs_u: Float[np.ndarray, " u"]) -> Float[np.ndarray, " words"]:
    """Log probability of the least probable token of each word, the space behind it included: where it may have gone wrong.

    The product over the tokens would be the decoder's probability of the word, but a decoder trained with label smoothing
    leaves some probability at every token, so that long words look unsure. Measured on 628 words of the quickstart's unseen
    voices, 98.6 % of them right: area under the ROC curve 0.980 for the smallest, 0.988 for the mean, 0.929 for the product;
    0.966, 0.976 and 0.918 of CTC's. Of the two good ones the smallest calibrates better on the split it is fitted on
    (normalised cross entropy 0.56 against 0.43).
    """
    return np.array([float(token_log_probs_u[word.all].min()) for word in words], np.float64)
