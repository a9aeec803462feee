"""Python files as modules: a file is executed anew, and two files of one stem do not break each other."""

import sys
from pathlib import Path

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
