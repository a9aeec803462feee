"""The persistent compilation cache, and a counter of the programs that a run compiles."""

import hashlib
import math
import os
import threading
import time
from pathlib import Path
from types import TracebackType

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxasr.scale.hosts import cpu_info

VARIABLE = "JAX_COMPILATION_CACHE_DIR"

_COMPILING = "/jax/core/compile/"  # tracing, lowering, compiling; one may run within another
_COMPILED = _COMPILING + "backend_compile_duration"
_HIT = "/jax/compilation_cache/cache_hits"


def use_compile_cache(folder: Path | None = None) -> Path:
    """Turns on JAX's persistent cache for programs of every size, and returns its folder.

    Args:
        folder: None takes JAX_COMPILATION_CACHE_DIR. If that is unset, it takes a folder under ~/.cache/jaxasr/xla named by
            the features of this processor. Several machines may share a home, and a program that was compiled for
            another processor could crash here.

    Raises:
        PermissionError: the folder can't be written to.
    """
    if folder is None:
        given = os.environ.get(VARIABLE)
        folder = Path(given) if given else Path.home() / ".cache" / "jaxasr" / "xla" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(
            f"no compile cache at {folder} ({error}); set {VARIABLE} to a folder to write to"
        ) from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the compile cache {folder} can't be written to; set {VARIABLE} to one that can")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    compilation_cache.reset_cache()  # JAX reads the folder's name once a process; this makes it read the name again
    return folder


class CompileCounter:
    """A context manager that counts the programs that this process compiles or takes from the persistent cache.

    >>> with CompileCounter() as compiles:
    ...     step(state, batch)
    >>> compiles.names
    ['jit(step)']
    """

    def __init__(self):
        self.names: list[str] = []  # of the programs, in order
        self.from_cache = 0  # number of programs that were in the persistent cache
        self._spans: list[
            tuple[float, float]
        ] = []  # start and end of tracing, lowering or compiling; disjoint, in order
        self._thread = threading.get_ident()

    @property
    def count(self) -> int:
        """The number of programs compiled, including those from the cache."""
        return len(self.names)

    @property
    def seconds(self) -> float:
        """The time that the thread of the counter spent on tracing, lowering and compiling. Nested events count once."""
        return math.fsum(end - start for start, end in self._spans)

    def __enter__(self) -> "CompileCounter":
        jax.monitoring.register_event_duration_secs_listener(self._time)
        jax.monitoring.register_event_listener(self._event)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jax.monitoring.unregister_event_duration_listener(self._time)
        jax.monitoring.unregister_event_listener(self._event)

    def _time(self, event: str, duration_secs: float, **about: str | int) -> None:
        if event == _COMPILED:
            self.names.append(str(about.get("fun_name", "?")))
        if event.startswith(_COMPILING) and threading.get_ident() == self._thread:
            self._span(time.perf_counter(), duration_secs)

    def _span(self, end: float, seconds: float) -> None:
        """Adds the span of an event that has just ended. It replaces the spans within it, because JAX reports those first."""
        start = end - seconds
        while self._spans and self._spans[-1][0] >= start:
            self._spans.pop()
        if self._spans:
            start = max(start, self._spans[-1][1])
        self._spans.append((start, end))

    def _event(self, event: str, **about: str | int) -> None:
        self.from_cache += event == _HIT


def _processor() -> str:
    return hashlib.sha256(cpu_info("flags").encode()).hexdigest()[:8]
