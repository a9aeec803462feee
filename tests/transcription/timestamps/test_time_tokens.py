"""The tokens of times: which text of a window is final, and where the next window begins."""

import numpy as np
import pytest

from jaxasr.transcription.timestamps.time_tokens import TimeTokens

TOKENS = TimeTokens(10, 101)  # 0 to 2 s


@pytest.mark.parametrize(
    ("tokens", "text", "advance_s"),
    [
        ([10, 1, 2, 30, 30, 3, 60, 60, 4], [1, 2, 5], 1.0),  # the last segment is not complete
        ([10, 1, 30, 30], [1], 0.4),
        ([10, 1, 30, 30, 3, 60], [1, 4], None),  # a single time at the end: nobody speaks behind it
        ([10, 1, 30, 40, 3, 4], [1], 0.4),  # a pause between the segments
        ([10, 1, 2, 3], [1, 2, 3], None),
        ([10, 1, 60], [1], None),
        ([1, 2], [0, 1], None),
        ([10, 10, 1], [2], None),  # no time passes: the window is final, or it would never move
        ([10, 1, 95, 95, 2], [1, 4], None),  # behind the end of the audio, which is 1.5 s long
        ([10], [], None),
        ([], [], None),
    ],
    ids=str,
)
def test_a_window_is_final_up_to_its_last_complete_segment(tokens, text, advance_s):
    read = TOKENS.read(np.array(tokens, np.int32), 1.5)
    assert read.text.tolist() == text
    assert read.advance_s == advance_s
    assert TOKENS.longest_s == 2.0
