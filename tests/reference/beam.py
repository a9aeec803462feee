"""Search as one would explain it: over Python tuples, one example, any function from a prefix to log probabilities."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

END = 0

Next = Callable[[tuple[int, ...]], np.ndarray]  # prefix -> log probabilities of the next token


class Found(NamedTuple):
    tokens: tuple[int, ...]
    score: float
    log_prob: float
    finished: bool


def brute_force(follow: Next, *, vocab: int, steps: int, length_norm: float = 0.0) -> list[Found]:
    """Every transcript there is, best first; behind the finished ones those that `steps` steps cut."""
    finished, cut = [], []
    for length in range(steps + 1):
        for tokens in itertools.product(range(1, vocab), repeat=length):
            log_prob = sum(follow(tokens[:i])[token] for i, token in enumerate(tokens))
            if length == steps:
                cut.append(Found(tokens, _score(log_prob, length, length_norm), log_prob, False))
            else:
                log_prob += follow(tokens)[END]
                finished.append(Found(tokens, _score(log_prob, length + 1, length_norm), log_prob, True))
    return _sorted(finished) + _sorted(cut)


def greedy(follow: Next, *, steps: int) -> Found:
    """The most likely token until the end or the limit."""
    tokens, log_prob = (), 0.0
    for _ in range(steps):
        log_probs = follow(tokens)
        best = int(np.argmax(log_probs))
        log_prob += log_probs[best]
        if best == END:
            return Found(tokens, log_prob, log_prob, True)
        tokens += (best,)
    return Found(tokens, log_prob, log_prob, False)


def beam(
    follow: Next, *, width: int, steps: int, length_norm: float = 0.0, end_threshold: float | None = None
) -> list[Found]:
    """Beam search that never stops early: an ending counts if it is among the `width` best continuations."""
    live: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: list[Found] = []
    for i in range(steps):
        candidates = []
        for tokens, log_prob in live:
            log_probs = follow(tokens)
            others = max(log_probs[1:])
            for token, token_log_prob in enumerate(log_probs):
                held = token == END and end_threshold is not None and token_log_prob <= end_threshold * others
                if math.isfinite(token_log_prob) and not held:
                    candidates.append((log_prob + token_log_prob, tokens, token))
        candidates.sort(key=lambda candidate: -candidate[0])
        for log_prob, tokens, token in candidates[:width]:
            if token == END:
                finished.append(Found(tokens, _score(log_prob, i + 1, length_norm), log_prob, True))
        live = [((*tokens, token), log_prob) for log_prob, tokens, token in candidates if token != END][:width]
    cut = [Found(tokens, _score(log_prob, steps, length_norm), log_prob, False) for tokens, log_prob in live]
    return (_sorted(finished)[:width] + _sorted(cut))[:width]


def _score(log_prob: float, length: int, length_norm: float) -> float:
    return log_prob / length**length_norm


def _sorted(found: list[Found]) -> list[Found]:
    return sorted((item for item in found if math.isfinite(item.score)), key=lambda item: -item.score)
