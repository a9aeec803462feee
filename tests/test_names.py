"""Names of the package: one class name has one meaning, and loop variables say what they hold."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "jaxasr"
TREES = {
    path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}
PARTICIPLES = {"Given", "Seen", "Said", "Found", "Heard", "Spelt", "Spoken", "Fed", "Known", "Told", "Spent"}


def names(tree: ast.Module) -> set[str]:
    """Variables and parameters of a module."""
    variables = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return variables | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def classes() -> dict[str, list[str]]:
    """The modules that define a class, by its name without leading underscores."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].append(f"{path}:{node.lineno}")
    return found


def test_a_class_name_has_one_meaning():
    assert {name: places for name, places in classes().items() if len(places) > 1} == {}


def test_no_class_name_is_a_participle():
    bad = {name for name in classes() if name in PARTICIPLES or (name.endswith("ed") and name not in {"Feed", "Speed"})}
    assert bad == set()


def test_loop_variables_say_what_they_hold():
    assert [str(path) for path, tree in TREES.items() if "each" in names(tree)] == []


def test_unrelated_values_are_not_packed_into_one_assignment():
    """`a, b = b, a` and a state that moves on as one may; values that have nothing to do with each other may not."""
    packed = [
        f"{path}:{node.lineno} {ast.unparse(node)}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_packed(node)
    ]
    assert packed == []


def _is_packed(node: ast.Assign) -> bool:
    target, value = node.targets[0], node.value
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple) or len(target.elts) != len(value.elts):
        return False
    written = {ast.unparse(element) for element in target.elts}
    read = {ast.unparse(name) for element in value.elts for name in ast.walk(element) if isinstance(name, ast.expr)}
    return not written & read  # a swap or an update reads what it writes
