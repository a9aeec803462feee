"""Tests of the rendezvous of a job: missing processes, taken ports and wrong numbers are named in every process."""

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from jaxasr.scale.hosts import initialize
from jaxasr.scale.launch_env import LaunchEnv
from jaxasr.scale.rendezvous import PortTakenError, rendezvous
from tests.processes import PROCESS_S
from tests.scale.multi_process import ROOT, ended, free_port, several

HOST = socket.gethostname()


def job(port: int, process: int, *, processes: int = 3, start_s: int = 20, name: str = "") -> LaunchEnv:
    return LaunchEnv(f"localhost:{port}", processes, process, start_s=start_s, job=name)


def outcomes(*envs: LaunchEnv) -> list[str]:
    """Returns the message with which each process left the rendezvous, "" for those that may start."""
    with ThreadPoolExecutor(len(envs)) as pool:
        futures: list[Future[None]] = [pool.submit(rendezvous, env) for env in envs]
        errors = [future.exception(timeout=PROCESS_S) for future in futures]
    return [str(error or "") for error in errors]


def test_all_come_in_any_order_and_leave_the_port_free():
    port = free_port()
    assert outcomes(*(job(port, process) for process in (2, 0, 1))) == ["", "", ""]
    socket.create_server(("", port)).close()


def test_missing_processes_are_named_in_all_that_came():
    port = free_port()
    primary, other = outcomes(*(job(port, process, processes=4, start_s=1) for process in (0, 2)))
    assert f"process 1, 3 of 4 did not come to JAXASR_COORDINATOR=localhost:{port} within 1 s" in primary
    assert other == f"process 0 at JAXASR_COORDINATOR=localhost:{port} ended the job: {primary}"


def test_only_some_of_many_missing_processes_are_named():
    (message,) = outcomes(job(free_port(), 0, processes=1_000, start_s=1))
    assert message.startswith("process 1, 2, 3, ")
    assert ", 20 and 979 more of 1000 did not come" in message


def test_a_number_that_two_processes_have_is_named():
    port = free_port()
    messages = outcomes(*(job(port, process, processes=4) for process in (0, 1, 1)))
    assert f"process 1 came twice, from {HOST} and from {HOST}" in messages[0]
    assert all("process 1 came twice" in message for message in messages)


def test_processes_that_disagree_about_their_count_are_named():
    port = free_port()
    primary, _ = outcomes(job(port, 0, processes=3, start_s=5), job(port, 1, processes=2, start_s=1))
    assert f"process 1 on {HOST} has JAXASR_PROCESSES=2, process 0 on {HOST} has JAXASR_PROCESSES=3" in primary


def test_another_job_at_the_same_port_ends_and_the_first_one_starts():
    """The other job's processes come in the middle of the rendezvous, process 0 included."""
    port = free_port()
    with ThreadPoolExecutor(5) as pool:
        first = [pool.submit(rendezvous, job(port, 0, name="first"))]
        connected(port).close()
        others = [pool.submit(rendezvous, job(port, number, name="second")) for number in (0, 1)]
        errors = [future.exception(timeout=PROCESS_S) for future in others]
        first += [pool.submit(rendezvous, job(port, number, name="first")) for number in (1, 2)]
        assert [future.exception(timeout=PROCESS_S) for future in first] == [None] * 3
    assert all(isinstance(error, PortTakenError) and error.exit_status == os.EX_TEMPFAIL for error in errors)
    assert "Address already in use" in str(errors[0])
    assert "is the address of another job (JAXASR_JOB=first)" in str(errors[1])
    assert f"process 1 on {HOST} is of JAXASR_JOB=second: give each job a port of its own" in str(errors[1])


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"[1, 2]\n", b'{"process": 1}\n', b"\xff\x00"])
def test_what_is_no_process_of_a_job_is_ignored(sent):
    port = free_port()
    with ThreadPoolExecutor(2) as pool:
        primary = pool.submit(rendezvous, job(port, 0, processes=2))
        stranger = connected(port)
        stranger.sendall(sent)
        time.sleep(0.3)
        stranger.close()
        pool.submit(rendezvous, job(port, 1, processes=2)).result(timeout=PROCESS_S)
        primary.result(timeout=PROCESS_S)


def test_a_process_that_ends_while_it_waits_may_come_again():
    port = free_port()
    greeting = b'{"process": 1, "processes": 3, "host": "first", "job": ""}\n'
    with ThreadPoolExecutor(3) as pool:
        primary = pool.submit(rendezvous, job(port, 0))
        first = connected(port)
        first.sendall(greeting)
        time.sleep(0.3)
        first.close()
        others = [pool.submit(rendezvous, job(port, process)) for process in (1, 2)]
        for future in (primary, *others):
            future.result(timeout=PROCESS_S)


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_port_that_is_taken_is_named(host):
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        (message,) = outcomes(job(port, 0))
    assert (
        f"process 0 can't listen on JAXASR_COORDINATOR=localhost:{port}: port {port} of {HOST} can't be opened"
        in message
    )
    assert "Address already in use" in message
    assert "choose another port" in message


def test_a_port_on_which_another_program_answers_is_not_joined():
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        future = pool.submit(rendezvous, job(port, 1, start_s=1))
        other.settimeout(0.2)
        while not future.done():
            try:
                connection, _ = other.accept()
            except TimeoutError:
                continue
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n")
        error = future.exception()
    assert isinstance(error, ConnectionError)
    assert "another program answers there: b'HTTP/1.1 400 Bad Request" in str(error)


def test_a_job_that_jax_detects_is_met_as_well(monkeypatch):
    """Slurm's variables, from which JAX takes the port: it is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        variables = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
        variables |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "JAX_COORDINATOR_PORT": str(taken.getsockname()[1])}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConnectionError, match=r"process 0 can't listen on JAXASR_COORDINATOR=localhost:\d+"):
            initialize({"JAXASR_DISTRIBUTED": "auto"})


@pytest.mark.parametrize("fault", ["port", "peer"])
def test_a_command_ends_with_a_sentence_and_a_status(fault, tmp_path):
    """Neither a segmentation fault nor an abort of JAX's service."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if fault == "port" else free_port()
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAXASR_PROCESSES": "2", "JAXASR_PROCESS": "0"}
        environment |= {"JAXASR_COORDINATOR": f"127.0.0.1:{port}", "JAXASR_START_S": "1"}
        command = [sys.executable, "-m", "jaxasr", "train", "tests/tiny_experiments.py", "--workdir", str(tmp_path)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PROCESS_S, check=False
        )
    assert done.returncode == (75 if fault == "port" else 1), done.stderr
    (line,) = done.stderr.splitlines() if fault == "port" else done.stderr.splitlines()[-1:]
    wanted = "process 0 can't listen on" if fault == "port" else "process 1 of 2 did not come"
    assert line.startswith(f"jaxasr train: {wanted}")


def test_jax_starts_on_the_port_of_the_rendezvous():
    """JAX's service has the same port right after the connections of the rendezvous were closed."""
    code = "from jaxasr.scale import hosts; print(hosts.initialize()); hosts.shutdown()"
    with several(code, 3) as processes:
        results = ended(processes)
    assert [(result.status, result.out.split()) for result in results] == [(0, ["True"])] * 3, results


def connected(port: int) -> socket.socket:
    """Connects to process 0 as soon as it listens."""
    end = time.monotonic() + PROCESS_S
    while True:
        try:
            return socket.create_connection(("localhost", port))
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
