"""launch/local.sh starts one job, says who says what, and ends all when one fails."""

import itertools
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.processes import read_line

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0  # for what takes a second on an idle machine
MARKS = itertools.count()
TELL = 'echo "$JAXASR_PROCESS of $JAXASR_PROCESSES at $JAXASR_COORDINATOR, GPUs $CUDA_VISIBLE_DEVICES, $XLA_FLAGS"'


def local(*arguments: str, group: bool = False, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAXASR_PORT")}
    return subprocess.Popen(
        ["bash", "launch/local.sh", *arguments],
        cwd=ROOT,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=group,
    )


def ended(process: subprocess.Popen[str], timeout_s: float = LIMIT_S) -> tuple[int, list[str], str]:
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate(timeout=LIMIT_S)
        pytest.fail(f"still there after {timeout_s} s; it had said: {out}{err}")
    return process.returncode, sorted(out.splitlines()), err


def runs(process: subprocess.Popen[str]) -> None:
    """Waits until both processes of a job have said so."""
    assert {read_line(process, LIMIT_S) for _ in range(2)} == {"[0] runs\n", "[1] runs\n"}


def new_mark() -> str:
    """Returns what no process has in its environment."""
    return f"{os.getpid()}.{next(MARKS)}"


def left_of(mark: str) -> list[str]:
    """Returns the command lines of the processes that have this mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended
            continue
    return found


def gone(mark: str, limit_s: float = 2.0) -> bool:
    """Waits until no process has the mark: SIGKILL takes a moment."""
    end = time.monotonic() + limit_s
    while left_of(mark) and time.monotonic() < end:
        time.sleep(0.01)
    return not left_of(mark)


def test_each_process_is_told_who_it_is_and_has_devices_of_its_own():
    status, lines, err = ended(local("2", "3", "bash", "-c", TELL, JAXASR_PORT="4321", CUDA_VISIBLE_DEVICES=""))
    flag = "--xla_force_host_platform_device_count=3"
    assert (status, err) == (0, "")
    assert lines == [
        f"[0] 0 of 2 at 127.0.0.1:4321, GPUs 0,1,2,  {flag}",
        f"[1] 1 of 2 at 127.0.0.1:4321, GPUs 3,4,5,  {flag}",
    ]


def test_gpus_are_taken_of_those_that_are_visible_and_the_port_is_free():
    status, lines, _ = ended(local("2", "1", "bash", "-c", TELL, CUDA_VISIBLE_DEVICES="6,7", XLA_FLAGS="--a"))
    assert status == 0
    assert [line.partition("GPUs ")[2].partition(",")[0] for line in lines] == ["6", "7"]
    ports = {line.partition("127.0.0.1:")[2].partition(",")[0] for line in lines}
    assert len(ports) == 1
    assert 1024 <= int(ports.pop()) < 2**16
    assert "--a --xla" in lines[0]


def test_when_one_fails_all_end_with_its_status():
    job = '[ "$JAXASR_PROCESS" = 0 ] || exit 7; exec sleep 60'
    began = time.monotonic()
    status, _, err = ended(local("3", "1", "bash", "-c", job))
    assert status == 7
    assert "ended with status 7" in err
    assert time.monotonic() - began < 25.0  # asked, and not killed after 30 s


def test_one_that_does_not_hear_is_killed():
    job = 'trap "" TERM; [ "$JAXASR_PROCESS" = 0 ] && { sleep 0.5; exit 3; }; while :; do sleep 0.2; done'
    status, _, err = ended(local("2", "1", "bash", "-c", job, JAXASR_GRACE_S="1"))
    assert status == 3
    assert sorted(err.splitlines()) == ["process 0 ended with status 3", "process 1 ended with status 137"]


def test_fewer_gpus_than_asked_for_are_refused():
    status, lines, err = ended(local("2", "2", "true", CUDA_VISIBLE_DEVICES="6,7,8", JAX_PLATFORMS=""))
    assert (status, lines) == (2, [])
    assert "CUDA_VISIBLE_DEVICES=6,7,8 has not the 2 x 2 GPUs asked for" in err
    assert ended(local("2", "2", "true", CUDA_VISIBLE_DEVICES="6", JAX_PLATFORMS="cpu"))[0] == 0


@pytest.mark.parametrize(
    ("signum", "received"),
    [
        (signal.SIGTERM, "TERM"),
        (signal.SIGINT, "TERM"),
        (signal.SIGHUP, "TERM"),
        (signal.SIGUSR1, "USR1"),
        (signal.SIGUSR2, "USR2"),
        (signal.SIGQUIT, "QUIT"),
    ],
)
@pytest.mark.parametrize("group", [False, True], ids=["alone", "group"])
def test_a_signal_is_passed_on_once_and_waited_for(signum: signal.Signals, received: str, group: bool):
    """To the script alone, or to its whole group, as Ctrl-C does and `timeout`; what is said last is heard."""
    traps = " ".join(f"trap 'echo {name}' {name};" for name in ("INT", "HUP", "USR1", "USR2", "QUIT"))
    traps += " trap '' TERM;"  # that the other gets as well when one has ended with a status
    job = (
        f"{traps} trap 'trap : TERM; sleep 0.3; echo saved; exit 5' {received}; echo runs; while :; do sleep 0.1; done"
    )
    process = local("2", "1", "bash", "-c", job, group=True)
    runs(process)
    (os.killpg if group else os.kill)(process.pid, signum)
    status, lines, _ = ended(process)
    assert (status, lines) == (5, ["[0] saved", "[1] saved"])


FLOODS = 'echo runs; while [ ! -e "$GO" ]; do sleep 0.05; done; exec yes'


def test_a_signal_is_heard_while_nobody_reads_the_output(tmp_path: Path):
    mark, go = new_mark(), tmp_path / "go"
    process = local("2", "1", "bash", "-c", FLOODS, MARK=mark, GO=str(go))
    runs(process)
    go.touch()
    time.sleep(1.0)  # all pipes are full
    process.send_signal(signal.SIGTERM)
    end = time.monotonic() + LIMIT_S
    while "yes " in left_of(mark) and time.monotonic() < end:
        time.sleep(0.05)
    assert "yes " not in left_of(mark)
    assert ended(process)[0] == 128 + signal.SIGTERM
    assert gone(mark)


def test_a_reader_that_ctrl_c_ends_as_well_takes_nothing_from_the_last_save():
    job = 'trap "echo saving; echo saving >&2; sleep 0.2; echo saved; exit 5" TERM; echo runs; while :; do sleep 0.1; done'
    process = local("2", "1", "bash", "-c", job)
    runs(process)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 5


def test_who_has_no_reader_ends(tmp_path: Path):
    process = local("2", "1", "bash", "-c", FLOODS, GO=str(tmp_path / "go"))
    runs(process)
    (tmp_path / "go").touch()
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(LIMIT_S) == 128 + signal.SIGPIPE
    process.stderr.close()


LEAVES = "(trap '' TERM HUP; sleep 300 & wait) & "  # a process of a process, which hears nothing


@pytest.mark.parametrize("group", [False, True], ids=["alone", "group"])
def test_nothing_outlives_it_when_it_is_killed(group: bool):
    job = f"trap '' TERM INT HUP; {LEAVES} echo runs; while :; do sleep 0.1; done"
    process = local("2", "1", "bash", "-c", job, group=True, MARK=(mark := new_mark()))
    runs(process)
    assert len(left_of(mark)) >= 7
    (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    assert ended(process)[0] == -signal.SIGKILL
    assert gone(mark), left_of(mark)


def test_nothing_outlives_it_when_its_guard_was_killed_before():
    job = "trap '' TERM INT HUP; echo runs; while read -r _ < <(sleep 0.1); do :; done; sleep 300"
    process = local("2", "1", "bash", "-c", job, MARK=(mark := new_mark()))
    runs(process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    [guard] = [int(pid) for pid in children if b"local.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(guard, signal.SIGKILL)
    time.sleep(0.2)
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    assert not [command for command in left_of(mark) if command.startswith("bash")] or gone(mark)


def test_what_a_process_leaves_behind_ends_with_the_job():
    job = f"{LEAVES} echo runs; exit 0"
    process = local("2", "1", "bash", "-c", job, MARK=(mark := new_mark()))
    assert ended(process) == (0, ["[0] runs", "[1] runs"], "")
    assert left_of(mark) == []


def test_a_command_that_is_not_there_is_named():
    assert ended(local("2", "1", "/no/such")) == (
        127,
        [],
        "local.sh: /no/such: No such file or directory\nprocess 0 ended with status 127\n",
    )


ASKS = {signal.SIGTERM: 15, signal.SIGINT: 15, signal.SIGHUP: 15, signal.SIGUSR1: 10, signal.SIGUSR2: 12}
JOBS = {  # and the statuses that it may end with when it is asked to end by a signal
    "saves": 'trap "sleep 0.05; exit 5" TERM USR1 USR2; while :; do sleep 0.02; done',
    "hears nothing of it": "exec sleep 300",
    "fails": 'trap "" TERM USR1 USR2; [ $JAXASR_PROCESS = 0 ] && { sleep 0.2; exit 3; }; while :; do sleep 0.02; done',
}
STATUS = {"saves": 5, "fails": 3}


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_whenever_a_signal_comes_nothing_outlives_it(count: int, rng: np.random.Generator):
    """Before it has started anything, between fork and exec, before and after traps are set, while it ends the others."""
    for number in range(count):
        name, signum = rng.choice(list(JOBS)), signal.Signals(int(rng.choice([*ASKS, signal.SIGKILL])))
        group, delay_s = bool(rng.integers(2)), float(rng.uniform(0.0, 0.5))
        case = f"case {number}: {name}, {signum.name} to {'the group' if group else 'it'} after {delay_s:.3f} s"
        mark = new_mark()
        process = local("2", "1", "bash", "-c", JOBS[name], group=True, MARK=mark, JAXASR_GRACE_S="0.3")
        time.sleep(delay_s)
        (os.killpg if group else os.kill)(process.pid, signum)
        try:
            status, _, err = ended(process)
        except pytest.fail.Exception as error:
            raise AssertionError(case) from error
        allowed = {-signum}  # it had started nothing yet
        if signum in ASKS:
            allowed |= {128 + ASKS[signum], STATUS.get(name, 128 + ASKS[signum])}
            allowed |= {130} if signum == signal.SIGINT else set()  # of local.sh, before that
        assert status in allowed, f"{case}: {status}, {err}"
        assert gone(mark), f"{case}: {left_of(mark)}"


def test_nonsense_is_refused_with_the_usage():
    for arguments in (("2", "1"), ("two", "1", "true"), ("2", "0", "true")):
        status, _, err = ended(local(*arguments))
        assert status == 2
        assert err.startswith("usage: bash launch/local.sh N M COMMAND...: N processes with M devices each")
        assert f"it was given: {' '.join(arguments)}" in err
