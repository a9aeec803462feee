"""Throughput and efficiency over devices: what is drawn is what was measured."""

import numpy as np
import pytest

from jaxasr.report import ScalingPoint, scaling


def test_each_kind_of_work_has_its_panel_and_all_share_the_efficiencies(tmp_path):
    points = [
        ScalingPoint("step", "mesh", 4, 30.0, 0.75),
        ScalingPoint("step", "jit", 1, 10.0, 1.0),
        ScalingPoint("step", "mesh", 1, 9.0, 0.9),
        ScalingPoint("evaluation", "search", 1, 50.0, 1.0),
        ScalingPoint("evaluation", "search", 4, 100.0, 0.5),
    ]
    step, evaluation, efficiency = scaling(points, path=tmp_path / "scaling.png").axes
    assert (step.get_ylabel(), evaluation.get_ylabel()) == ("step, audio s/s", "evaluation, audio s/s")
    lines = {line.get_label(): line.get_xydata() for line in step.lines}
    np.testing.assert_array_equal(lines["mesh"], [(1, 9), (4, 30)])
    np.testing.assert_array_equal(lines["jit"], [(1, 10)])
    drawn = {line.get_label(): line.get_ydata() for line in efficiency.lines}
    np.testing.assert_array_equal(drawn["search"], [100, 50])
    np.testing.assert_array_equal(drawn["mesh"], [90, 75])
    colours = {line.get_label(): line.get_color() for axes in (step, evaluation) for line in axes.lines}
    assert len(set(colours.values())) == 3
    assert all(colours[name] == line.get_color() for line in efficiency.lines if (name := line.get_label()) in colours)
    assert [tick.get_text() for tick in efficiency.get_xticklabels()] == ["1", "4"]
    assert (tmp_path / "scaling.png").stat().st_size > 1_000


def test_where_one_device_was_not_measured_there_are_no_efficiencies(tmp_path):
    (axes,) = scaling([ScalingPoint("step", "mesh", 2, 1.0, None)], path=tmp_path / "one.png", unit="tokens/s").axes
    assert axes.get_ylabel() == "step, tokens/s"


def test_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no points to draw"):
        scaling([], path=tmp_path / "none.png")
