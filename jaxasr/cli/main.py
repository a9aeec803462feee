"""The command line `jaxasr`: the list of subcommands, the parser and the exit status."""

import argparse
import codecs
import contextlib
import io
import locale
import os
import select
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from jaxasr.cli import (
    benchmarks,
    compare,
    completion,
    data,
    evaluation,
    fit_scaling,
    listing,
    pretrained,
    score,
    tools,
    training,
)
from jaxasr.cli.audio import serve, transcribe
from jaxasr.cli.command import Command
from jaxasr.files import check_local

_MODULES = (
    *(data, listing, pretrained, training, evaluation),
    *(score, compare, fit_scaling, transcribe, serve, benchmarks, tools),
)
COMMANDS = {
    command.name: command
    for module in (
        data,
        listing,
        pretrained,
        training,
        evaluation,
        score,
        compare,
        fit_scaling,
        transcribe,
        serve,
        benchmarks,
        tools,
        completion,
    )
    for command in module.COMMANDS
}
RENAMED_COMMANDS = {"pieces": "train-tokenizer", "tune": "tune-decoding", "alignable": "toy-task"}
RENAMED_OPTIONS = {
    "--how": "--parallelism",
    "--rules": "--sharding-rules",
    "--stuck-s": "--step-timeout-s",
    "--fused": "--fusion-lm",
    "--rows": "--batch-size",
    "--new-encoder": "--reset-encoder",
    "--only": "--benchmarks",
    "--price": "--chip-hour-price",
}
_DESCRIPTION = (
    "Speech recognition in JAX: prepare a corpus, train an experiment, evaluate it and transcribe audio files. "
    "`jaxasr COMMAND --help` shows the arguments of a command and examples."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand. Returns the exit status.

    It is 0, 1 after an error that would recur, 75 (EX_TEMPFAIL) after a fault of a training that had finished steps, and
    128 + signal after an interrupt, or when the reader of the output has closed it (`jaxasr ... | head`).
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end of Python
        return 128 + signal.SIGPIPE


def _run(arguments: Sequence[str] | None) -> int:
    """Runs a subcommand. Returns the exit status. Raises BrokenPipeError if the output was closed."""
    if arguments is None:
        _restart_in_utf8_mode()
    _write_utf8()
    options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    command = COMMANDS[options.name]
    try:
        _check_paths(options)
        with _process_group(command):
            return command.run(options)
    except (ValueError, KeyError, OSError, RuntimeError, FloatingPointError, ModuleNotFoundError) as error:
        if options.traceback or (isinstance(error, BrokenPipeError) and _is_output_closed()):
            raise
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"jaxasr {options.name}: {text}", file=sys.stderr)
        status = getattr(error, "exit_status", 1)
    except KeyboardInterrupt:
        print(f"jaxasr {options.name}: interrupted; what was finished before is kept", file=sys.stderr)
        status = 128 + signal.SIGINT
    if command.distributed:
        from jaxasr.scale import hosts

        hosts.end_after_failure()
    return status


def _is_output_closed() -> bool:
    """Returns True if the reader of the standard output has closed it. The pipe of a child process is another matter."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):  # it is no file
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _check_paths(options: argparse.Namespace) -> None:
    """Raises ValueError if an option is the address of a store instead of a path."""
    for value in vars(options).values():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path):
                check_local(path)


def _restart_in_utf8_mode() -> None:
    """Executes the process anew in Python's UTF-8 mode (PEP 540) if the locale has another encoding.

    Only so are the names of files in manifests, the output of child processes and the standard streams UTF-8.
    """
    if sys.flags.utf8_mode or codecs.lookup(locale.getencoding()).name == "utf-8":
        return
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execve(sys.executable, command, {**os.environ, "PYTHONUTF8": "1"})


def _write_utf8() -> None:
    """Sets the standard streams to UTF-8, also where PYTHONIOENCODING asks for another encoding: transcripts are data.

    Bytes of file names that are no UTF-8 are written as they came.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                encoding="utf-8", errors="surrogateescape" if stream is sys.stdout else "backslashreplace"
            )


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="jaxasr", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"jaxasr {version('jaxasr')}")
    subparsers = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        sub = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=command.summary,
            epilog="\n  ".join(("examples:", *command.examples)),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--traceback", action="store_true", help="show the traceback of an error")
        command.declare(sub)
    return parser


def _process_group(command: Command) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which the processes of a job are connected, before any of them uses JAX.

    Raises:
        ValueError: a command for one process is started as several.
    """
    processes = os.environ.get("JAXASR_PROCESSES") or "1"
    if command.distributed:
        from jaxasr.scale import hosts

        return hosts.distributed()
    if processes != "1":
        # each process would do all of the work and write the same files
        distributed = ", ".join(other.name for other in COMMANDS.values() if other.distributed)
        raise ValueError(
            f"it is one process's work, and JAXASR_PROCESSES={processes}: start it without "
            f"launch/local.sh, or as one task; several processes run {distributed} together"
        )
    return contextlib.nullcontext()


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options. Overrides may stand anywhere after the subcommand, which argparse alone does not allow."""
    parser = build_parser()
    _check_renamed(parser, arguments)
    options, rest = parser.parse_known_args(arguments)
    if hasattr(options, "files"):  # files may stand on both sides of an option
        options.files += [Path(word) for word in rest if not word.startswith("-")]
        rest = [word for word in rest if word.startswith("-")]
    unknown = [word for word in rest if word.startswith("-") or "=" not in word]
    if unknown or (rest and not hasattr(options, "assignments")):
        parser.error(f"unrecognized arguments: {' '.join(unknown or rest)}")
    options.assignments = [*getattr(options, "assignments", ()), *rest]
    options.words = arguments
    return options


def _check_renamed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Ends with an error that gives the new name of a subcommand or option that was renamed."""
    if arguments and (renamed := RENAMED_COMMANDS.get(arguments[0])):
        parser.error(f"the command {arguments[0]} is now called {renamed}")
    for word in arguments:
        option = word.partition("=")[0]
        if option in RENAMED_OPTIONS:
            parser.error(f"the option {option} is now called {RENAMED_OPTIONS[option]}")
