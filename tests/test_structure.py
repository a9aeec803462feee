"""The layout of the package: every module imports and has a docstring, and no module, function or folder is too long."""

import ast
import importlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "jaxasr").rglob("*.py"))
TOP = {"pyproject.toml", "README.md", "LICENSE", "jaxasr", "experiments", "tests", "launch"}
ODDS_AND_ENDS = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py", "registry.py", "trainer.py", "config.py"}
NO_TEXT = {"gzip", "bz2", "lzma", "tarfile", "zipfile", "os"}  # their `open` has bytes by default
MOST_LINES = 300
MOST_FUNCTION_LINES = 66
MOST_LOOP_LINES = 120  # of the training loop, which is read from top to bottom
LOOP = ("jaxasr.run.loop", "train")
MOST_MODULES = 16  # of a folder
PYTORCH = ("jaxasr.bench.pytorch", "jaxasr.bench.pytorch_layers")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", [name_of(path) for path in MODULES])
def test_every_module_imports(name):
    if name in PYTORCH:
        pytest.importorskip(
            "torch", reason="a baseline of the benchmarks is written in PyTorch, which is no dependency"
        )
    if name.startswith("jaxasr.serving"):
        pytest.importorskip("starlette", reason="the server is an optional extra")
    assert importlib.import_module(name).__doc__, f"{name} does not say what it is"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_says_what_it_is(path):
    silent = [node.name for node in public(ast.parse(path.read_text())) if not ast.get_docstring(node)]
    assert silent == [], f"{path.relative_to(ROOT)}: without a docstring"


def test_no_module_is_too_long():
    lines = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_function_is_too_long():
    lines = {(name_of(path), node.name): length(node) for path in MODULES for node in functions(path)}
    assert 0 < lines.pop(LOOP) <= MOST_LOOP_LINES
    assert {name: count for name, count in lines.items() if count > MOST_FUNCTION_LINES} == {}


def test_no_folder_has_too_many_modules():
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in MODULES if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_no_module_is_named_for_odds_and_ends():
    assert [str(path.relative_to(ROOT)) for path in MODULES if path.name in ODDS_AND_ENDS] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_text_files_and_pipes_are_utf8(path):
    """The locale decides where no encoding is given."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert [f"{path.name}:{call.lineno}" for call in calls if depends_on_locale(call)] == []


@pytest.mark.parametrize(
    ("code", "depends"),
    [
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("path.open()", True),
        ("open(path, 'a')", True),
        ("subprocess.run(words, text=True)", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.open('rb')", False),
        ("gzip.open(path)", False),
        ("open(path, 'w', encoding='utf-8')", False),
        ("subprocess.run(words, encoding='utf-8')", False),
    ],
)
def test_the_rule_about_encodings_tells_good_from_bad(code, depends):
    (statement,) = ast.parse(code).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    assert depends_on_locale(statement.value) == depends


def depends_on_locale(call: ast.Call) -> bool:
    """Returns True for a call that opens a text file or a pipe of text in the encoding of the locale."""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if "encoding" in given:
        return False
    name = ast.unparse(call.func)
    if name.startswith("subprocess."):
        return given.get("text") == "True" or given.get("universal_newlines") == "True"
    if name.endswith((".read_text", ".write_text")):
        return True
    modes = [*map(ast.unparse, call.args), given.get("mode", "")]
    if name == "open":
        return not any(re.fullmatch(r"'[rwax+]*b[rwax+]*'", mode) for mode in modes)
    if not name.endswith(".open"):
        return False
    return all(re.fullmatch(r"'[rwxa+]*'|", mode) for mode in modes) and name.partition(".")[0] not in NO_TEXT


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


def test_hooks_have_the_pinned_versions():
    """The commit hooks check with the versions that launch/test.sh installs."""
    pinned = dict(
        line.split("==") for line in (ROOT / "launch/constraints.txt").read_text().splitlines() if "==" in line
    )
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"rev: v{pinned['ruff']}\n" in hooks


def public(module: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yields the public functions and classes, and the public methods of classes without a base."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef) and not node.bases:
                yield from (
                    member
                    for member in node.body
                    if isinstance(member, ast.FunctionDef) and not member.name.startswith("_")
                )


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yields the functions of a module, inner ones included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Returns the lines of a function, its docstring included."""
    return (node.end_lineno or node.lineno) - node.lineno + 1
