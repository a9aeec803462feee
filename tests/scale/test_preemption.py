"""Processes agree on one step that none of them has begun, whoever asks; here they are threads with one store of keys.

Real processes: tests/run/test_interrupt.py.
"""

import itertools
import threading
import time

import pytest

from jaxasr.scale import preemption as agreement
from jaxasr.scale.preemption import PreemptionSync


class Store:
    """What of the coordination service's client is used."""

    def __init__(self):
        self.values: dict[str, str] = {}

    def key_value_set(self, key: str, value: str):
        assert key not in self.values, "the service refuses a key that is there"
        self.values[key] = value

    def key_value_dir_get(self, folder: str) -> list[tuple[str, str]]:
        return [(key, value) for key, value in list(self.values.items()) if key.startswith(folder)]


@pytest.fixture
def processes(monkeypatch):
    """Makes the agreements of so many processes."""

    def make(count: int) -> list[PreemptionSync]:
        store, made = Store(), []
        for number in range(count):
            monkeypatch.setattr(agreement, "client", lambda: store)
            monkeypatch.setattr(agreement, "process", lambda number=number: (number, count))
            monkeypatch.setattr(agreement, "_agreements", iter([0]))
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
        assert not any([first.due(4), second.due(6), third.due(5)])
        third.ask(10)
        until(lambda: all(each.reason for each in (first, second, third)))
        assert [first.due(5), first.due(6), first.due(7)] == [False, False, True]
        assert second.due(7)
        assert [third.due(6), third.due(7), third.due(8)] == [False, True, True]
        assert {each.reason for each in (first, second, third)} == {10}


def test_nobody_waits_for_one_that_has_made_its_last_step(processes):
    first, second = processes(2)
    with first:
        with second:
            assert not first.due(3)
            assert not second.due(3)
        first.ask(15)
        steps = itertools.count(4)
        until(lambda: first.due(next(steps)))


def test_a_process_begins_no_step_while_the_others_tell_how_far_they_are(processes):
    """The second has not come to its loop yet; the first may not go on before it is known how far that is."""
    first, second = processes(2)
    decided: list[bool] = []
    with first:
        assert not first.due(1)
        first.ask(15)
        until(lambda: first._lock.locked())
        step = threading.Thread(target=lambda: decided.append(first.due(2)))
        step.start()
        step.join(0.1)
        assert step.is_alive()
        with second:
            step.join(30.0)
        assert decided == [True]
