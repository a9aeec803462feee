"""Learning rate schedules: frozen dataclasses that are called with the number of updates so far (0 at first).

The next update has number i = step + 1, so the first update never has a rate of zero. Every schedule can be traced; its rate
is float32.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxasr.tree import check_numbers

Step = int | Int[Array | np.ndarray, ""]  # updates done
Rate = Float[Array, ""]


@runtime_checkable
class Schedule(Protocol):
    """A schedule: a function from the updates done to the learning rate of the next one."""

    def __call__(self, step: Step) -> Rate: ...


@dataclass(frozen=True)
class Constant:
    """A constant rate."""

    rate: float

    def __post_init__(self):
        check_numbers(self, positive=("rate",))

    def __call__(self, step: Step) -> Rate:
        """Returns the rate."""
        return jnp.full(jnp.shape(step), self.rate, jnp.float32)


@dataclass(frozen=True)
class RampHoldDecay:
    """A linear ramp, a plateau, and an exponential decay to `end_ratio * peak` at `decay_until`; constant after it.

    All three fields are steps from the beginning of training. SpecAugment's (s_r, s_i, s_f) are (500, 20_000, 80_000) for B,
    (1_000, 40_000, 160_000) for D and (1_000, 140_000, 320_000) for L, with peak 1e-3.

    Source: Park et al. 2019 (arXiv:1904.08779), section 3.2.
    """

    ramp_until: int  # s_r: the first update at `peak`
    hold_until: int  # s_i: the last update at `peak`
    decay_until: int  # s_f: the first update at `end_ratio * peak`
    peak: float
    end_ratio: float = 0.01

    def __post_init__(self):
        check_numbers(self, positive=("peak", "end_ratio"))
        if not 0 <= self.ramp_until <= self.hold_until < self.decay_until:
            raise ValueError(
                f"RampHoldDecay has ramp_until={self.ramp_until}, hold_until={self.hold_until}, "
                f"decay_until={self.decay_until}; they are steps from the beginning and must not fall: "
                "0 <= ramp_until <= hold_until < decay_until"
            )

    def __call__(self, step: Step) -> Rate:
        """Returns the rate of update `step` + 1."""
        i = _number(step)
        share = (i - self.hold_until) / (self.decay_until - self.hold_until)
        return self.peak * _ramp(i, self.ramp_until) * self.end_ratio ** jnp.clip(share, 0.0, 1.0)


@dataclass(frozen=True)
class Noam:
    """A linear ramp, then the inverse square root: scale * width^-0.5 * min(i^-0.5, i * warmup_steps^-1.5).

    Source: Vaswani et al. 2017 (arXiv:1706.03762), section 5.3, equation 3; `scale` is 1 there.
    """

    width: int  # of the model, d
    warmup_steps: int
    scale: float = 1.0

    def __post_init__(self):
        check_numbers(self, positive=("width", "warmup_steps", "scale"))

    def __call__(self, step: Step) -> Rate:
        """Returns the rate of update `step` + 1."""
        i = _number(step)
        return self.scale * self.width**-0.5 * jnp.minimum(i**-0.5, i * self.warmup_steps**-1.5)


@dataclass(frozen=True)
class WarmupCosine:
    """A linear ramp to `peak`, then half a cosine down to `end` at `total_steps`; constant after it.

    Source: Loshchilov and Hutter 2017 (arXiv:1608.03983), equation 5 with one period, after a warm-up.
    """

    warmup_steps: int
    total_steps: int
    peak: float
    end: float = 0.0

    def __post_init__(self):
        check_numbers(self, positive=("peak",))
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                f"WarmupCosine has warmup_steps={self.warmup_steps} of total_steps={self.total_steps}; "
                "the warm-up must be 0 or more and end before the last step"
            )
        if not 0.0 <= self.end <= self.peak:
            raise ValueError(f"WarmupCosine has end={self.end} and peak={self.peak}; it needs 0 <= end <= peak")

    def __call__(self, step: Step) -> Rate:
        """Returns the rate of update `step` + 1."""
        i = _number(step)
        share = (i - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        fall = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(share, 0.0, 1.0)))
        return jnp.where(
            i < self.warmup_steps, self.peak * _ramp(i, self.warmup_steps), self.end + (self.peak - self.end) * fall
        )


@dataclass(frozen=True)
class Exponential:
    """A smooth geometric decay, start * ratio^(step / every_steps), after an optional linear ramp.

    Source: Chan et al. 2016 (arXiv:1508.01211), section 4: a decay of 0.98 every 1/20 epoch.
    """

    start: float
    ratio: float  # factor of the rate over `every_steps` steps
    every_steps: int
    ramp_until: int = 0

    def __post_init__(self):
        check_numbers(self, positive=("start", "ratio", "every_steps"))
        if self.ratio > 1.0 or self.ramp_until < 0:
            raise ValueError(
                f"Exponential has ratio={self.ratio}, ramp_until={self.ramp_until}; it needs ratio <= 1, ramp_until >= 0"
            )

    def __call__(self, step: Step) -> Rate:
        """Returns the rate of update `step` + 1."""
        done = jnp.asarray(step, jnp.float32)
        return self.start * _ramp(done + 1.0, self.ramp_until) * self.ratio ** (done / self.every_steps)


def _number(step: Step) -> Rate:
    return jnp.asarray(step, jnp.float32) + 1.0


def _ramp(i: Rate, until: int) -> Rate:
    return jnp.minimum(1.0, i / max(until, 1))
