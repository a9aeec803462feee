"""The command that hears files and streams: which options go together, and what is printed.

As in cli/commands.py, what takes long to import is imported when it is needed.
"""

import argparse
import re
import sys
from pathlib import Path

from jaxasr.cli.arguments import run_arguments, use_this_machine

FORMATS = ("txt", "json", "srt")  # of transcripts: run.written


def declare(sub: argparse.ArgumentParser) -> None:
    """The options of the command."""
    sub.add_argument("experiment", help="FILE.py, FILE.py:function or FILE.py:generator:variant")
    audio = "audio: FLAC, WAV, MP3, Ogg, SPHERE ...; among them PATH=VALUE, as in train"
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help=audio)
    sub.set_defaults(assignments=[])
    sub.add_argument(
        "--search",
        default="",
        metavar="NAME",
        help="that of a split of the experiment, or greedy, ctc, beam (that which all evals share, else the watched "
        "split's); search.PATH=VALUE among the files changes it, such as search.width=20",
    )
    sub.add_argument("--tuned", type=Path, metavar="FILE", help="tuned.json, whose numbers the search gets")
    sub.add_argument(
        "--stream",
        action="store_true",
        help="words as they become sure, and how late; FILE may be -: raw 16-bit mono samples at the experiment's rate",
    )
    sub.add_argument("--real-time", action="store_true", help="with --stream: plays FILE as fast as it was spoken")
    sub.add_argument("--chunk-ms", type=float, metavar="N", help="with --stream: speech that is encoded at once (320)")
    sub.add_argument("--new-encoder", action="store_true", help="with --stream: a new encoder after each end of speech")
    sub.add_argument("--format", choices=FORMATS, default="txt", help="json has times and confidences (txt)")
    sub.add_argument(
        "--out", type=Path, metavar="DIR", help="writes DIR/NAME.FORMAT for each file, instead of printing"
    )
    sub.add_argument(
        "--times", choices=("auto", "ctc", "attention"), default="auto", help="of words; auto: CTC where there is one"
    )
    sub.add_argument(
        "--window-s", type=float, metavar="S", help="a long file is cut into windows up to this (longest of training)"
    )
    sub.add_argument("--hotwords", type=Path, metavar="FILE", help="phrases that are likely to be said, one a line")
    sub.add_argument(
        "--hotword-bonus", type=float, default=0.5, metavar="X", help="of each of their letters, in nats (0.5)"
    )
    sub.add_argument("--rows", type=int, default=8, metavar="N", help="windows that are heard at once (8)")
    run_arguments(sub)


def transcribe(options: argparse.Namespace) -> int:
    """Writes what is said in files of any length, while it is heard. A file that can't be used is named, the others done."""
    from jaxasr.evaluation import chosen_search
    from jaxasr.experiment import Workdir, load
    from jaxasr.transcription import Refusal, bar_for, follow, refuse_places, write_transcripts

    changes, files = _assignments(options.assignments, options.files)
    _refuse_idle(options)
    if options.stream:
        return _stream(options, changes, files)
    refuse_places(files, options.format, options.out)
    use_this_machine()
    of_search = {path.removeprefix("search."): changes.pop(path) for path in [*changes] if path.startswith("search.")}
    experiment = load(options.experiment, changes)
    with bar_for(files) as bar:
        heard = follow(
            experiment,
            Workdir(options.workdir),
            files,
            search=chosen_search(experiment, options.search, of_search, options.tuned),
            checkpoint=options.checkpoint,
            lms=dict(options.lms),
            hotwords=_phrases(options.hotwords) if options.hotwords else (),
            hotword_bonus=options.hotword_bonus,
            times=options.times,
            window_s=options.window_s,
            rows=options.rows,
            progress=bar,
        )
        status = 0
        for each in write_transcripts(heard, options.format, options.out):
            if isinstance(each, Refusal):
                print(f"jaxasr transcribe: {each.reason}", file=sys.stderr)
                status = 1
            elif not each.complete:
                print(f"jaxasr transcribe: {each.path}: a search was cut before it came to an end", file=sys.stderr)
    return status


def _assignments(given: list[str], files: list[Path]) -> tuple[dict[str, str], list[Path]]:
    """Changes of the experiment by path, and the files: PATH=VALUE may stand among them."""
    from jaxasr import tree

    there = [file for file in files if not _ASSIGNED.match(str(file)) or file.exists()]
    changes = tree.parse([*given, *(str(file) for file in files if file not in there)])
    if not there:
        raise ValueError("there is nothing to hear: give at least one FILE")
    return changes, there


_ASSIGNED = re.compile(r"[A-Za-z_][\w.]*=")


def _refuse_idle(options: argparse.Namespace) -> None:
    """Options that would do nothing, with --stream or without."""
    idle = _WITHOUT_STREAM if options.stream else _WITH_STREAM
    given = [_flag(name) for name, default in idle.items() if getattr(options, name) != default]
    if given:
        raise ValueError(f"{', '.join(given)} can't be used with{'' if options.stream else 'out'} --stream")
    if options.hotword_bonus != _WITHOUT_STREAM["hotword_bonus"] and not options.hotwords:
        raise ValueError("--hotword-bonus is what --hotwords are paid, and none were given")


def _flag(name: str) -> str:
    return "--lm" if name == "lms" else "--" + name.replace("_", "-")


_WITH_STREAM = {"real_time": False, "chunk_ms": None, "new_encoder": False}
_WITHOUT_STREAM = {"search": "", "tuned": None, "hotwords": None, "hotword_bonus": 0.5, "lms": []}
_WITHOUT_STREAM |= {"window_s": None, "times": "auto", "rows": 8}


def _phrases(file: Path) -> list[str]:
    if not file.is_file():
        raise FileNotFoundError(f"there is no file of hotwords {file}")
    phrases = list(filter(str.strip, file.read_text(encoding="utf-8").splitlines()))
    if not phrases:
        raise ValueError(f"{file} has no hotwords; a phrase a line is needed")
    return phrases


def _stream(options: argparse.Namespace, changes: dict[str, str], files: list[Path]) -> int:
    """Prints each word of one stream as soon as it is sure, and at the end how late they came."""
    from jaxasr.experiment import load
    from jaxasr.transcription import live

    if len(files) != 1 or options.format not in live.WRITTEN or options.out is not None:
        raise ValueError(
            f"--stream hears one FILE or -, and prints what it hears as {' or '.join(live.WRITTEN)}; it was given "
            f"{len(files)} files, --format {options.format} and --out {options.out}"
        )
    use_this_machine()
    heard = live.stream(
        load(options.experiment, changes),
        live.Workdir(options.workdir),
        files[0],
        real_time=options.real_time,
        chunk_ms=options.chunk_ms,
        renews_encoder=options.new_encoder,
        checkpoint=options.checkpoint,
    )
    for each in heard:
        print(live.WRITTEN[options.format](each), flush=True)
    return 0
