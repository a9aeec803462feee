"""Tests that processes agree on one step that none has begun. Here they are threads with a common store of keys.

Real processes: tests/run/test_interrupt.py.
"""

import itertools
import threading
import time

import pytest

from jaxasr.scale import preemption
from jaxasr.scale.preemption import PreemptionSync


class Store:
    """A replacement of the coordination service's client, with the methods that are used."""

    def __init__(self):
        self.values: dict[str, str] = {}

    def key_value_set(self, key: str, value: str):
        assert key not in self.values, "the service refuses a key that is there"
        self.values[key] = value

    def key_value_dir_get(self, folder: str) -> list[tuple[str, str]]:
        return [(key, value) for key, value in list(self.values.items()) if key.startswith(folder)]


@pytest.fixture
def processes(monkeypatch):
    """Returns a function that makes the `PreemptionSync` of each of `count` processes."""

    def make(count: int) -> list[PreemptionSync]:
        store = Store()
        made = []
        for number in range(count):
            monkeypatch.setattr(preemption, "client", lambda: store)
            monkeypatch.setattr(preemption, "process", lambda number=number: (number, count))
            monkeypatch.setattr(preemption, "_agreements", iter([0]))
            made.append(PreemptionSync(poll_s=0.01))
        return made

    return make


def until(holds):
    end = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_process_alone_does_at_once_what_it_is_asked():
    with PreemptionSync() as alone:
        assert not alone.reached(1)
        alone.request(15)
        assert alone.reached(2)
        assert alone.reason == 15


def test_the_step_is_the_first_that_none_has_decided_about(processes):
    first, second, third = processes(3)
    with first, second, third:
        assert not any([first.reached(4), second.reached(6), third.reached(5)])
        third.request(10)
        until(lambda: all(process.reason for process in (first, second, third)))
        assert [first.reached(5), first.reached(6), first.reached(7)] == [False, False, True]
        assert second.reached(7)
        assert [third.reached(6), third.reached(7), third.reached(8)] == [False, True, True]
        assert {process.reason for process in (first, second, third)} == {10}


def test_nobody_waits_for_one_that_has_made_its_last_step(processes):
    first, second = processes(2)
    with first:
        with second:
            assert not first.reached(3)
            assert not second.reached(3)
        first.request(15)
        steps = itertools.count(4)
        until(lambda: first.reached(next(steps)))


def test_a_process_begins_no_step_while_the_others_tell_how_far_they_are(processes):
    """The second process is not in its loop yet. The first must wait until the second has published its step."""
    first, second = processes(2)
    decided: list[bool] = []
    with first:
        assert not first.reached(1)
        first.request(15)
        until(lambda: first._lock.locked())
        step = threading.Thread(target=lambda: decided.append(first.reached(2)))
        step.start()
        step.join(0.1)
        assert step.is_alive()
        with second:
            step.join(30.0)
        assert decided == [True]
