"""Columns of times under all their names and units; what is no time or contradicts another is an error."""

from decimal import Decimal

import pytest

from jaxasr.data.corpora.source import OutsideError, StatedDuration
from jaxasr.data.corpora.times import RecordingSegment, Time, find_times


def cut(row: dict[str, str], total: int = 100_000, rate_hz: int = 10_000) -> slice:
    """Returns the samples of a row's segment."""
    segment = find_times(row)
    assert isinstance(segment, RecordingSegment)
    return segment.samples(total, rate_hz)


@pytest.mark.parametrize(
    "row",
    [
        {"start": "1.5", "end": "2"},
        {"offset": "1.5", "duration": "0.5"},
        {"Offset_S": "1.50", "Duration_s": "0.50"},
        {"begin_time": "1.5", "end_time": "2.0"},
        {"startTime": "1.5", "stop": "2.0"},
        {"audio_start_ms": "1500", "audio_end_ms": "2000"},
        {"segment-start": "15e-1", "segment-end": "2", "duration": "0.5"},
        {"start_samples": "15000", "duration_samples": "5000"},
        {"onset_sec": "1.5", "dur_ms": "500"},
        {"start_seconds": "1.5", "end": "2", "duration": ""},
    ],
)
def test_all_names_and_units_of_a_segment(row: dict[str, str]):
    assert cut({"id": "a", "speaker": "b", "mood": "end", **row}) == slice(15_000, 20_000)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 44_100])
def test_a_segment_is_exact_to_the_sample(rate_hz: int):
    """In binary, 0.1 + 0.2 is more than 0.3."""
    where = cut({"offset": "0.1", "duration": "0.2"}, rate_hz, rate_hz)
    assert (where.start, where.stop) == ((rate_hz + 5) // 10, (3 * rate_hz + 5) // 10)
    half = cut({"start": str(Decimal(1001) / 2 / rate_hz)}, rate_hz, rate_hz)
    assert half.start == 501


def test_an_open_segment_reaches_to_the_end():
    assert cut({"offset": "9"}) == slice(90_000, 100_000)
    assert cut({"end": "1"}) == slice(0, 10_000)


def test_an_end_may_be_rounded_up():
    assert cut({"start": "9", "end": "10.06"}) == slice(90_000, 100_000)
    assert cut({"start": "9", "end": "11"}) == slice(90_000, 100_000)  # whole seconds
    with pytest.raises(OutsideError, match=r"of 9 s to 10.2 s is not in the recording of 10 s"):
        cut({"start": "9", "end": "10.20"})


@pytest.mark.parametrize("row", [{"start": "10"}, {"start": "3", "end": "3"}, {"start": "4", "end": "3"}, {"end": "0"}])
def test_a_segment_without_samples_is_outside(row: dict[str, str]):
    with pytest.raises(OutsideError):
        cut(row)


def test_a_duration_alone_is_that_of_the_file():
    for row, tolerance_s in (({"duration": "10.0"}, 0.2), ({"duration_ms": "10000"}, 0.2), ({"duration": "10"}, 1.1)):
        stated = find_times(row)
        assert isinstance(stated, StatedDuration)
        assert stated.seconds == 10.0
        assert stated.tolerance_s == pytest.approx(tolerance_s)


def test_a_row_without_times_has_none():
    assert find_times({"id": "a", "audio": "b", "offset": " ", "duration_s": "", "start_word": "x"}) is None


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "00:01:02", "1e999999999", "1e-999999999", "2e9", "True", "[1]"])
@pytest.mark.parametrize("column", ["start", "end", "duration"])
def test_what_is_no_time_is_an_error(column: str, value: str):
    with pytest.raises(ValueError, match=rf"in column '{column}' is no time"):
        find_times({column: value})


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"start": "1", "offset": "1"}, "a second column states the start: 'offset'"),
        ({"start": "1.0", "end": "3.0", "duration": "1.5"}, "start and end are 2.0 apart, the duration is 1.5"),
        ({"start_frame": "10"}, "counts frames of unknown length"),
        ({"duration_samples": "10"}, "a duration in samples needs a start"),
    ],
)
def test_what_cannot_be_meant_is_an_error(row: dict[str, str], error: str):
    with pytest.raises(ValueError, match=error):
        find_times(row)


def test_the_precision_of_a_time_is_that_of_its_last_digit():
    assert Time(Decimal("3"), "s").tolerance_s == 1.0
    assert Time(Decimal("3.25"), "s").tolerance_s == 0.1
    assert Time(Decimal("3250"), "ms").tolerance_s == 0.1
    assert Time(Decimal("52000"), "samples").tolerance_s == 0.1
