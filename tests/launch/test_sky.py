"""launch/sky.yaml: SkyPilot's words as its format has them, what it installs is the project's, and its script runs."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from jaxasr.cli.main import _parse
from jaxasr.files import DATA_DIR
from jaxasr.report.results import COMMIT
from jaxasr.scale.cache import VARIABLE
from jaxasr.scale.launch_env import LaunchEnv, read_launch_env
from tests.launch.test_dockerfile import after, header_commands
from tests.processes import PROCESS_S

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "launch/sky.yaml"
TASK = yaml.safe_load(FILE.read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
JAXASR = """#!/usr/bin/env bash
printf '%s\\n' "$@"
env | sed -n 's/^JAXASR_/env JAXASR_/p'
exit "${STATUS:-0}"
"""
GIVEN = {"EXPERIMENT": "experiments/an4/las.py", "RUN": "las", "OPTIONS": "seed=1 model.encoder.width=256"}


def sky_environment(**variables: str) -> dict[str, str]:
    """Returns the variables of a script that SkyPilot starts: those of `envs`, and its own."""
    own = {
        "SKYPILOT_NUM_NODES": "1",
        "SKYPILOT_NODE_RANK": "0",
        "SKYPILOT_NODE_IPS": "10.0.0.1",
        "SKYPILOT_TASK_ID": "t-1",
    }
    envs = {name: value for name, value in TASK["envs"].items() if value is not None}
    return (
        {name: value for name, value in os.environ.items() if not name.startswith("JAXASR_")} | envs | own | variables
    )


def run(tmp_path: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script of the task in a folder whose environment has a `jaxasr` and a `uv` that print their arguments."""
    tools = tmp_path / ".venv/bin"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "activate").write_text(f'export PATH="{tools}:$PATH"\n')
    home = tmp_path / ".local/bin"
    home.mkdir(parents=True, exist_ok=True)
    for path, text in {tools / "jaxasr": JAXASR, home / "uv": '#!/usr/bin/env bash\nprintf "%s\\n" "$*"\n'}.items():
        path.write_text(text)
        path.chmod(0o755)
    return subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=sky_environment(HOME=str(tmp_path), **GIVEN, **variables),
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
    )


def launch_env(printed: str) -> LaunchEnv | None:
    """Returns what jaxasr reads from the variables that the script has set."""
    return read_launch_env(dict(re.findall(r"^env (\w+)=(.*)$", printed, re.MULTILINE)))


def test_its_script_trains_the_experiment(tmp_path):
    ran = run(tmp_path, TASK["run"])
    assert ran.returncode == 0, ran.stderr
    words = [line for line in ran.stdout.splitlines() if not line.startswith("env ")]
    arguments = _parse(words)
    assert (arguments.name, str(arguments.workdir)) == ("train", "/runs/las")
    assert (ROOT / arguments.experiment).is_file()
    assert arguments.assignments == GIVEN["OPTIONS"].split()
    assert arguments.parallelism == "mesh"
    assert launch_env(ran.stdout) is None  # one process takes all devices of one machine


def test_each_of_several_nodes_knows_the_others(tmp_path):
    addresses = "10.0.0.1\n10.0.0.2"
    for rank in (0, 1):
        nodes = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NODE_IPS": addresses}
        ran = run(tmp_path, TASK["run"], **nodes)
        assert launch_env(ran.stdout) == LaunchEnv("10.0.0.1:8476", 2, rank, job="t-1"), ran.stderr


@pytest.mark.parametrize("status", [0, 1, 75])
def test_the_status_is_that_of_the_training_and_sky_can_upload_after_it(tmp_path, status):
    """SkyPilot appends to the script what waits for the uploads, and ends with the status that was before it."""
    ran = run(tmp_path, TASK["run"] + "\nstatus=$?\necho uploaded\nexit $status\n", STATUS=str(status))
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (status, "uploaded")


def test_what_would_recur_is_not_started_again():
    recovery = TASK["resources"]["job_recovery"]
    assert set(recovery["recover_on_exit_codes"]) == {75, 134, 137, 143}  # of the table in launch/README.md
    assert "max_restarts_on_errors" not in recovery


@pytest.mark.parametrize("extra", ["gpu", "tpu"])
def test_it_installs_the_tested_versions(tmp_path, extra):
    ran = run(tmp_path, TASK["setup"], EXTRA=extra)
    assert ran.returncode == 0, ran.stderr
    made, installed = (line.split() for line in ran.stdout.splitlines())
    assert after(made, "--python")[0] in SpecifierSet(PROJECT["requires-python"])
    assert [ROOT / path for path in after(installed, "--constraint")] == [ROOT / "launch/constraints.txt"]
    assert after(installed, "--editable") == [f".[{extra}]"]
    assert extra in PROJECT["optional-dependencies"]
    assert made[-1] == ".venv"
    assert after(installed, "--python") == [".venv/bin/python"]


def test_every_variable_is_given_and_read():
    [command] = header_commands(FILE)
    given = dict(pair.split("=", 1) for pair in after(command, "--env"))
    assert {name for name, value in TASK["envs"].items() if value is None} <= given.keys() <= TASK["envs"].keys()
    text = FILE.read_text()
    for name in TASK["envs"].keys() - {DATA_DIR, VARIABLE, COMMIT}:  # which jaxasr reads itself
        assert re.search(rf"\$\{{?{name}\b", text), name
    assert (ROOT / given["EXPERIMENT"]).is_file()
    assert [ROOT / word for word in command if word.endswith(".yaml")] == [FILE]
    assert TASK["envs"]["EXTRA"] in PROJECT["optional-dependencies"]


def test_its_folders_are_mounted():
    """Metrics are appended to and checkpoints renamed, which SkyPilot's MOUNT does not allow."""
    mounts = TASK["file_mounts"]
    assert TASK["envs"][DATA_DIR] in mounts
    assert mounts["/runs"] == {"name": "${BUCKET}", "mode": "MOUNT_CACHED"}
    assert TASK["envs"][VARIABLE].startswith("/runs/")
    assert (TASK["workdir"], TASK["num_nodes"]) == (
        ".",
        1,
    )  # the commit's files; a bucket is not shared by nodes at once
    assert TASK["resources"]["use_spot"] is True
