"""Docstrings of the package follow one form: PEP 257 with the first words that readers look for.

A function's begins with a verb in the third person, a class's with an article, and none with a relative clause or a pronoun.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jaxasr"
MODULES = sorted(PACKAGE.rglob("*.py"))

RELATIVE = re.compile(
    r"(What|Where|How|Whether|Which|Of|That|Those|The same|As in|All that|Something|Likewise|It|They|This|These)\b"
)
VERB = re.compile(r"[A-Z][a-z]+s\b")
NOUN_PHRASE = re.compile(r"(A|An|The|One|Two)\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def documented(path: Path) -> Iterator[tuple[ast.AST, str, str]]:
    """The nodes of a module that have a docstring, with its place for a message."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node)
            if text:
                place = f"line {getattr(node, 'lineno', 1)}, {getattr(node, 'name', 'module')}: {text.splitlines()[0]}"
                yield node, text, place


def is_property(node: ast.AST) -> bool:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return any(ast.unparse(decorator).endswith("property") for decorator in decorators)


def fault_of(node: ast.AST, text: str) -> str:
    """Names the rule that a docstring breaks; empty if it breaks none."""
    if RELATIVE.match(text):
        return "begins with a relative clause or a pronoun"
    if isinstance(node, ast.ClassDef) and not NOUN_PHRASE.match(text):
        return "a class's begins with an article"
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    if is_function and not VERB.match(text) and not (is_property(node) and NOUN_PHRASE.match(text)):
        return "a function's begins with a verb in the third person"
    return ""


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_docstrings_begin_as_readers_expect(path):
    faults = [f"{place} ({fault})" for node, text, place in documented(path) if (fault := fault_of(node, text))]
    assert faults == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('def f():\n    """What it is."""', "relative"),
        ('def f():\n    """The sum."""', "verb"),
        ('def f():\n    """Returns the sum."""', ""),
        ('class A:\n    """Sums."""', "article"),
        ('class A:\n    """The sums."""', ""),
        ('class A:\n    @property\n    def f(self):\n        """The sum."""', ""),
        ('"""Of sums."""', "relative"),
    ],
)
def test_the_rules_tell_good_from_bad(source, fault, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(source)
    found = [fault_of(node, text) for node, text, _ in documented(path)]
    assert [fault in text and bool(fault) == bool(text) for text in found] == [True]
