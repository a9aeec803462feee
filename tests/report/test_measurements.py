"""An error in a measurement is reported once, with its reason; everything else passes."""

import pytest

from jaxasr.report import Measurements
from jaxasr.report import measurements as module

pytestmark = pytest.mark.usefixtures("errors_are_left_out")


def test_an_error_is_reported_once_with_its_reason_and_place():
    printed = []
    measurements = Measurements(printed.append)
    for number in range(3):
        with measurements.optional("the MFU"):
            raise KeyError(f"num_carry {number}")
    with measurements.optional("the page"):
        raise OSError("no space left\nand more")
    assert len(printed) == 2
    assert printed[0].startswith("WARNING: the MFU is left out: KeyError: 'num_carry 0' (at test_measurements.py:")
    assert printed[0].endswith("); the run goes on without it")
    assert printed[1].startswith("WARNING: the page is left out: OSError: no space left (at ")


def test_what_goes_well_is_silent_and_a_long_reason_is_cut(capsys):
    measurements = Measurements()
    with measurements.optional("the page"):
        pass
    assert capsys.readouterr().err == ""
    with measurements.optional("the page"):
        raise ValueError("x" * 10_000)
    assert len(capsys.readouterr().err) < 500


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass(interrupt):
    with pytest.raises(interrupt), Measurements().optional("the page"):
        raise interrupt


def test_a_line_is_printed_once():
    printed = []
    measurements = Measurements(printed.append)
    for _ in range(2):
        measurements.print_once("not counted: pallas_call")
    assert printed == ["not counted: pallas_call"]


def test_in_tests_an_error_is_a_failure(monkeypatch):
    monkeypatch.setattr(module, "RAISES", True)
    with pytest.raises(KeyError), Measurements().optional("the page"):
        raise KeyError("length")
