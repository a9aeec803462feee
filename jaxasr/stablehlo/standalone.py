"""Transcribes 16-bit mono WAV files by the programs beside this file, with jax and NumPy alone."""

import json
import sys
import wave
from pathlib import Path

import jax.export
import numpy as np

if __name__ == "__main__":
    folder = Path(__file__).parent
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    waves_bn = np.zeros((manifest["batch"] or len(sys.argv) - 1, manifest["samples"]), np.int16)
    lengths_b = np.zeros(len(waves_bn), np.int32)
    for row, file in enumerate(sys.argv[1:]):
        with wave.open(file) as audio:
            if (audio.getnchannels(), audio.getsampwidth(), audio.getframerate()) != (1, 2, manifest["rate_hz"]):
                sys.exit(f"{file}: 16-bit mono at {manifest['rate_hz']} Hz is needed")
            lengths_b[row] = audio.getnframes()
            waves_bn[row, : lengths_b[row]] = np.frombuffer(audio.readframes(audio.getnframes()), "<i2")

    search = jax.export.deserialize(bytearray((folder / "search.jax_export").read_bytes()))
    found = search.call(dict(np.load(folder / "params.npz")), waves_bn, lengths_b)
    for file, tokens_u, length in zip(sys.argv[1:], found["tokens_bu"], found["token_lengths_b"], strict=False):
        text = b"".join(bytes.fromhex(manifest["pieces"][token]) for token in tokens_u[:length]).decode(
            errors="replace"
        )
        print(f"{file}: {text.removeprefix(' ') if manifest['drops_first_space'] else text}")
