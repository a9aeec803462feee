"""Sums since the last line, read one step late; what is not finite ends the run and is kept."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.records import Batch, Sum
from jaxasr.run.metric_accumulator import DivergenceError, MetricAccumulator, empty_metrics


@pytest.fixture
def log(tmp_path):
    return MetricAccumulator(empty_metrics(["loss", "gradient_norm"]), folder=tmp_path)


def batch(number: int = 0) -> Batch:
    return Batch(
        wave_bn=np.full((2, 5), number, np.int16),
        sample_lengths_b=np.array([5, 0], np.int32),
        tokens_bu=np.ones((2, 3), np.int32),
        token_lengths_b=np.array([3, 0], np.int32),
        ids_b=np.array([77, 0], np.uint32),
        valid_b=np.array([True, False]),
    )


def sums(loss: float, weight: float = 1.0, norm: float = 1.0) -> dict[str, Sum]:
    return {
        "loss": Sum(jnp.float32(loss), jnp.float32(weight)),
        "gradient_norm": Sum(jnp.float32(norm), jnp.float32(1.0)),
    }


def test_means_are_of_sums_and_begin_anew(log):
    log.add(0, batch(), ["a"], sums(6.0, 2.0))
    log.add(1, batch(), ["a"], sums(1.0, 8.0, norm=3.0))
    assert log.means() == {"train/loss": 0.7, "train/gradient_norm": 2.0}  # not (3 + 1/8) / 2
    assert log.means() == {}
    log.add(2, batch(), ["a"], sums(5.0))
    assert log.means()["train/loss"] == 5.0


def test_a_step_is_read_when_the_next_one_is_there(log):
    log.add(0, batch(), ["a"], sums(6.0))
    assert log.metrics["loss"].tolist() == [0.0, 0.0]
    log.add(1, batch(), ["a"], sums(1.0))
    assert log.metrics["loss"].tolist() == [6.0, 1.0]
    log.flush()
    assert log.metrics["loss"].tolist() == [7.0, 2.0]
    log.flush()
    assert log.metrics["loss"].tolist() == [7.0, 2.0]


def test_it_goes_on_from_a_window_without_writing_into_it(tmp_path):
    window = {"loss": np.array([10.0, 4.0]), "gradient_norm": np.array([1.0, 1.0])}
    log = MetricAccumulator(window, folder=tmp_path)
    log.add(7, batch(), ["a"], sums(2.0, 2.0))
    assert log.means()["train/loss"] == 2.0
    assert window["loss"].tolist() == [10.0, 4.0]


def test_what_was_never_counted_has_no_mean(log):
    log.add(0, batch(), ["a"], sums(0.0, 0.0))
    assert log.means() == {"train/gradient_norm": 1.0}


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (sums(float("nan")), "loss"),
        (sums(float("inf")), "loss"),
        (sums(1.0, norm=float("nan")), "gradient norm"),
    ],
)
def test_what_is_not_finite_is_named_with_its_step_its_utterances_and_its_batch(log, tmp_path, bad, name):
    log.add(4, batch(4), ["first"], sums(1.0))
    log.add(5, batch(5), ["an-1", "an-2"], bad)
    with pytest.raises(
        DivergenceError, match=f"the {name} of step 5 is not finite; the last finite step was 4"
    ) as caught:
        log.add(6, batch(6), ["later"], sums(1.0))
    assert "utterances an-1, an-2. The same command would come to this step again: begin anew" in str(caught.value)
    assert str(tmp_path / "diverged-step-5.npz") in str(caught.value)
    with np.load(tmp_path / "diverged-step-5.npz") as kept:
        assert kept["ids"].tolist() == ["an-1", "an-2"]
        for field, value in vars(batch(5)).items():
            np.testing.assert_array_equal(kept[field], value)


def test_the_very_first_step_may_be_the_one(log):
    log.add(0, batch(), ["a"], sums(float("nan")))
    with pytest.raises(DivergenceError, match="step 0 is not finite; there was no finite step"):
        log.flush()
