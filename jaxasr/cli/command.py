"""The record that describes one subcommand of `jaxasr`."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A subcommand: its name, the function that declares its arguments and the function that runs it.

    The module of a command is imported whenever `jaxasr` starts. Packages that take long to import (JAX, NumPy) are therefore
    imported inside `run`.
    """

    name: str
    summary: str  # one sentence, shown by `jaxasr --help` and `jaxasr NAME --help`
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]  # returns the exit status
    examples: tuple[str, ...]  # command lines that `jaxasr NAME --help` shows
    distributed: bool = False  # True: several processes may run the command together
