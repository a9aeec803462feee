"""Speech synthesis with the C library of eSpeak NG, in a separate process.

The library keeps state, such as the phase of its oscillators, from one utterance to the next, so a repeated request gives
slightly different samples. A new process gives bit-equal samples for the same requests in the same order. This file is
both client and server: `Synthesizer` starts it as a script, so it imports nothing of this package.
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
    """A request to synthesize one utterance."""

    text: str
    voice: str  # accent+variant, for instance "en-us+m3"
    speed_wpm: int  # words per minute, 80 to 450
    pitch: int  # 0 to 99; 50 is the default of the voice
    pitch_range: int  # 0 (monotone) to 99
    word_gap: int  # pause between words, in units of 10 ms at the default speed


class Synthesizer:
    """A client of the synthesis process, to be used as a context.

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
        """Synthesizes an utterance. Returns 16-bit samples at RATE_HZ in native byte order.

        Raises:
          RuntimeError: eSpeak failed, for instance because the voice is unknown.
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
    """Serves requests: reads one JSON line for each and writes the number of bytes and the samples."""
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
        return 0  # continue the synthesis

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
