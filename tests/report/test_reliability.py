"""The picture of confidences has every bin where it belongs."""

import numpy as np
import pytest
from PIL import Image

from jaxasr.report.reliability import reliability


def test_every_bin_is_drawn_at_its_confidence(tmp_path):
    series = {"before": [(5, 0.2, 0.4), (90, 0.95, 0.8)], "after": [(95, 0.8, 0.79)]}
    figure = reliability(series, path=tmp_path / "new" / "r.png", title="dev")
    above, below = figure.axes
    diagonal, *lines = above.get_lines()
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_allclose(lines[0].get_xydata(), [[0.2, 0.4], [0.95, 0.8]])
    np.testing.assert_allclose(below.get_lines()[1].get_xydata(), [[0.8, 95]])
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["before", "after"]
    with Image.open(tmp_path / "new" / "r.png") as picture:
        assert picture.format == "PNG"


def test_without_words_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="no words to draw"):
        reliability({"before": []}, path=tmp_path / "r.png")
    assert not (tmp_path / "r.png").exists()
