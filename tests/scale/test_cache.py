"""Tests of the compilation cache and of the counter of compilations."""

import os
import threading
import time

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxasr.scale.cache import CompileCounter, use_compile_cache
from tests.processes import PROCESS_S

NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture(autouse=True)
def settings_of_before():
    """Restores the process's settings of the cache for other tests."""
    before = {name: getattr(jax.config, name) for name in NAMES}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_a_second_compilation_comes_from_the_cache(tmp_path):
    folder = use_compile_cache(tmp_path / "xla")
    with CompileCounter() as first:
        jax.jit(lambda x: jnp.sin(x) * 3)(1.0)
    assert (first.count, first.from_cache) == (1, 0)
    assert any(folder.iterdir())
    jax.clear_caches()
    with CompileCounter() as second:
        jax.jit(lambda x: jnp.sin(x) * 3)(1.0)
    assert (second.count, second.from_cache) == (1, 1)


def test_the_place_is_the_environments_else_under_home(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "given"))
    assert use_compile_cache() == tmp_path / "given"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = use_compile_cache()
    assert folder.parent == tmp_path / ".cache" / "jaxasr" / "xla"
    assert folder.is_dir()
    assert use_compile_cache() == folder  # the same machine, the same folder
    assert jax.config.jax_compilation_cache_dir == str(folder)


def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match="set JAX_COMPILATION_CACHE_DIR"):
        use_compile_cache(tmp_path / "file" / "cache")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="can't be written to; set JAX_COMPILATION_CACHE_DIR"):
        use_compile_cache(tmp_path)


def test_the_counter_counts_while_it_is_entered_and_names_the_program():
    def a_named_step(x):
        return x * 2

    compiled = jax.jit(a_named_step)
    compiled(jnp.ones(3))
    with CompileCounter() as compiles:
        compiled(jnp.ones(3))
        assert compiles.count == 0
        compiled.lower(jax.ShapeDtypeStruct((4,), jnp.float32)).compile()
        assert compiles.names == ["jit(a_named_step)"]
        with CompileCounter() as inner:
            compiled.lower(jax.ShapeDtypeStruct((5,), jnp.float32)).compile()
    assert (inner.count, compiles.count) == (1, 2)
    compiled.lower(jax.ShapeDtypeStruct((6,), jnp.float32)).compile()
    assert compiles.count == 2


def test_the_seconds_of_compiling_are_counted_once():
    def inner(x):
        return jnp.sin(x) + 1

    with CompileCounter() as counter:
        began = time.perf_counter()
        jax.jit(lambda x: jax.jit(inner)(x) * jax.jit(inner)(x + 1))(1.0)
        spent_s = time.perf_counter() - began
        compiled_s = counter.seconds
        jax.jit(inner)(1.0)
        again_s = counter.seconds
        jax.jit(inner)(2.0)
    assert 0.0 < compiled_s <= spent_s
    assert compiled_s < again_s == counter.seconds
    other = threading.Thread(target=lambda: jax.jit(lambda x: x * 7 + 3)(1.0))
    with counter:
        other.start()
        other.join(PROCESS_S)
    assert counter.seconds == again_s  # another thread's time does not count


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([(2.0, 1.0), (5.0, 2.0)], 3.0),  # one after the other: from 1 to 2, from 3 to 5
        ([(2.0, 1.0), (3.0, 0.5), (4.0, 3.0)], 3.0),  # the last one holds the others
        ([(1.0, 1.0), (4.0, 0.5), (5.0, 2.0)], 3.0),  # it holds the one before
    ],
)
def test_what_lies_within_another_span_is_no_time_of_its_own(spans, seconds):
    counter = CompileCounter()
    for end, length in spans:
        counter._span(end, length)
    assert counter.seconds == pytest.approx(seconds)
