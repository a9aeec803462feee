"""Trained runs that a server holds: loaded, compiled for every shape of a request, with a picture of their attention."""

import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Int16

from jaxasr.data.audio import stream_audio
from jaxasr.evaluation import select_search
from jaxasr.evaluation.decode_split import spectrogram_db
from jaxasr.experiment import load
from jaxasr.experiment.restore import Choice
from jaxasr.nn.decoders.transformer import TransformerDecoder
from jaxasr.report.attention import alignment
from jaxasr.text import ByteLevelBpe
from jaxasr.transcription import (
    FileTranscriber,
    PartialTranscript,
    Transcript,
    TranscriptionError,
    load_transcriber,
)
from jaxasr.transcription.decode import DecodedBatch, DecodeFn, compile_decode_fn

_DRAWING = threading.Lock()  # Matplotlib's caches of fonts are shared by all figures
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


@dataclass(frozen=True)
class ServedModel:
    """A run that is loaded, under the name by which requests choose it."""

    name: str
    transcriber: FileTranscriber
    attend: DecodeFn  # decodes with the weights of the attention
    created: int  # time of loading, in seconds since 1970

    @property
    def rate_hz(self) -> int:
        """The sample rate of the model."""
        return self.transcriber.transcriber.rate_hz

    @property
    def language(self) -> str | None:
        """The language that the prompt of a multilingual Whisper names; None: the model has no choice of languages."""
        decoder = self.transcriber.form.model.decoder
        tokenizer = self.transcriber.experiment.tokenizer
        if not isinstance(decoder, TransformerDecoder) or not isinstance(tokenizer, ByteLevelBpe):
            return None
        names = {tokenizer.token(id): name for name, id in tokenizer.specials.items()}
        found = [match[1] for token in decoder.prompt if (match := _LANGUAGE.fullmatch(names.get(token, "")))]
        return found[0] if found else None

    def transcribe(self, path: Path) -> Iterator[PartialTranscript | Transcript | TranscriptionError]:
        """Yields the words of a file as they become final, and its transcript or an error at the end."""
        return self.transcriber([path])

    def warm_up(self) -> float:
        """Compiles the programs of every length of a window, and returns the seconds that it took."""
        begun = time.monotonic()
        windows = self.transcriber.transcriber
        noise = np.random.default_rng(0).normal(0.0, 300.0, windows.longest_samples).astype(np.int16)
        for share in windows.length_fractions:
            wave_n = noise[: int(share * windows.longest_samples)]
            self.transcriber.transcribe_fn([wave_n])
            self._decode(wave_n)
        return time.monotonic() - begun

    def attention_picture(self, path: Path) -> bytes | None:
        """Returns a PNG of the attention below the spectrogram, for the first window of a file; None: nothing to draw."""
        wave_n = self._first_window(path)
        if not wave_n.any():
            return None
        decoded = self._decode(wave_n)
        tokens_u = np.asarray(decoded.tokens_bu[0, : int(decoded.token_lengths_b[0])])
        if decoded.weights_bus is None or not len(tokens_u):
            return None
        seconds = len(wave_n) / self.rate_hz
        real = min(int(decoded.hidden_lengths_b[0]), self.transcriber.transcriber.clock.positions(seconds))
        weights_us = np.asarray(decoded.weights_bus)[0, : len(tokens_u), :real]
        tokenizer = self.transcriber.experiment.tokenizer
        if not weights_us.size:
            return None
        with _DRAWING, tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "attention.png"
            alignment(
                weights_us,
                tokens=[tokenizer.decode([token]) for token in tokens_u.tolist()],
                seconds=seconds,
                path=file,
                title=self.name,
                levels_ft=spectrogram_db(wave_n.astype(np.float32), self.rate_hz),
            )
            return file.read_bytes()

    def _decode(self, wave_n: Int16[np.ndarray, " n"]) -> DecodedBatch:
        windows = self.transcriber.transcriber
        return jax.device_get(self.attend(windows.variables, windows.batch([wave_n]), windows.lms))

    def _first_window(self, path: Path) -> Int16[np.ndarray, " n"]:
        most = self.transcriber.transcriber.longest_samples
        blocks = []
        samples = 0
        for block_n in stream_audio(path, rate_hz=self.rate_hz):
            blocks.append(block_n)
            samples += len(block_n)
            if samples >= most:
                break
        return np.concatenate(blocks)[:most]


def load_model(spec: str, *, search: str = "", checkpoint: Choice = "best") -> ServedModel:
    """Loads a run.

    Args:
        spec: `[NAME=]EXPERIMENT@WORKDIR`, where EXPERIMENT is FILE.py, FILE.py:function or FILE.py:generator:variant; or
            `[NAME=]WORKDIR` of a run that has its experiment.py in it, as an import does.
        search: the name of a search, as for `jaxasr transcribe`; "": the search for files.

    Raises:
        FileNotFoundError: there is no such file, run or checkpoint.
        ValueError: the specification is incomplete, or the run does not fit its experiment.
    """
    name, file, workdir = parse_run(spec)
    experiment = load(file)
    chosen = select_search(experiment, search, {}, None)
    transcriber = load_transcriber(experiment, workdir, search=chosen, checkpoint=checkpoint, batch_size=1)
    form = transcriber.form
    return ServedModel(
        name, transcriber, compile_decode_fn(form.model, form.search, times="attention"), int(time.time())
    )


def parse_run(spec: str) -> tuple[str, str, Path]:
    """Returns the name, the experiment and the folder of a run. `load_model` describes the specification and errors."""
    match = re.fullmatch(r"(?:([\w.-]+)=)?(.+)", spec)
    name, place = (match[1] or "", match[2]) if match else ("", spec)
    file, _, folder = place.rpartition("@")
    workdir = Path(folder)
    if not folder or not workdir.is_dir():
        raise FileNotFoundError(
            f"{spec}: there is no folder {folder or '(empty)'}; give EXPERIMENT.py@WORKDIR, or a WORKDIR that has its "
            "experiment.py, with NAME= in front if you like"
        )
    if not file:
        if not (workdir / "experiment.py").is_file():
            raise FileNotFoundError(
                f"{spec}: {workdir} has no experiment.py, so say which experiment it was trained with: "
                f"EXPERIMENT.py@{workdir}"
            )
        file = str(workdir / "experiment.py")
    return name or workdir.resolve().name, file, workdir
