"""No test waits for ever: the limits hold, and every test that waits for a process says how long."""

import ast
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.limits import time_limit
from tests.processes import PROCESS_S, read_line, read_until

ROOT = Path(__file__).resolve().parents[1]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
STARTS = ("run", "call", "check_call", "check_output")  # functions of subprocess that wait
OTHERS = ("checkpoints",)  # that are waited for, and are no process: only the limit of the test holds
HOLDS = ROOT / "tests" / "processes.py"  # the limit of what is read
HANGS = """
import sys
from tests.limits import time_limit
with time_limit(0.1, native_s=0.3):
    {}
"""


def python(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_waits_in_python_fails():
    with pytest.raises(pytest.fail.Exception, match=r"after its time limit of 0\.1 s"), time_limit(0.1):
        threading.Event().wait(PROCESS_S)


def test_what_is_caught_is_interrupted_again(monkeypatch):
    monkeypatch.setattr("tests.limits.AGAIN_S", 0.1)

    def wait_twice():
        try:
            time.sleep(PROCESS_S)
        finally:
            time.sleep(PROCESS_S)

    with pytest.raises(pytest.fail.Exception), time_limit(0.1):
        wait_twice()


def test_what_hangs_outside_python_ends_with_all_stacks():
    process = python(HANGS.format("sum(range(1 << 62))"))
    _, err = process.communicate(timeout=PROCESS_S)
    assert process.returncode == 1
    assert "Timeout" in err
    assert 'File "<string>", line 5 in <module>' in err


def test_what_ends_in_time_goes_on():
    process = python(HANGS.format("pass") + "import time; time.sleep(1); print('whole')")
    assert process.communicate(timeout=PROCESS_S) == ("whole\n", "")


def test_a_process_that_prints_nothing_is_killed():
    process = python("import time; time.sleep(600)")
    with pytest.raises(AssertionError, match=r"has printed nothing for 0\.2 s"):
        read_line(process, 0.2)
    process.communicate(timeout=PROCESS_S)
    assert process.returncode < 0


def test_a_process_that_ends_early_is_shown_with_its_errors():
    with pytest.raises(AssertionError, match=r"ended with 3 and without 'runs\\n': why"):
        read_until(python("import sys; print('starts'); print('why', file=sys.stderr); sys.exit(3)"), "runs\n")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_every_wait_for_a_process_has_a_limit(path: Path):
    found = [f"{path.name}:{call.lineno}" for call in unlimited(ast.parse(path.read_text()))]
    assert len(found) == (path == HOLDS), found


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("subprocess.run(command)", 1),
        ("subprocess.run(command, timeout=3)", 0),
        ("subprocess.check_output(command)", 1),
        ("process.communicate()", 1),
        ("process.communicate(timeout=limit_s)", 0),
        ("process.wait()", 1),
        ("process.wait(5)", 0),
        ("thread.join()", 1),
        ("', '.join(names)", 0),
        ("process.stdout.readline()", 1),
        ("process.stderr.read()", 1),
        ("file.readline()", 0),
    ],
)
def test_a_wait_without_a_limit_is_found(code: str, count: int):
    assert len(list(unlimited(ast.parse(code)))) == count


def unlimited(module: ast.Module) -> Iterator[ast.Call]:
    """Finds waits for processes and threads without a timeout, and reads of a process's output, which have none."""
    for call in ast.walk(module):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        method, owner = call.func.attr, call.func.value
        limited = any(keyword.arg == "timeout" for keyword in call.keywords)
        name = owner.id if isinstance(owner, ast.Name) else ""
        of_pipe = isinstance(owner, ast.Attribute) and owner.attr in ("stdout", "stderr")
        if (
            (name == "subprocess" and method in STARTS and not limited)
            or (method == "communicate" and not limited)
            or (method in ("wait", "join") and name not in OTHERS and not call.args and not limited)
            or (of_pipe and method in ("read", "readline", "readlines"))
        ):
            yield call
