"""The compile cache and the count of compilations."""

import os

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxasr.scale.cache import CompileCounter, use_compile_cache

NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture(autouse=True)
def settings_of_before():
    """The cache is the process's: other tests get it back as it was."""
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
