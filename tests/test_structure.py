"""The house stands: what lies where, that all of it can be imported, and that it says what it is for."""

import ast
import importlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "jaxasr").rglob("*.py"))
TOP = {"pyproject.toml", "README.md", "LICENSE", "jaxasr", "experiments", "tests", "launch"}
DRAWERS = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py", "registry.py", "trainer.py", "config.py"}
MOST_LINES = 300
WITNESSES = ("jaxasr.bench.pytorch", "jaxasr.bench.pytorch_layers")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", [name_of(path) for path in MODULES])
def test_every_module_imports(name):
    if name in WITNESSES:
        pytest.importorskip("torch", reason="a witness of the benchmarks is written in PyTorch, which is no dependency")
    assert importlib.import_module(name).__doc__, f"{name} does not say what it is"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_says_what_it_is(path):
    silent = [node.name for node in public(ast.parse(path.read_text())) if not ast.get_docstring(node)]
    assert silent == [], f"{path.relative_to(ROOT)}: without a docstring"


def test_no_module_outgrows_a_head():
    lines = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_there_are_no_drawers():
    assert [str(path.relative_to(ROOT)) for path in MODULES if path.name in DRAWERS] == []


def test_the_top_level_has_what_it_may_have():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if listing.returncode:
        pytest.skip("no git checkout: nobody can say which files belong to it")
    top = {Path(line).parts[0] for line in listing.stdout.splitlines()}
    assert {name for name in top - TOP if not name.startswith(".")} == set()


def test_tests_lie_where_their_modules_lie():
    """A test of a module is found under the module's path (of a script of launch, under launch); a test file may look at
    several of its neighbours."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    places = {folder: ROOT / folder if folder == Path("launch") else ROOT / "jaxasr" / folder for folder in folders}
    assert [str(folder) for folder, place in places.items() if not place.is_dir()] == []


def public(module: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes that others may use, and the named methods that a class does not take from a base."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef) and not node.bases:
                yield from (
                    each for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
                )
