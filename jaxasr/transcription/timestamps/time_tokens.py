"""The tokens of times in a hypothesis: which tokens are text, and where the next window begins.

Source: Radford et al. 2022 (2212.04356), sections 2.3 and 3.8: the window moves to the last time that the model has written.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

STEP_S = 0.02  # between two times (section 2.3)


class ReadTokens(NamedTuple):
    """The part of a hypothesis that is final."""

    text: Int[np.ndarray, " k"]  # the places of its tokens of text
    advance_s: float | None  # the next window begins there; None: behind the window


def all_text(tokens_u: Int[np.ndarray, " u"]) -> ReadTokens:
    """Returns all tokens as text: the window is transcribed to its end."""
    return ReadTokens(np.arange(len(tokens_u)), None)


@dataclass(frozen=True)
class TimeTokens:
    """The tokens of 0 s and of the times behind it, `STEP_S` apart."""

    zero: int
    count: int

    @property
    def longest_s(self) -> float:
        """The latest time that a token stands for."""
        return round((self.count - 1) * STEP_S, 2)

    def read(self, tokens_u: Int[np.ndarray, " u"], window_s: float) -> ReadTokens:
        """Returns the text up to the last complete segment, and its end as the beginning of the next window.

        A segment is complete if the next one begins, that is, if two times stand side by side. The whole window is final if
        no segment is, or if its last token is a single time, behind which nobody speaks. Text without times is final.
        """
        is_time_u = (tokens_u >= self.zero) & (tokens_u < self.zero + self.count)
        pairs = np.flatnonzero(is_time_u[:-1] & is_time_u[1:])
        ends_alone = len(tokens_u) > 1 and bool(is_time_u[-1]) and not is_time_u[-2]
        end = len(tokens_u)
        advance_s = None
        if len(pairs) and not ends_alone:
            last_s = round(float(tokens_u[pairs[-1]] - self.zero) * STEP_S, 2)
            if 0 < last_s < window_s:  # a window always moves on
                end = int(pairs[-1])
                advance_s = last_s
        return ReadTokens(np.flatnonzero(~is_time_u[:end]), advance_s)
