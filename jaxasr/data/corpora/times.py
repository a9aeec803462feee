"""The columns of a manifest that state times: the segment of a recording, or the duration of a file.

    start, offset, begin   the start of a segment          end, stop   its end          duration   its length

Names may go on with `_time` and with a unit: `_s` (as without a unit), `_ms` or `_samples`; `audio_start_ms` is one of them.
`duration` alone is the duration of the whole file, which is checked. Times are decimal numbers, so segments are exact to the
sample.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from jaxasr.data.corpora.source import OutsideError, StatedDuration

_MOST = 1_000_000_000  # seconds, milliseconds or samples
_RELATIVE_TOLERANCE = 0.01  # of a stated duration: players estimate that of MP3 files
_COLUMN = re.compile(
    r"(?:audio_|segment_|seg_|clip_|utt_|utterance_)?"
    r"(?:(?P<start>start|offset|begin|onset)|(?P<end>end|stop)|(?P<duration>duration|dur))"
    r"(?:_?time)?(?:_?(?P<unit>s|sec|secs|seconds?|ms|msec|milliseconds?|samples?|frames?))?"
)
_UNITS = {"s": "s", "ms": "ms", "mi": "ms", "sa": "samples"}


@dataclass(frozen=True)
class Time:
    """A point or a stretch of time, as a manifest states it."""

    value: Decimal
    unit: str  # "s", "ms" or "samples" of the recording

    def seconds(self, rate_hz: int) -> Decimal:
        """Returns the time in seconds."""
        return self.value / {"s": 1, "ms": 1000, "samples": rate_hz}[self.unit]

    @property
    def tolerance_s(self) -> float:
        """The precision of the value: 0.1 s, or one of its last digit if that is more."""
        digits = -int(self.value.as_tuple().exponent) + (3 if self.unit == "ms" else 0)
        return 0.1 if self.unit == "samples" else max(0.1, 10.0**-digits)


@dataclass(frozen=True)
class RecordingSegment:
    """A part of a recording. A segment without `end` and `duration` reaches to the end of the recording."""

    start: Time | None
    end: Time | None
    duration: Time | None

    def samples(self, total: int, rate_hz: int) -> slice:
        """Returns the samples of the segment in a recording.

        An end that is at most its own precision behind that of the recording is the end of the recording.

        Raises:
          OutsideError: the segment begins behind its end or is not in the recording.
        """
        start_s = self.start.seconds(rate_hz) if self.start else Decimal(0)
        last = self.end or self.duration
        end_s = None if last is None else last.seconds(rate_hz) + (start_s if last is self.duration else 0)
        start = _nearest(start_s * rate_hz)
        end = total if end_s is None else _nearest(end_s * rate_hz)
        late = end - total
        if not start < end or start >= total or (last and late > last.tolerance_s * rate_hz):
            raise OutsideError(
                f"the segment of {start_s:g} s to {end / rate_hz:g} s is not in the recording of {total / rate_hz:g} s"
            )
        return slice(start, min(end, total))


def find_times(row: Mapping[str, str]) -> RecordingSegment | StatedDuration | None:
    """Returns the segment or the duration that a row of a manifest states, or None.

    Raises:
      ValueError: a time is not a number of seconds, milliseconds or samples, or two columns contradict each other.
    """
    found: dict[str, Time] = {}
    for column, value in time_columns(row).items():
        match = _match(column)
        assert match is not None
        role = _role(match)
        if role in found:
            raise ValueError(f"a second column states the {role}: {column!r}; leave one of them out")
        found[role] = _time(column, value, match["unit"])
    start, end, duration = (found.get(role) for role in ("start", "end", "duration"))
    if start is None and end is None:
        return _stated(duration) if duration else None
    _check_consistent(start, end, duration)
    return RecordingSegment(start, end, duration)


def time_columns(row: Mapping[str, str]) -> dict[str, str]:
    """Returns the columns of a row that state times, and their texts."""
    return {name: value.strip() for name, value in row.items() if _match(name) and value.strip()}


def _match(column: str) -> re.Match[str] | None:
    return _COLUMN.fullmatch(column.strip().lower().replace("-", "_"))


def _role(match: re.Match[str]) -> str:
    return next(role for role in ("start", "end", "duration") if match[role])


def _time(column: str, value: str, unit: str | None) -> Time:
    if unit and unit.startswith("frame"):
        raise ValueError(f"column {column!r} counts frames of unknown length; name it .._s, .._ms or .._samples")
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or not 0 <= number <= _MOST or number.as_tuple().exponent < -30:  # pyright: ignore
        raise ValueError(f"{value:.40} in column {column!r} is no time; a number from 0 to {_MOST:.0e} is needed")
    return Time(number, "s" if not unit else _UNITS.get(unit[:2], "s"))


def _stated(duration: Time) -> StatedDuration:
    if duration.unit == "samples":
        raise ValueError("a duration in samples needs a start; state that of a whole file in seconds")
    seconds = float(duration.seconds(1))
    return StatedDuration(seconds, duration.tolerance_s + _RELATIVE_TOLERANCE * seconds)


def _check_consistent(start: Time | None, end: Time | None, duration: Time | None) -> None:
    """Raises ValueError if the end does not follow from start and duration. Samples and seconds are not compared."""
    if end is None or duration is None or len({time.unit == "samples" for time in (start, end, duration) if time}) > 1:
        return
    length = end.seconds(1) - (start.seconds(1) if start else 0)
    if abs(length - duration.seconds(1)) > max(end.tolerance_s, duration.tolerance_s):
        raise ValueError(f"start and end are {length:g} apart, the duration is {duration.seconds(1):g}")


def _nearest(samples: Decimal) -> int:
    return int(samples.to_integral_value(ROUND_HALF_UP))
