"""launch/local.sh starts one job, says who says what, and ends all when one fails."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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


def ended(process: subprocess.Popen[str], timeout_s: float = 30.0) -> tuple[int, list[str], str]:
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, sorted(out.splitlines()), err


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
    assert time.monotonic() - began < 20.0


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


def test_a_signal_is_passed_on_and_waited_for():
    job = 'trap "echo asked; exit 5" TERM; echo runs; while :; do sleep 0.1; done'
    process = local("2", "1", "bash", "-c", job)
    assert process.stdout is not None
    assert {process.stdout.readline() for _ in range(2)} == {"[0] runs\n", "[1] runs\n"}
    process.send_signal(signal.SIGTERM)
    status, lines, _ = ended(process)
    assert status == 5
    assert lines == ["[0] asked", "[1] asked"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_what_is_said_last_is_heard_when_the_whole_group_gets_the_signal(signum):
    """As Ctrl-C does, and `timeout`: what labels the lines must outlive what says them."""
    job = 'trap "sleep 0.3; echo saved; exit 5" TERM; trap "" INT; echo runs; while :; do sleep 0.1; done'
    process = local("2", "1", "bash", "-c", job, group=True)
    assert process.stdout is not None
    assert {process.stdout.readline() for _ in range(2)} == {"[0] runs\n", "[1] runs\n"}
    os.killpg(process.pid, signum)
    status, lines, _ = ended(process)
    assert status == 5
    assert lines == ["[0] saved", "[1] saved"]


def test_nonsense_is_refused_with_the_usage():
    for arguments in (("2", "1"), ("two", "1", "true"), ("2", "0", "true")):
        status, _, err = ended(local(*arguments))
        assert status == 2
        assert err.startswith("usage: bash launch/local.sh N M COMMAND...: N processes with M devices each")
        assert f"it was given: {' '.join(arguments)}" in err
