"""Python files as modules: a file is executed anew, and two files of one stem do not break each other."""

import re
import sys
from pathlib import Path

import pytest

from jaxasr import tree
from jaxasr.experiment import load
from jaxasr.experiment.files import load_module, module_name

FILE = '''from __future__ import annotations

from dataclasses import dataclass, replace

from jaxasr import training
from tests import tiny_experiments as tiny

Level = {level}


@dataclass(frozen=True)
class Own:
    """A schedule of the file, whose field has a type of the file."""

    level: Level

    def __call__(self, step):
        return training.Constant(1e-2)(step)


def experiment():
    return replace(tiny.experiment(), optimizer=training.Adam(Own({value})))
'''


def write(folder: Path, level: str, value: object) -> Path:
    folder.mkdir()
    path = folder / "mine.py"
    path.write_text(FILE.format(level=level, value=value))
    return path


def test_two_files_of_one_stem_have_classes_of_their_own(tmp_path):
    """Annotations are strings, which are looked up in the module of the class when an override is read."""
    number = write(tmp_path / "a", "int", 3)
    word = write(tmp_path / "b", "str", "'three'")
    first = load(str(number))
    second = load(str(word))
    assert type(first.optimizer.schedule) is not type(second.optimizer.schedule)
    changed = tree.override(first, {"optimizer.schedule.level": "4"})
    assert changed.optimizer.schedule.level == 4
    assert tree.override(second, {"optimizer.schedule.level": "4"}).optimizer.schedule.level == "4"
    assert tree.fingerprint(load(str(number), {"optimizer.schedule.level": "4"})) == tree.fingerprint(changed)


def test_the_name_of_a_module_is_made_from_its_resolved_path(tmp_path, monkeypatch):
    path = write(tmp_path / "a", "int", 3)
    monkeypatch.chdir(tmp_path / "a")
    assert module_name(path) == module_name(Path("mine.py")) == load_module(Path("mine.py")).__name__
    assert module_name(path) != module_name(write(tmp_path / "b", "int", 3))
    assert Path(str(sys.modules[module_name(path)].__file__)).resolve() == path.resolve()


TYPE_CHECKED = True  # by the import hook of tests/conftest.py, before the tree is checked
BASE = """from dataclasses import replace

from tests import tiny_experiments as tiny


"""


@pytest.mark.parametrize(
    ("code", "reference", "message"),
    [
        ("def experiment(:\n", "", ", line 6: SyntaxError: "),
        ("import nothing_of_this_name\n", "", ", line 6: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def experiment():\n    return 1 / 0\n", "", ", line 7: ZeroDivisionError: division by zero"),
        ("def experiment():\n    return replace(tiny.experiment(), stepz=3)\n", "", ", line 7: Type"),
        ("def experiment():\n    return replace(tiny.experiment(), seed=10**400)\n", "", ", line 7: Experiment.seed is"),
        ("def experiment():\n    return replace(tiny.experiment(), steps=None)\n", "", ", line 7: Type"),
        ("def experiment():\n    return replace(tiny.experiment(), ema_decay='a')\n", "", ", line 7: Type"),
        ("def experiment():\n    return {}['key']\n", "", ", line 7: KeyError: key"),
        ("def experiment():\n    return tiny.nn.Listener().widht\n", "", ", line 7: Type"),
        ("def experiment():\n    raise SystemExit(3)\n", "", ", line 7: SystemExit: 3"),
        ("def experiment():\n    return experiment()\n", "", ", line 7: RecursionError: maximum recursion depth"),
        ("def experiment():\n    raise ValueError('a rate of 3')\n", "", ", line 7: a rate of 3"),
        ("def experiment(this):\n    return this\n", "", ": TypeError: experiment() missing 1 required positional argument"),
        ("experiment = tiny.experiment\ndef some():\n    yield 'a', {}\n    1 / 0\n", ":some:a", ", line 9: Zero"),
        ("experiment = tiny.experiment\ndef some():\n    yield 'a', {1: 2}\n", ":some:a", "yields the overrides {1: 2}"),
        (
            "def experiment():\n    e = tiny.experiment()\n    return replace(e, model=e.model.clone(ctc=3))\n",
            "",
            ": Type" if TYPE_CHECKED else ": model.ctc is 3; Seq2Seq.ctc takes",
        ),
    ],
)  # fmt: skip
def test_an_error_in_a_file_names_the_file_and_the_line(code, reference, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(BASE + code, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)) as found:
        load(f"{path}{reference}")
    assert str(found.value).startswith((f"{path}", f"variant 'a' of {path}"))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x = 1\x00", "é = 1\n".encode("latin-1")])
def test_a_file_that_is_no_text_is_an_error_of_the_file(content, tmp_path):
    path = tmp_path / "mine.py"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path}(, line \d+)?: SyntaxError: "):
        load(str(path))
