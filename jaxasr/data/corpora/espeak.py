"""eSpeak NG, through its C library, in a process of its own.

The library keeps the phase of its oscillators and other state from one utterance to the next, so the same request
sounds a little different the second time. A fresh process that is asked the same things in the same order gives the
same samples, bit for bit. This file is both sides: `Synthesizer` starts it as a script, which therefore imports nothing
of this package.
"""

import ctypes
import dataclasses
import importlib.util
import json
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import BinaryIO

RATE_HZ = 22_050
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT
_UTF8 = 1
_PARAMETERS = {"speed_wpm": 1, "pitch": 3, "pitch_range": 4, "word_gap": 7}  # espeak_PARAMETER


@dataclass(frozen=True)
class Request:
    """One utterance."""

    text: str
    voice: str  # accent+variant, as "en-us+m3"
    speed_wpm: int  # words a minute, 80 to 450
    pitch: int  # 0 to 99, 50 is the voice's own
    pitch_range: int  # 0 (monotone) to 99
    word_gap: int  # between words, 10 ms each at the usual speed


class Synthesizer:
    """The process that speaks. Use as a context.

    Raises:
      ModuleNotFoundError: eSpeak NG is not installed.
    """

    def __enter__(self) -> "Synthesizer":
        if importlib.util.find_spec("espeakng_loader") is None:
            raise ModuleNotFoundError(
                "speech is synthesised with eSpeak NG, which is not installed: `pip install jaxasr[quickstart]`"
            )
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def synthesize(self, request: Request) -> bytes:
        """16-bit samples at RATE_HZ, in the machine's order of bytes.

        Raises:
          RuntimeError: eSpeak refused, for instance an unknown voice.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(dataclasses.asdict(request)).encode() + b"\n")
        self._process.stdin.flush()
        head = self._process.stdout.read(4)
        if len(head) < 4:
            _, errors = self._process.communicate()
            raise RuntimeError(f"eSpeak NG could not say {request}: {errors.decode().strip().splitlines()[-1:]}")
        return self._process.stdout.read(struct.unpack("<I", head)[0])


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers each line of JSON with the number of bytes and the samples."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate_hz != RATE_HZ:
        raise RuntimeError(f"espeak_Initialize answered {rate_hz}, not {RATE_HZ}")
    chunks: list[bytes] = []
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    @callback
    def keep(wave, samples: int, _events) -> int:
        if wave and samples > 0:
            chunks.append(ctypes.string_at(wave, 2 * samples))
        return 0  # go on

    library.espeak_SetSynthCallback(keep)
    for line in requests:
        chunks.clear()
        _speak(library, Request(**json.loads(line)))
        audio = b"".join(chunks)
        answers.write(struct.pack("<I", len(audio)) + audio)
        answers.flush()


def _speak(library: ctypes.CDLL, request: Request) -> None:
    _check(library.espeak_SetVoiceByName(request.voice.encode()), f"voice {request.voice!r}")
    for name, parameter in _PARAMETERS.items():
        _check(library.espeak_SetParameter(parameter, getattr(request, name), 0), name)
    text = request.text.encode()
    _check(library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _UTF8, None, None), "synthesis")
    _check(library.espeak_Synchronize(), "synchronisation")


def _check(status: int, what: str) -> None:
    if status != 0:
        raise RuntimeError(f"{what}: espeak error {status}")


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
