"""The subcommand that prints the completion script of a shell."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from jaxasr.cli.command import Command

_SHELLS = ("bash", "zsh", "tcsh")
_FILES = ("experiment", "file", "files")  # arguments that begin with the path of a file, and are texts


def declare_completion(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr completion`."""
    parser.add_argument("shell", choices=_SHELLS, help="the shell that reads the script")


def completion(options: argparse.Namespace) -> int:
    """Prints a script that completes the commands, options and files of `jaxasr`."""
    from jaxasr.cli.main import build_parser

    try:
        import shtab
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the completion script is made by shtab, which is not installed: pip install 'jaxasr[completion]'"
        ) from error
    parser = build_parser()
    for action in _actions(parser):
        if action.type is Path or (action.dest in _FILES and not action.choices):
            action.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]
    print(shtab.complete(parser, shell=options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yields the actions of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)


COMMANDS = (
    Command(
        "completion",
        "Prints the completion script of a shell.",
        declare_completion,
        completion,
        ('eval "$(jaxasr completion bash)"', "jaxasr completion zsh > ~/.zfunc/_jaxasr"),
    ),
)
