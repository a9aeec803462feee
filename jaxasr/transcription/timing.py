"""Tokens to words: the tokens of each word, its position in time, and its log posterior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from jaxasr.nn import Seq2Seq
from jaxasr.text.tokenizer import Tokenizer

EDGE = 0.05  # share of a word's attention before its beginning, and the same share behind its end


@dataclass
class WordTokens:
    """A word and its tokens."""

    text: str = ""
    own: list[int] = field(default_factory=list)  # tokens with letters of the word
    all: list[int] = field(default_factory=list)  # also the token of the space behind it, which ends the word


@dataclass(frozen=True)
class FrameClock:
    """The times of encoder positions.

    A frame is a window of samples and stands for the hop in its middle: frame t begins at t hops plus half of (window - hop).
    A position covers as many frames as the encoder's stride. Convolutional subsampling reads as far back as ahead around the
    first of them, so its positions tend to be early by up to half a stride.
    """

    position_s: float
    offset_s: float

    def span_s(self, first: float, last: float) -> tuple[float, float]:
        """Returns the times of the beginning of the first and of the end of the last position, in seconds."""
        return self.offset_s + first * self.position_s, self.offset_s + (last + 1) * self.position_s

    def positions(self, seconds: float) -> int:
        """Returns the number of positions that begin within so many seconds, at least 1."""
        return max(1, math.ceil((seconds - self.offset_s) / self.position_s))


def frame_clock(model: Seq2Seq) -> FrameClock:
    """Returns the clock of a model's encoder positions."""
    frontend = model.frontend
    return FrameClock(model.encoder.stride * frontend.hop_ms / 1000, frontend.first_frame_s)


def tokens_to_words(tokens_u: Int[np.ndarray, " u"], tokenizer: Tokenizer) -> list[WordTokens]:
    """Returns the words of a token sequence (without the end) with their tokens. A space belongs to the word before it."""
    words: list[WordTokens] = []
    leading: list[int] = []
    before = ""
    for k in range(len(tokens_u)):
        text = tokenizer.decode(tokens_u[: k + 1].tolist()).rstrip()
        if text == before:
            (words[-1].all if words else leading).append(k)
            continue
        known = len(words)
        before = text
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
    """Returns the first and last position of each word from those of its tokens (ops.ctc_alignment)."""
    return [(float(first_u[word.own].min()), float(last_u[word.own].max())) for word in words]


def attention_spans(words: Sequence[WordTokens], weights_us: Float[np.ndarray, "u s"]) -> list[tuple[float, float]]:
    """Returns the first and last encoder position of each word.

    They are the `EDGE` and `1 - EDGE` quantiles of the summed attention weights of its tokens.

    Args:
        weights_us: attention, summed over heads.
    """
    spans = []
    for word in words:
        attended_s = np.cumsum(weights_us[word.own].sum(axis=0, dtype=np.float64))
        bounds = np.searchsorted(attended_s, np.array([EDGE, 1 - EDGE]) * attended_s[-1])
        start, end = np.minimum(bounds, len(attended_s) - 1)
        spans.append((float(start), float(end)))
    return spans


def on_monotonic_path(weights_us: Float[np.ndarray, "u s"]) -> Float[np.ndarray, "u s"]:
    """Returns the attention on its best monotonic path, zero elsewhere; with more tokens than positions, all of it.

    The path gives every position to one token, in the order of both, and has the largest sum of weights. So words neither
    overlap nor run back where some heads attend to far positions.

    Source: monotonic alignment search, Kim et al. 2020, Glow-TTS (2005.11129), algorithm 1, with attention as the likelihood.
    """
    tokens, positions = weights_us.shape
    if not 0 < tokens <= positions:
        return weights_us
    best_u = np.full(tokens, -np.inf)
    best_u[0] = weights_us[0, 0]
    is_new_su = np.zeros((positions, tokens), bool)  # the path reaches the token at this position
    for s in range(1, positions):
        from_before_u = np.concatenate([[-np.inf], best_u[:-1]])
        is_new_su[s] = from_before_u > best_u
        best_u = np.maximum(best_u, from_before_u) + weights_us[:, s]
    path_us = np.zeros((tokens, positions), bool)
    token = tokens - 1
    for s in range(positions - 1, -1, -1):
        path_us[token, s] = True
        token -= int(is_new_su[s, token])
    return np.where(path_us, weights_us, 0.0)


def uniform_spans(words: Sequence[WordTokens], tokens: int, positions: float) -> list[tuple[float, float]]:
    """Returns spans for words without an alignment, as if all tokens had the same duration."""
    share = positions / max(tokens, 1)
    return [(min(word.own) * share, (max(word.own) + 1) * share - 1) for word in words]


def log_posteriors(
    words: Sequence[WordTokens], token_log_probs_u: Float[np.ndarray, " u"]
) -> Float[np.ndarray, " words"]:
    """Returns the log probability of the least probable token of each word, the space behind it included.

    The product over the tokens would be the decoder's probability of the word, but a decoder trained with label smoothing
    loses some probability at every token, so long words get low confidences. Measured on 628 words of the quickstart's unseen
    voices, 98.6 % of them correct: area under the ROC curve 0.980 for the minimum, 0.988 for the mean, 0.929 for the product;
    with CTC posteriors 0.966, 0.976 and 0.918. Of the two good ones the minimum calibrates better on the split that it is
    fitted on (normalised cross entropy 0.56 against 0.43).
    """
    return np.array([float(token_log_probs_u[word.all].min()) for word in words], np.float64)
