"""A rate over its settings: what is drawn is what was measured."""

import itertools

import numpy as np
import pytest

from jaxasr.report.surfaces import RateBounds, SurfacePoint, surface


def measured(rate: float, **setting: float) -> SurfacePoint:
    return SurfacePoint(setting, rate, RateBounds(rate - 0.01, rate + 0.02))


def test_two_settings_make_a_map_with_the_best_in_bold(tmp_path):
    points = [measured(0.1 + a * b, a=a, b=b) for a, b in itertools.product((0.0, 0.1), (0.3, 0.1, 0.2))]
    points[0] = measured(0.05, **points[0].setting)
    (axes,) = surface(points, path=tmp_path / "map.png").axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[10, 10, 5], [11, 12, 13]])
    assert [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"] == ["5.00"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("a", "b")
    assert (tmp_path / "map.png").stat().st_size > 1_000


def test_of_one_or_three_settings_each_has_its_profile(tmp_path):
    points = [measured(0.1 * (a + b + c), a=a, b=b, c=c) for a, b, c in itertools.product((1, 0), (1, 2), (3, 4))]
    panels = surface(points, path=tmp_path / "profiles.png").axes
    assert [axes.get_xlabel() for axes in panels] == ["a", "b", "c"]
    np.testing.assert_allclose(panels[0].lines[0].get_xydata(), [(0, 40), (1, 50)])  # with b = 1, c = 3
    (one,) = surface(points[:2], path=tmp_path / "one.png").axes  # of which c alone varies
    assert one.get_xlabel() == "c"
    assert len(surface(points[:1], path=tmp_path / "point.png").axes) == 1


def test_points_of_different_settings_are_refused(tmp_path):
    for points in ([], [measured(0.1, a=1), measured(0.1, b=1)]):
        with pytest.raises(ValueError, match="the same settings"):
            surface(points, path=tmp_path / "none.png")
