"""The clocks of the loop: implicit transfers are errors in a step and allowed in a pause, which no clock counts as steps."""

import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.run.clocks import Clocks, process_start_s
from jaxasr.run.goodput import Goodput
from jaxasr.run.throughput import ThroughputMonitor
from jaxasr.scale import Watchdog

IMPORTED_S = time.perf_counter()


@pytest.fixture
def clocks(tmp_path):
    with (
        Goodput(tmp_path) as goodput,
        ThroughputMonitor(tmp_path, rate_hz=None, goodput=goodput) as throughput,
        Watchdog(tmp_path, limit_s=60.0, grace_s=60.0) as watchdog,
    ):
        yield Clocks(goodput, throughput, watchdog)


def test_a_step_may_copy_arrays_explicitly_only(clocks):
    double = jax.jit(lambda x: 2 * x)
    with clocks.run_steps():
        on_device = double(jax.device_put(np.ones(3, np.float32)))
        np.testing.assert_array_equal(jax.device_get(on_device), np.full(3, 2.0))
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
            double(np.ones(3, np.float32))
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
            on_device + 1.0
        assert jax.config.jax_transfer_guard_device_to_host == "disallow"  # a CPU has no such transfer to forbid
    double(np.ones(3, np.float32))


def test_a_pause_allows_copies_and_is_no_step(clocks):
    started_s = clocks.throughput._started_s
    with clocks.run_steps():
        with clocks.pause("evaluation"):
            time.sleep(0.2)
            assert float(jnp.ones(()) + 1.0) == 2.0
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
            jax.jit(jnp.sin)(np.ones(3))
        seconds = clocks.goodput.totals().seconds
    assert seconds["evaluation"] + seconds["compile"] >= 0.2
    assert clocks.throughput._started_s >= started_s + 0.2


def test_a_process_knows_when_it_began():
    first_s = process_start_s()
    second_s = process_start_s()
    assert first_s < IMPORTED_S
    assert first_s == pytest.approx(second_s, abs=0.02)
    assert time.perf_counter() - first_s > time.process_time() / (os.cpu_count() or 1)
