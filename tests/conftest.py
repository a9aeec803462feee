"""Settings of every test: CPU, four devices, no silent broadcasting, shapes checked, quick compilation, a time limit."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.compilation import DEVICES, QUICK_COMPILATION, QUICK_FLAGS

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{QUICK_FLAGS} {DEVICES}=4"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault(QUICK_COMPILATION, "true")

from jaxtyping import install_import_hook

install_import_hook("jaxasr", "beartype.beartype")

import hypothesis
import jax
import numpy as np
import pytest

from jaxasr.report import measurements
from tests.limits import SLOW_TEST_S, TEST_S, time_limit
from tests.trained_lm import LmRun, lm_run
from tests.trained_run import TrainedRun, compile_cache, shared_folder, trained_run

measurements.RAISES = True  # an error of a measurement fails a test without the fixture `errors_are_left_out`
jax.config.update("jax_numpy_rank_promotion", "raise")
hypothesis.settings.register_profile("jaxasr", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("jaxasr")

MAPS = Path("/proc/self/maps")  # of Linux, which lets a process have 65,530 unless told otherwise
MOST_MAPS = 30_000
STDERR = pytest.StashKey[int]()
IGNORED_IN_BACKGROUND = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)  # by a shell's & and by nohup


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers that are the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture
def errors_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of measurements are reported and left out, as they are outside tests."""
    monkeypatch.setattr(measurements, "RAISES", False)


@pytest.fixture(autouse=True)
def signals_are_received() -> Iterator[None]:
    """Gives the signals a handler: a process that is started inherits what is ignored, and gets the default otherwise."""
    before = {
        signum: signal.signal(signum, signal.default_int_handler)
        for signum in IGNORED_IN_BACKGROUND
        if signal.getsignal(signum) is signal.SIG_IGN
    }
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(autouse=True, scope="module")
def programs_are_let_go() -> Iterator[None]:
    """Every compiled program is mapped into memory several times; a process that has too many maps dies of the next one."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(autouse=True, scope="session")
def programs_are_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The workers of a session, and the processes that tests start, compile a program once."""
    with compile_cache(shared_folder(tmp_path_factory)):
        yield


@pytest.fixture(scope="session", name="trained_run")
def trained_run_fixture(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A corpus of tones and a run trained on it."""
    return trained_run(tmp_path_factory)


@pytest.fixture(scope="session", name="lm_run")
def lm_run_fixture(tmp_path_factory: pytest.TempPathFactory) -> LmRun:
    """A corpus of lines and a language model trained on it."""
    return lm_run(tmp_path_factory)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = os.dup(2)  # what it is before pytest captures it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _limit_of(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _limit_of(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with _limit_of(item):
        return (yield)


def _limit_of(item: pytest.Item) -> contextlib.AbstractContextManager[None]:
    return time_limit(SLOW_TEST_S if item.get_closest_marker("slow") else TEST_S, stderr=item.config.stash[STDERR])
