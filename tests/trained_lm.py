"""Lines of text and a language model trained on them, made once for all processes of a test session."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from jaxasr.__main__ import main
from tests import tiny_lm
from tests.trained_run import once, shared_folder

LINES = ("AB", "CAD", "BA DC", "DAB", "ACDC", "BAD CAB", "D", "CC BB")
STRANGE = "EFG"  # which the vocabulary cannot write


@dataclass(frozen=True)
class LmRun:
    """A trained language model that many tests share. No test changes it."""

    data_dir: Path
    workdir: Path  # of `tiny_lm.experiment`, trained and evaluated by the command line
    printed: Path  # the output of the commands


def lm_run(factory: pytest.TempPathFactory) -> LmRun:
    """The lines prepared and the model trained, by the commands that a user would give; by the first test that needs it."""
    shared = shared_folder(factory)
    base = shared / "lm"
    made = LmRun(base / "data", base / "run", base / "printed.txt")
    file = str(Path(tiny_lm.__file__))
    data = ["--data-dir", str(made.data_dir)]

    def make() -> None:
        (base / "lines.txt").write_text("\n".join((*LINES, STRANGE)))
        with made.printed.open("w") as printed, contextlib.redirect_stdout(printed):
            assert main(["prepare", "text", "--from", str(base / "lines.txt"), "name=lines", "dev=0", *data]) == 0
            assert main(["show", file, *data]) == 0
            assert main(["train", file, "--workdir", str(made.workdir), *data]) == 0

    once(base, make)
    return made
