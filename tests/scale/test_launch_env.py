"""Tests of the launcher's environment variables: complete, missing and invalid ones."""

import pytest

from jaxasr.scale.launch_env import LaunchEnv, address, read_launch_env

WHOLE = {"JAXASR_COORDINATOR": "10.0.0.1:8476", "JAXASR_PROCESSES": "4", "JAXASR_PROCESS": "3"}


def test_a_process_is_one_of_several_one_that_jax_finds_or_alone():
    assert read_launch_env(WHOLE) == LaunchEnv("10.0.0.1:8476", 4, 3, heartbeat_s=60, start_s=300)
    assert read_launch_env({"JAXASR_DISTRIBUTED": "auto"}) == LaunchEnv(None, None, None)
    found = read_launch_env({"JAXASR_DISTRIBUTED": "auto", "JAXASR_COORDINATOR": "n0:80", "JAXASR_HEARTBEAT_S": "9"})
    assert found == LaunchEnv("n0:80", None, None, heartbeat_s=9)
    assert read_launch_env(WHOLE | {"JAXASR_JOB": "slurm-7-0"}) == LaunchEnv("10.0.0.1:8476", 4, 3, job="slurm-7-0")
    assert read_launch_env({}) is None
    assert read_launch_env(dict.fromkeys(WHOLE, "")) is None


@pytest.mark.parametrize("missing", WHOLE)
def test_a_variable_that_is_missing_is_named(missing):
    with pytest.raises(ValueError, match=f"but {missing} not set; set all three"):
        read_launch_env({name: value for name, value in WHOLE.items() if name != missing})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"JAXASR_PROCESSES": "four"}, "JAXASR_PROCESSES=four; it must be a whole number"),
        ({"JAXASR_PROCESS": "-1"}, "JAXASR_PROCESS=-1; it must be a whole number"),
        ({"JAXASR_PROCESS": "4"}, "JAXASR_PROCESS=4 of JAXASR_PROCESSES=4; processes are numbered from 0"),
        ({"JAXASR_HEARTBEAT_S": "0"}, "JAXASR_HEARTBEAT_S=0; it must be at least 1 second"),
        ({"JAXASR_DISTRIBUTED": "slurm"}, "JAXASR_DISTRIBUTED=slurm; it is auto"),
        ({"JAXASR_COORDINATOR": "10.0.0.1"}, "JAXASR_COORDINATOR=10.0.0.1; it is HOST:PORT"),
        ({"JAXASR_COORDINATOR": "n0:99999"}, "it is HOST:PORT of process 0"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        read_launch_env(WHOLE | wrong)


def test_an_address_has_a_host_and_a_port():
    assert address("node-1.cluster:8476") == ("node-1.cluster", 8476)
    assert address("[::1]:80") == ("::1", 80)
