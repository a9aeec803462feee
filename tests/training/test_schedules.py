"""Schedules against values worked out by hand from the papers' formulas."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.training.schedules import Constant, Exponential, Noam, RampHoldDecay, Schedule, WarmupCosine

EVERY_KIND = (
    Constant(0.1),
    RampHoldDecay(10, 20, 30, peak=1e-3),
    Noam(256, 100),
    WarmupCosine(5, 50, 1e-3),
    Exponential(0.2, 0.98, 7),
)

VALUES = {
    # ramp to update 10, held to update 20, a hundredth at update 40
    "RampHoldDecay": (
        RampHoldDecay(10, 20, 40, peak=2.0),
        {0: 0.2, 4: 1.0, 9: 2.0, 19: 2.0, 29: 0.2, 39: 0.02, 1000: 0.02},
    ),
    "no ramp": (RampHoldDecay(0, 0, 10, peak=1.0, end_ratio=0.25), {4: 0.5, 9: 0.25}),
    # 512^-0.5 * 4000^-0.5 at the top, half of it at four times the warm-up
    "Noam": (Noam(512, 4000), {0: 512**-0.5 * 4000**-1.5, 3999: 6.98771243e-4, 15_999: 3.49385621e-4}),
    "Noam, scaled": (Noam(64, 4, scale=10.0), {3: 0.625, 15: 0.3125}),
    "WarmupCosine": (
        WarmupCosine(4, 12, 1.0, 0.2),
        {0: 0.25, 3: 1.0, 5: 0.2 + 0.4 * (1 + 0.5**0.5), 7: 0.6, 11: 0.2, 99: 0.2},
    ),
    "Exponential": (Exponential(0.2, 0.25, 10), {0: 0.2, 5: 0.1, 10: 0.05, 20: 0.0125}),
    "Exponential after a ramp": (Exponential(1.0, 1.0, 10, ramp_until=4), {0: 0.25, 1: 0.5, 3: 1.0, 50: 1.0}),
    "Constant": (Constant(0.3), {0: 0.3, 10**7: 0.3}),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_rates_are_those_worked_out_by_hand(name):
    schedule, rates = VALUES[name]
    got = {step: float(schedule(step)) for step in rates}
    assert got == pytest.approx(rates, rel=2e-6)


@pytest.mark.parametrize("schedule", EVERY_KIND, ids=lambda s: type(s).__name__)
def test_a_traced_step_gives_the_same_float32(schedule):
    traced = jax.jit(schedule)(jnp.int32(13))
    assert traced.dtype == jnp.float32
    np.testing.assert_allclose(traced, schedule(13), rtol=1e-6)


@pytest.mark.parametrize("schedule", EVERY_KIND, ids=lambda s: type(s).__name__)
def test_rates_stay_positive_and_finite_for_a_long_time(schedule):
    rates = [float(schedule(step)) for step in (0, 1, 9, 10, 49, 1000, 2**30)]
    assert all(math.isfinite(rate) and rate >= 0.0 for rate in rates)
    assert rates[0] > 0.0
    assert isinstance(schedule, Schedule)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0.0), "Constant.rate is 0.0; it must be more than 0"),
        (lambda: RampHoldDecay(30, 20, 40, peak=1.0), "ramp_until=30, hold_until=20"),
        (lambda: RampHoldDecay(1, 20, 20, peak=1.0), "hold_until < decay_until"),
        (lambda: RampHoldDecay(1, 2, 3, peak=float("nan")), "RampHoldDecay.peak is nan; it must be a finite number"),
        (lambda: Noam(256, 0), "Noam.warmup_steps is 0"),
        (lambda: WarmupCosine(10, 10, 1.0), "end before the last step"),
        (lambda: WarmupCosine(1, 10, 1.0, 2.0), "0 <= end <= peak"),
        (lambda: Exponential(0.1, 1.5, 10), "ratio <= 1"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
