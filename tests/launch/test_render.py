"""launch/render.py fills in a template whole, or refuses; launch/gke.yaml so filled is one job that knows its hosts."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.processes import PROCESS_S

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ["jaxasr", "train", "experiments/an4/las.py", 'model.name="a b"', "--workdir", "/runs/las"]
NODES = {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice", "cloud.google.com/gke-tpu-topology": "4x4"}
VALUES = (
    *("NAME=las", "IMAGE=r/jaxasr:1", "HOSTS=4", "CHIPS=4", "CHIP=google.com/tpu", "CPUS=16", "MEMORY=64Gi"),
    f"NODES={json.dumps(NODES)}",
)


def render(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", "launch/render.py", *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
    )


def test_the_job_has_a_process_a_host_and_each_knows_which_it_is():
    ran = render("launch/gke.yaml", *VALUES, "--", *COMMAND, CLAIM="runs")
    assert ran.returncode == 0, ran.stderr
    assert "${" not in ran.stdout
    job = yaml.safe_load(ran.stdout)
    assert (job["kind"], job["metadata"]["name"]) == ("JobSet", "las")
    [hosts] = job["spec"]["replicatedJobs"]
    spec = hosts["template"]["spec"]
    assert (spec["parallelism"], spec["completions"], spec["completionMode"]) == (4, 4, "Indexed")
    pod = spec["template"]["spec"]
    assert pod["nodeSelector"] == NODES
    [container] = pod["containers"]
    assert container["command"] == COMMAND
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert container["resources"]["requests"] == {"google.com/tpu": 4, "cpu": "16", "memory": "64Gi"}
    said = {each["name"]: each.get("value") for each in container["env"]}
    assert said["JAXASR_COORDINATOR"] == f"las-{hosts['name']}-0-0.las:{container['ports'][0]['containerPort']}"
    assert said["JAXASR_PROCESSES"] == "4"
    [number] = [each for each in container["env"] if each["name"] == "JAXASR_PROCESS"]
    assert "job-completion-index" in number["valueFrom"]["fieldRef"]["fieldPath"]
    assert {each["name"] for each in pod["volumes"]} == {each["name"] for each in container["volumeMounts"]}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "runs"}


def test_a_mistake_ends_the_job_and_a_disruption_counts_as_no_failure():
    """Each rule of the job is found by the JobSet through the message that Kubernetes writes of a failed job."""
    job = yaml.safe_load(render("launch/gke.yaml", *VALUES, "--", *COMMAND, CLAIM="runs").stdout)
    [hosts] = job["spec"]["replicatedJobs"]
    spec = hosts["template"]["spec"]
    [container] = spec["template"]["spec"]["containers"]
    messages = []
    for index, rule in enumerate(spec["podFailurePolicy"]["rules"]):
        if "onExitCodes" in rule:
            assert rule["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [1, 2]}
            cause = f"Container {container['name']} for pod default/las-hosts-0-0 failed with exit code 1"
        else:
            assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
            cause = "Pod default/las-hosts-0-0 has condition DisruptionTarget"
        messages.append(f"{cause} matching {rule['action']} rule at index {index}")
    actions = [
        next(rule["action"] for rule in job["spec"]["failurePolicy"]["rules"] if matches(rule, message))
        for message in messages
    ]
    assert actions == ["FailJobSet", "RestartJobSetAndIgnoreMaxRestarts"]


def matches(rule: dict[str, list[str]], message: str) -> bool:
    return any(re.search(pattern, message) for pattern in rule["onJobFailureMessagePatterns"])


@pytest.mark.parametrize("name", ["Las", "las_1", "1las", "las-", "l" * 51, "las.1"])
def test_a_name_that_makes_no_host_is_refused(name):
    ran = render("launch/gke.yaml", *VALUES[1:], f"NAME={name}", "--", *COMMAND, CLAIM="runs")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"NAME={name}; a name of at most 50 characters is needed" in ran.stderr


def test_a_name_without_a_value_and_a_value_without_a_name_are_refused():
    ran = render("launch/gke.yaml", *VALUES, "HOST=4", "--", *COMMAND)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert (
        "no value for CLAIM; no place for HOST; the template has CHIP, CHIPS, CLAIM, COMMAND, CPUS, HOSTS" in ran.stderr
    )


def test_an_empty_value_is_none():
    ran = render("launch/gke.yaml", *VALUES, "CLAIM=", "--", *COMMAND)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "no value for CLAIM" in ran.stderr


def test_without_a_command_nothing_is_filled_in():
    ran = render("launch/gke.yaml", *VALUES, "CLAIM=runs")
    assert ran.returncode == 1
    assert "no value for COMMAND" in ran.stderr


def test_nonsense_is_answered_with_the_usage():
    for arguments in ((), ("launch/gke.yaml", "NAME")):
        ran = render(*arguments)
        assert ran.returncode == 2
        assert "python launch/render.py FILE NAME=VALUE" in ran.stderr
    assert "No such file" in render("launch/none.yaml").stderr
