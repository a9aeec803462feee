"""Tests that the processes of a job join, meet and end together, and of the description of the hardware."""

import os
import socket
import time
from dataclasses import asdict

import jax
import pytest

from jaxasr.scale import hosts
from jaxasr.scale.hosts import Hardware, barrier, client, hardware, initialize, is_primary, process, shutdown
from tests.scale.multi_process import ended, free_port, several

HOST = socket.gethostname()


def test_the_hardware_is_described():
    found = hardware()
    assert (found.platform, found.devices, found.processes) == ("cpu", len(jax.devices()), 1)
    assert found.kind
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert set(asdict(found)) == {"platform", "kind", "devices", "processes", "cores"}
    assert is_primary()


def test_it_reads_as_a_line():
    assert str(Hardware("gpu", "NVIDIA H100", 8, 1, 96)) == "8 x NVIDIA H100 (gpu), 96 host cores"
    assert str(Hardware("tpu", "TPU v5e", 16, 4, 112)) == "16 x TPU v5e (tpu) in 4 processes, 112 host cores"


def test_the_processor_is_read_from_linuxs_list_and_else_is_the_architecture(tmp_path, monkeypatch):
    listed = tmp_path / "cpuinfo"
    monkeypatch.setattr(hosts, "_CPUINFO", listed)
    monkeypatch.setattr(hosts.platform, "machine", lambda: "riscv64")
    assert hosts.cpu_info("model name") == "riscv64"
    listed.write_text("processor\t: 0\nmodel name\t: A Fast One: 3 GHz\nflags\t\t: a b\n\nprocessor\t: 1\nflags : c\n")
    assert hosts.cpu_info("model name") == "A Fast One: 3 GHz"
    assert hosts.cpu_info("flags") == "a b"


TWO = """
    import os
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather
    from jaxasr.scale import hosts
    with hosts.distributed():
        number, count = hosts.process()
        print(number, count, hosts.is_primary(), hosts.hardware().processes)
        print(process_allgather(np.float32(number + 1)).sum())
        hosts.barrier("a")
        hosts.barrier("a")
        if os.environ.get("FAILS") == str(number):
            raise ValueError("one of them fails")
        if "FAILS" in os.environ:
            process_allgather(np.float32(0))
    print("left")
"""
RESET = """
    import os
    import sys
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather
    from jaxasr.scale import hosts
    from tests.scale.connections import reset_connections

    class Fault(RuntimeError):
        exit_status = 75

    try:
        with hosts.distributed():
            number, _ = hosts.process()
            for step in range(1_000):
                try:
                    process_allgather(np.float32(number))
                except (RuntimeError, ValueError) as error:
                    raise Fault("the connection was lost") from error
                if (step, number) == (3, 1):
                    reset_connections()
    except Fault as fault:
        print(fault, file=sys.stderr)
        hosts.end_after_failure()
"""


def test_two_processes_join_meet_and_leave():
    with several(TWO) as processes:
        results = ended(processes)
    assert [result.status for result in results] == [0, 0], results
    assert [result.out.split() for result in results] == [
        ["0", "2", "True", "2", "3.0", "left"],
        ["1", "2", "False", "2", "3.0", "left"],
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_an_error_in_one_ends_all_with_its_status_and_its_cause_last(number):
    """Process 0 ends the coordination service; process 1 leaves process 0 in a collective."""
    began = time.monotonic()
    with several(TWO, FAILS=str(number)) as processes:
        results = ended(processes)
    assert [result.status for result in results] == [1, 1], results
    assert results[number].err.endswith("ValueError: one of them fails\n")
    assert results[1 - number].err.endswith(f"process {number} on {HOST} failed first: one of them fails\n")
    assert "left" not in results[0].out + results[1].out
    assert time.monotonic() - began < 60.0  # of which most is the start on a busy machine


def test_reset_connections_end_all_with_the_status_of_the_error():
    with several(RESET) as processes:
        results = ended(processes)
    assert [result.status for result in results] == [75, 75], results
    assert all(result.err.endswith("the connection was lost\n") for result in results)


def test_a_process_alone_meets_nobody():
    assert not initialize({})
    assert not initialize({"JAXASR_COORDINATOR": "127.0.0.1:1", "JAXASR_PROCESSES": "1", "JAXASR_PROCESS": "0"})
    barrier("nobody")
    shutdown()
    assert process() == (0, 1)
    assert client() is None


def test_a_first_process_that_does_not_answer_is_named():
    port = free_port()
    environment = {
        "JAXASR_COORDINATOR": f"localhost:{port}",
        "JAXASR_PROCESSES": "2",
        "JAXASR_PROCESS": "1",
        "JAXASR_START_S": "1",
    }
    with pytest.raises(ConnectionError, match=rf"process 1 of 2 on .* JAXASR_COORDINATOR=localhost:{port} .* for 1 s"):
        initialize(environment)
