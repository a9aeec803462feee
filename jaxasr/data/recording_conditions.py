"""Recording conditions that an evaluation adds to speech: noise, reverberation, another speed or level.

Every change is a function of the utterance's key, so an utterance sounds the same in any batch, process and evaluation.
"""

import re
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Int16

from jaxasr.data.batching.lengths import speed_ratio
from jaxasr.data.non_speech import SOUNDS, Sound, mixed, to_int16
from jaxasr.tree import check_numbers

_DECAY_60_DB = np.log(1_000.0)  # of the amplitude
_MOST_DB = 100.0
_MOST_S = 10.0
_STREAM = 0x5CE7E  # of the random numbers of this module


@dataclass(frozen=True)
class RecordingCondition:
    """A recording condition, in the order in which it is made: speed, reverberation, sound at a ratio, level.

    Reverberation is white noise that decays by 60 dB in so many seconds, added to the direct sound with the same energy
    (Polack 1988, the diffuse tail at the critical distance). The speech keeps its mean square in it.

    Raises:
        ValueError: nothing is changed, there is no such sound, or a number is out of range.
    """

    sound: str = "pink noise"  # of `data.non_speech.SOUNDS`: noises, hum, tones, chords, drums
    snr_db: float | None = None  # mean square of the utterance to that of the sound; None: no sound
    reverberation_s: float = 0.0  # until it has decayed by 60 dB, up to 10
    speed: float = 1.0  # 0.5 to 2: tempo and pitch change together
    gain_db: float = 0.0  # samples that do not fit into 16 bits are clipped

    def __post_init__(self):
        check_numbers(self, not_negative=("reverberation_s",))
        speed_ratio(self.speed)
        if self.sound not in SOUNDS:
            raise ValueError(f"RecordingCondition.sound is {self.sound!r}; there are {', '.join(SOUNDS)}")
        if self.reverberation_s > _MOST_S:
            raise ValueError(f"{self}: reverberation_s must be at most {_MOST_S:g}")
        if max(abs(self.snr_db or 0.0), abs(self.gain_db)) > _MOST_DB:
            raise ValueError(f"{self}: snr_db and gain_db must be between -{_MOST_DB:g} and {_MOST_DB:g}")
        if not self.name:
            raise ValueError(f"{self} changes nothing: set snr_db, reverberation_s, speed or gain_db")

    @property
    def name(self) -> str:
        """The condition in words, such as "pink noise at 10 dB"."""
        parts = [
            "" if self.speed == 1.0 else f"speed {self.speed:g}",
            f"reverberation of {self.reverberation_s:g} s" if self.reverberation_s else "",
            "" if self.snr_db is None else f"{self.sound} at {self.snr_db:g} dB",
            f"level {self.gain_db:+g} dB" if self.gain_db else "",
        ]
        return ", ".join(filter(None, parts))

    @property
    def slug(self) -> str:
        """The condition as a part of a file's name."""
        return re.sub(r"[^\w.+-]+", "-", self.name)

    def __call__(self, wave_n: Int16[np.ndarray, " n"], *, rate_hz: int, key: int) -> Int16[np.ndarray, " n"]:
        """Returns an utterance, already at its speed, under the condition.

        Args:
            key: that of the utterance (`data.prepared.corpus.example_key`).
        """
        generator = np.random.default_rng((_STREAM, key))
        sound_n = wave_n.astype(np.float64)
        if self.reverberation_s:
            sound_n = _reverberant(sound_n, round(self.reverberation_s * rate_hz), generator)
        if self.snr_db is not None:
            sound_n = mixed(sound_n, SOUNDS[self.sound](len(sound_n), rate_hz, generator), self.snr_db)
        return to_int16(sound_n, self.gain_db)


def _reverberant(sound_n: Sound, decay: int, generator: np.random.Generator) -> Sound:
    """Returns the sound with a diffuse tail, which decays by 60 dB over `decay` samples, and with its mean square."""
    times_m = np.arange(max(1, decay)) / max(1, decay)
    tail_m = generator.standard_normal(len(times_m)) * np.exp(-_DECAY_60_DB * times_m)
    response_m = tail_m / np.sqrt(np.sum(np.square(tail_m)))
    response_m[0] += 1.0
    size = len(sound_n) + len(response_m)
    wet_n = np.fft.irfft(np.fft.rfft(sound_n, size) * np.fft.rfft(response_m, size), size)[: len(sound_n)]
    return wet_n * np.sqrt(np.mean(np.square(sound_n)) / (np.mean(np.square(wet_n)) + 1e-12))


STANDARD_CONDITIONS = (
    *(RecordingCondition("pink noise", snr_db=snr_db) for snr_db in (20.0, 10.0, 0.0)),
    RecordingCondition("song", snr_db=10.0),
    RecordingCondition("engine", snr_db=10.0),
    *(RecordingCondition(reverberation_s=seconds) for seconds in (0.3, 0.8)),
    *(RecordingCondition(speed=speed) for speed in (0.8, 1.2)),
    *(RecordingCondition(gain_db=gain_db) for gain_db in (-30.0, 20.0)),
)


def parse_conditions(text: str) -> tuple[RecordingCondition, ...]:
    """Parses "standard", or fields of one condition such as "sound=engine,snr_db=5,speed=1.1".

    Raises:
        ValueError: it is neither, or the condition is refused.
    """
    if text == "standard":
        return STANDARD_CONDITIONS
    names = [field.name for field in fields(RecordingCondition)]
    values: dict[str, str | float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in names or not value:
            raise ValueError(f"{part!r} is no field of a condition; NAME=VALUE with {', '.join(names)}, or standard")
        values[name] = value if name == "sound" else float(value)
    return (RecordingCondition(**values),)  # pyright: ignore[reportArgumentType]
