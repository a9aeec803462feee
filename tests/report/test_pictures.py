"""Pictures: what is drawn is what was given, in a PNG that is there."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxasr.report import attention, pictures
from tests.processes import PROCESS_S

METRICS = [
    {"step": step, "train/loss": 5.0 / step, "train/learning_rate": 1e-3, "train/gradient": 1.0}
    | ({"dev/loss": 0.5, "dev/wer": 2.0 / step} if step % 40 == 0 else {})
    for step in range(10, 2001, 10)
]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_alignment_has_a_row_a_token_over_the_seconds(tmp_path, rng):
    weights = rng.dirichlet(np.ones(20), size=5).astype(np.float32)
    path = tmp_path / "new" / "a.png"
    figure = attention.alignment(weights, tokens=["A", " ", "$B", "_", "end"], seconds=2.5, path=path, title="x $5 y$")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", "·", "$B", "_", "end"]
    image = axes.get_images()[0]
    np.testing.assert_array_equal(image.get_array(), weights)
    assert tuple(image.get_extent()) == (0.0, 2.5, 4.5, -0.5)  # the first token on top
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100


def test_a_long_sentence_keeps_its_labels_apart(tmp_path):
    tokens = list("ABCDEFGHIJ" * 15)
    figure = attention.alignment(np.eye(150, dtype=np.float32), tokens=tokens, seconds=15.0, path=tmp_path / "a.png")
    extents = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(extents) == 150
    assert all(upper.y0 >= lower.y1 - 2 for upper, lower in itertools.pairwise(extents))


def test_hundreds_of_tokens_are_labelled_now_and_then(tmp_path):
    weights = np.full((900, 2), 0.5, np.float32)
    figure = attention.alignment(weights, tokens=["A"] * 900, seconds=1.0, path=tmp_path / "a.png")
    assert 200 < len(figure.axes[0].get_yticklabels()) < 400
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[1] < 5000


@pytest.mark.parametrize(("shape", "tokens"), [((2, 3), ["A"]), ((0, 3), []), ((2, 0), ["A", "B"])])
def test_alignment_without_a_row_a_token_is_refused(tmp_path, shape, tokens):
    with pytest.raises(ValueError, match="a row a token is needed"):
        attention.alignment(np.zeros(shape, np.float32), tokens=tokens, seconds=1.0, path=tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_curves_have_a_panel_for_loss_errors_and_rate(tmp_path):
    figure = pictures.curves(METRICS, path=tmp_path / "c.png", title="an4")
    losses, errors, rate = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "errors, %", "learning rate"]
    assert texts(losses) == ["train/loss, mean of 5 lines", "dev/loss"]
    assert texts(errors) == ["dev/wer, best 0.1 % at step 2,000"]
    assert rate.get_xlabel() == "step"
    raw, mean = losses.lines[:2]
    np.testing.assert_allclose(raw.get_ydata(), [row["train/loss"] for row in METRICS])
    np.testing.assert_allclose(mean.get_ydata()[0], np.mean([row["train/loss"] for row in METRICS[:5]]))
    assert mean.get_xdata()[0] == 50
    np.testing.assert_allclose(errors.lines[-1].get_ydata(), [200 / step for step in range(40, 2001, 40)])
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.format == "PNG"


def test_curves_bear_what_is_not_finite_and_draw_only_what_there_is(tmp_path):
    rows = [{"step": 1, "dev/wer": float("nan")}, {"step": 2, "dev/wer": 0.3}, {"step": 3, "dev/wer": 9.0}]
    (errors,) = pictures.curves(rows, path=tmp_path / "c.png").axes
    assert texts(errors) == ["dev/wer, best 30.0 % at step 2"]
    assert errors.get_ylim() == pytest.approx((0, 105))  # 900 % of insertions don't hide the rest
    (errors,) = pictures.curves([{"step": 1, "dev/wer": 1.2}], path=tmp_path / "c.png").axes
    assert errors.get_ylim()[1] > 120
    (errors,) = pictures.curves([{"step": 1, "wer": float("nan")}], path=tmp_path / "c.png").axes
    assert texts(errors) == ["wer"]


def test_curves_have_a_panel_for_attention(tmp_path):
    rows = [
        {"step": 50, "train/attention_diffuse": 0.9, "train/attention_lag": 3.0},
        {"step": 50, "validation/wer": 0.5},
    ]
    errors, attention = pictures.curves(rows, path=tmp_path / "c.png").axes
    assert (errors.get_ylabel(), attention.get_ylabel()) == ("errors, %", "attention, shares")
    assert texts(attention) == ["train/attention_diffuse"]


def test_curves_of_nothing_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"none of \['train/gradient'\] ends in loss, wer, cer, perplexity or learning_rate"
    ):
        pictures.curves([{"step": 1, "train/gradient": 2.0}], path=tmp_path / "c.png")


def test_histogram_counts_every_value_and_shows_edges(tmp_path, rng):
    values = rng.normal(14.0, 1.5, 1000)
    (axes,) = pictures.histogram(values, path=tmp_path / "h.png", unit="seconds", edges=(12, 16)).axes
    assert sum(bar.get_height() for bar in axes.patches) == 1000  # pyright: ignore[reportAttributeAccessIssue]
    assert [line.get_xdata()[0] for line in axes.lines] == [12, 16]
    assert texts(axes) == ["edges of the buckets"]
    assert f"largest {values.max():.3g}" in axes.get_xlabel()
    with pytest.raises(ValueError, match="no values"):
        pictures.histogram(np.zeros(0), path=tmp_path / "h.png", unit="seconds")


def test_matplotlib_is_imported_by_the_first_picture_and_pyplot_never():
    code = (
        "import sys, numpy as np, pathlib; from jaxasr.report import pictures; assert 'matplotlib' not in sys.modules; "
    )
    code += "pictures.histogram(np.ones(3), path=pathlib.Path('/dev/null'), unit='s'); "
    code += "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], timeout=PROCESS_S, check=True)


def test_the_error_table_has_a_cell_for_each_and_refuses_what_does_not_fit(tmp_path):
    errors_rc = np.array([[0.0, 0.051], [0.5, 1.9]])
    figure = pictures.error_table(errors_rc, rows=["dot", "location"], columns=["5", "40"], path=tmp_path / "e.png")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.0", "5.1", "50", "190"]
    assert (tmp_path / "e.png").stat().st_size > 1_000
    with pytest.raises(ValueError, match=r"errors of shape \(2, 2\) for 1 rows and 2 columns"):
        pictures.error_table(errors_rc, rows=["dot"], columns=["5", "40"], path=tmp_path / "e.png")


def test_the_spectrogram_stands_above_the_attention_over_the_same_time(tmp_path):
    levels_ft = np.linspace(-100.0, 0.0, 12).reshape(3, 4)
    figure = attention.alignment(
        np.eye(3, dtype=np.float32), tokens=["A", "B", "C"], seconds=2.5, path=tmp_path / "a.png", levels_ft=levels_ft
    )
    above, below = figure.axes[:2]
    np.testing.assert_array_equal(above.images[0].get_array(), levels_ft.astype(np.float32))
    assert above.images[0].get_clim() == (-60.0, 0.0)
    assert above.get_xlim() == below.get_xlim() == (0.0, 2.5)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
