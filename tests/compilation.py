"""How much the compiler optimises in tests."""

import contextlib
import os
from collections.abc import Iterator
from importlib.metadata import version

import pytest

QUICK_COMPILATION = "JAX_DISABLE_MOST_OPTIMIZATIONS"  # set for all tests and their processes, as in JAX's own tests

DEVICES = "--xla_force_host_platform_device_count"
OLD_EMITTERS = (
    "--xla_cpu_use_fusion_emitters=false"  # halves the time to compile; jaxlib 0.12 ends a process that says it
)
ONE_UNIT = "--xla_cpu_parallel_codegen_split_count=1"  # of code a program: the cores have other tests to do


def quick_flags(given: str) -> str:
    """Returns XLA_FLAGS for processes that compile much and run little. What is given wins, but for a number of devices."""
    others = [flag for flag in given.split() if not flag.startswith(DEVICES)]
    quick = [OLD_EMITTERS, ONE_UNIT] if version("jaxlib").startswith("0.10.") else [ONE_UNIT]
    return " ".join([*(flag for flag in quick if flag.partition("=")[0] not in given), *others])


QUICK_FLAGS = quick_flags(os.environ.get("XLA_FLAGS", ""))


@contextlib.contextmanager
def full_optimization() -> Iterator[None]:
    """Compiles as a user's run does, here and in the processes that start here: for tests that read or time programs."""
    import jax  # not above: the settings of conftest.py come first

    before = jax.config.read("jax_disable_most_optimizations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(QUICK_COMPILATION, "false")
        jax.config.update("jax_disable_most_optimizations", False)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", before)
