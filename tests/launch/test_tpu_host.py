"""launch/tpu_host.sh on a host whose image has Python 3.10: it brings a Python, and its runs outlive their connection."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import PROCESS_S, read_line

ROOT = Path(__file__).resolve().parents[2]
PYTHON_3_10 = """#!/usr/bin/env bash
case "$*" in
    "-m pip install --user --quiet uv") mkdir -p "$HOME/.local/bin" && cp "$UV" "$HOME/.local/bin/uv" ;;
    --version) echo Python 3.10.12 ;;
    *) echo "python3 is 3.10, and was called with $*" >&2; exit 9 ;;
esac
"""
UV = """#!/usr/bin/env bash
echo "$*" >> "$HOME/uv.calls"
if [ "$1" = venv ]; then
    mkdir -p .venv/bin
    echo "#!/usr/bin/env bash" > .venv/bin/python
    echo "exec \\"$VENV_PYTHON\\" \\"\\$@\\"" >> .venv/bin/python
    chmod +x .venv/bin/python
    echo "export BROUGHT=yes" > .venv/bin/activate
fi
"""


@pytest.fixture
def host(tmp_path):
    """A host with the project unpacked, and the variables of a shell on it."""
    (tmp_path / "jaxasr" / "launch").mkdir(parents=True)
    shutil.copy(ROOT / "launch" / "tpu_host.sh", tmp_path / "jaxasr" / "launch")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("python3", PYTHON_3_10), ("uv-of-the-index", UV)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAXASR_")}
    path = f"{tools}:/usr/bin:/bin"
    return {
        **environment,
        "HOME": str(tmp_path),
        "PATH": path,
        "UV": str(tools / "uv-of-the-index"),
        "VENV_PYTHON": sys.executable,
    }


def command(*arguments: str) -> list[str]:
    return ["bash", "jaxasr/launch/tpu_host.sh", *arguments]


def on(host: dict[str, str], *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=host["HOME"], env=host | variables, capture_output=True, text=True, timeout=PROCESS_S
    )


def test_it_brings_its_own_python_and_trains(host):
    assert on(host, "set-up").returncode == 0
    calls = (Path(host["HOME"]) / "uv.calls").read_text().splitlines()
    assert calls == [
        "venv --quiet --clear --python 3.12 .venv",
        "pip install --quiet --python .venv/bin/python --constraint launch/constraints.txt --editable .[tpu]",
    ]
    ran = on(host, "run", "1", "bash", "-c", 'echo "$BROUGHT $JAXASR_DISTRIBUTED $0"', "two words")
    assert (ran.returncode, ran.stdout) == (0, "yes auto two words\n")


def test_a_python_that_is_too_old_is_named_before_the_install(host, tmp_path):
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\n[ $1 = --version ] && echo Python 3.10.12\n")
    old.chmod(0o755)
    found = on(host, "set-up", JAXASR_TPU_PYTHON="3.10", VENV_PYTHON=str(old))
    assert found.returncode == 2
    assert "JAXASR_TPU_PYTHON=3.10 is Python 3.10.12; jaxasr needs 3.11 to 3.13" in found.stderr
    assert "pip install" not in (tmp_path / "uv.calls").read_text()


def test_a_run_outlives_its_connection_and_is_attached_to(host, tmp_path):
    on(host, "set-up")
    script = 'echo begins; until [ -e "$HOME/go" ]; do sleep 0.05; done; echo ends; exit 7'
    first = subprocess.Popen(
        command("run", "1", "bash", "-c", script),
        cwd=tmp_path,
        env=host,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert read_line(first) == "begins\n"
    os.killpg(first.pid, signal.SIGHUP)
    first.communicate(timeout=PROCESS_S)
    assert on(host, "state", "1").stdout == "running\n"
    second = subprocess.Popen(
        command("run", "1", "bash", "-c", script), cwd=tmp_path, env=host, stdout=subprocess.PIPE, text=True
    )
    (tmp_path / "go").touch()
    printed, _ = second.communicate(timeout=PROCESS_S)
    assert (second.returncode, printed) == (7, "begins\nends\n")
    assert on(host, "state", "1").stdout == "ended 7\n"
    assert on(host, "run", "1", "false").returncode == 7  # it has ended: nothing is started again
    assert on(host, "state", "2").stdout == "none\n"


def test_a_run_that_was_killed_is_none(host, tmp_path):
    on(host, "set-up")
    process = subprocess.Popen(
        command("run", "1", "sleep", "600"), cwd=tmp_path, env=host, stderr=subprocess.PIPE, text=True
    )
    pid = tmp_path / "jaxasr" / "attempt-1.pid"
    end = time.monotonic() + PROCESS_S
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(int(pid.read_text()), signal.SIGKILL)
    _, said = process.communicate(timeout=PROCESS_S)
    assert (process.returncode, said) == (137, "attempt 1 was killed\n")
    assert on(host, "state", "1").stdout == "none\n"


def test_anything_else_is_answered_with_its_use(host):
    found = on(host, "setup")
    assert (found.returncode, found.stdout) == (2, "")
    assert "usage:" in found.stderr
