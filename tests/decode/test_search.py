"""How long a search may run."""

import numpy as np
import pytest

from jaxasr.decode import MaxTokens


def test_the_limit_is_exact_for_every_length():
    np.testing.assert_array_equal(MaxTokens(1.5, 4).table(4), [0, 5, 7, 8, 10])
    assert MaxTokens(0.1, 0).table(30)[30] == 3  # 0.1 * 30 is 3.0000000000000004 in float64 and less than 3 in float32


def test_the_limit_of_a_length_does_not_depend_on_the_padding():
    limits = MaxTokens(0.7, 2)
    np.testing.assert_array_equal(limits.table(50)[:21], limits.table(20))


@pytest.mark.parametrize("fields", [(-1.0, 4), (1.0, -1), (0.0, 0), (float("nan"), 1)])
def test_a_limit_of_nothing_is_refused(fields):
    with pytest.raises(ValueError, match="write nothing"):
        MaxTokens(*fields)
