"""A child process ends with its parent, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxasr.scale import child
from jaxasr.scale.child import bound_command
from tests.processes import PROCESS_S, read_line

PARENT = """
import runpy, subprocess, sys
child = subprocess.Popen(runpy.run_path(sys.argv[1])["bound_command"](sys.argv[2:]))
print(child.pid, flush=True)
child.wait()
"""
DEAF = ["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 0.1; done"]
SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


def is_running(pid: int) -> bool:
    """False for a process that has ended, or that nobody has waited for."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's; on other systems a child is not bound")
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", [SLEEPS, ["sleep", "600"], DEAF])
def test_it_is_killed_when_its_parent_is(command, signum):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, child.__file__, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        pid = int(read_line(parent))
        parent.send_signal(signum)
        parent.wait(PROCESS_S)
    end = time.monotonic() + PROCESS_S
    while is_running(pid):
        assert time.monotonic() < end, f"{command} runs on"
        time.sleep(0.02)


def test_it_is_the_command_itself_with_its_status_and_output():
    program = "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)"
    with subprocess.Popen(
        bound_command([sys.executable, "-c", program, "a b", "*"]), stdout=subprocess.PIPE, text=True
    ) as child:
        out, _ = child.communicate(timeout=PROCESS_S)
    assert (child.returncode, out) == (7, f"{child.pid} ['a b', '*']\n")


def test_one_that_comes_too_late_does_not_begin():
    """The parent has ended before the child was bound to it: its number is that of no parent."""
    command = bound_command([sys.executable, "-c", "print('runs')"])
    command[4] = str(os.getppid())
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=True)
    assert ended.stdout == ""
