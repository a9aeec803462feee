"""How much the compiler optimises in tests."""

import contextlib
from collections.abc import Iterator

import pytest

QUICK_COMPILATION = "JAX_DISABLE_MOST_OPTIMIZATIONS"  # set for all tests and their processes, as in JAX's own tests


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
