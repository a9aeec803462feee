"""The subcommand that transcribes audio files and streams."""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxasr.cli.arguments import set_up_process
from jaxasr.cli.audio.transcribe_arguments import declare
from jaxasr.cli.command import Command


def transcribe(options: argparse.Namespace) -> int:
    """Transcribes files of any length, and prints words as they become final.

    A file that can't be used is reported on stderr, and the others are still transcribed.
    """
    from jaxasr.evaluation import select_search
    from jaxasr.experiment import load
    from jaxasr.transcription import (
        CueLimits,
        TranscriptionError,
        check_output_paths,
        iter_transcripts,
        progress_bar,
        write_transcripts,
    )

    changes, files = _split_files(options.assignments, options.files)
    _check_options_used(options)
    if options.stream:
        return _stream(options, changes, files)
    check_output_paths(files, options.format, options.out)
    limits = CueLimits(options.line_characters, options.lines, options.most_s)
    set_up_process()
    search_changes = {
        path.removeprefix("search."): changes.pop(path) for path in [*changes] if path.startswith("search.")
    }
    experiment = load(options.experiment, changes)
    with progress_bar(files) as bar:
        transcripts = iter_transcripts(
            experiment,
            options.workdir,
            files,
            search=select_search(experiment, options.search, search_changes, options.tuned),
            checkpoint=options.checkpoint,
            lms=dict(options.lms),
            hotwords=_read_phrases(options.hotwords) if options.hotwords else (),
            hotword_bonus=options.hotword_bonus,
            times=options.times,
            window_s=options.window_s,
            batch_size=options.batch_size,
            repetition_guard=not options.no_repetition_guard,
            windows=options.windows,
            fallback=_fallback(options),
            progress=bar,
            **_threshold(options),
        )
        status = 0
        for transcript in write_transcripts(transcripts, options.format, options.out, limits):
            for line in _remarks(transcript):
                print(f"jaxasr transcribe: {line}", file=sys.stderr)
            status |= isinstance(transcript, TranscriptionError)
    return status


def _threshold(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the threshold of the no-speech decision if it was given; without it the library has a default."""
    return {"no_speech_threshold": options.no_speech_threshold} if "no_speech_threshold" in options else {}


def _fallback(options: argparse.Namespace) -> Any:
    """Returns the rule by which windows are decoded again; None: none are."""
    from jaxasr.transcription import Fallback

    wanted = options.windows == "timestamps" if options.fallback is None else options.fallback
    return Fallback() if wanted else None


def _remarks(transcript: Any) -> Iterator[str]:
    """Yields what a user should know about a file besides its words."""
    from jaxasr.transcription import TranscriptionError

    if isinstance(transcript, TranscriptionError):
        yield transcript.reason
        return
    if not transcript.complete:
        yield f"{transcript.path}: a search was cut before it came to an end"
    if transcript.drawn:
        yield f"{transcript.path}: {transcript.drawn} windows failed and were decoded again at higher temperatures"
    if fault := transcript.fault:
        yield f"{transcript.path}: {fault.kind} ({fault.detail})"
    if transcript.withheld:
        silent = sum(not window.speech for window in transcript.windows)
        yield (
            f"{transcript.path}: no speech in {silent} of {len(transcript.windows)} windows ({transcript.no_speech_s:.1f} "
            f"of {transcript.seconds:.1f} s), where {transcript.withheld} recognised words are withheld; --format json lists "
            "them, --no-speech-threshold off keeps them"
        )


def _split_files(given: list[str], files: list[Path]) -> tuple[dict[str, str], list[Path]]:
    """Returns the overrides of the experiment by path, and the files. Overrides may stand among the files."""
    from jaxasr import tree

    existing = [file for file in files if not _ASSIGNED.match(str(file)) or file.exists()]
    changes = tree.parse([*given, *(str(file) for file in files if file not in existing)])
    if not existing:
        raise ValueError("there is nothing to hear: give at least one FILE")
    return changes, existing


_ASSIGNED = re.compile(r"[A-Za-z_][\w.]*=")


def _check_options_used(options: argparse.Namespace) -> None:
    """Raises ValueError for an option that has no effect with --stream, or without it."""
    unused = _WITHOUT_STREAM if options.stream else _WITH_STREAM
    given = [_flag(name) for name, default in unused.items() if getattr(options, name, default) != default]
    if given:
        raise ValueError(f"{', '.join(given)} can't be used with{'' if options.stream else 'out'} --stream")
    if options.hotword_bonus != _WITHOUT_STREAM["hotword_bonus"] and not options.hotwords:
        raise ValueError("--hotword-bonus is what --hotwords are paid, and none were given")


def _flag(name: str) -> str:
    return "--lm" if name == "lms" else "--" + name.replace("_", "-")


_NOT_GIVEN = "not given"
_WITH_STREAM = {"real_time": False, "chunk_ms": None, "reset_encoder": False}
_WITHOUT_STREAM = {"search": "", "tuned": None, "hotwords": None, "hotword_bonus": 0.5, "lms": []}
_WITHOUT_STREAM |= {"line_characters": 42, "lines": 1, "most_s": 6.0}
_WITHOUT_STREAM |= {"windows": "pauses", "fallback": None}
_WITHOUT_STREAM |= {"window_s": None, "times": "auto", "batch_size": 8, "no_speech_threshold": _NOT_GIVEN}


def _read_phrases(file: Path) -> list[str]:
    if not file.is_file():
        raise FileNotFoundError(f"there is no file of hotwords {file}")
    phrases = list(filter(str.strip, file.read_text(encoding="utf-8").splitlines()))
    if not phrases:
        raise ValueError(f"{file} has no hotwords; a phrase a line is needed")
    return phrases


def _stream(options: argparse.Namespace, changes: dict[str, str], files: list[Path]) -> int:
    """Prints each word of one stream as soon as it is final, and the latency at the end."""
    from jaxasr.experiment import load
    from jaxasr.transcription import live

    if len(files) != 1 or options.format not in live.RENDERERS or options.out is not None:
        raise ValueError(
            f"--stream hears one FILE or -, and prints what it hears as {' or '.join(live.RENDERERS)}; it was given "
            f"{len(files)} files, --format {options.format} and --out {options.out}"
        )
    set_up_process()
    words = live.stream(
        load(options.experiment, changes),
        options.workdir,
        files[0],
        real_time=options.real_time,
        chunk_ms=options.chunk_ms,
        reset_encoder_at_endpoint=options.reset_encoder,
        checkpoint=options.checkpoint,
        repetition_guard=not options.no_repetition_guard,
    )
    for word in words:
        print(live.RENDERERS[options.format](word), flush=True)
    return 0


COMMANDS = (
    Command(
        "transcribe",
        "Transcribes audio files of any length, or a stream, with the model of a run.",
        declare,
        transcribe,
        (
            "jaxasr transcribe experiments/an4/las.py --workdir runs/an4 speech.flac",
            "jaxasr transcribe experiments/an4/las.py --workdir runs/an4 --format srt --out subtitles talk.mp3 "
            "--search beam search.width=20",
            "ffmpeg -i film.mkv -f flac - | jaxasr transcribe experiments/an4/las.py --workdir runs/an4 /dev/stdin",
            "arecord -f S16_LE -r 16000 | jaxasr transcribe experiments/quickstart/streaming.py --workdir runs/live "
            "--stream -",
        ),
    ),
)
