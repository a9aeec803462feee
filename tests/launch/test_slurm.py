"""launch/slurm.sh under a real Slurm of two nodes on this machine: a task is killed, the job requeued, the run finished."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jaxasr.__main__ import main
from tests.scale.multi_process import ROOT, free_port
from tests.trained_run import TINY, saved_state, write_tones

STEPS = 120
START_S, RUN_S = 60.0, 1_200.0
LACKS = [
    tool for tool in ("slurmctld", "slurmd", "munged") if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKS), reason=f"no {', '.join(LACKS)} here: apt-get install slurm-wlm munge"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment of Slurm's commands; its daemons end with the tests."""
    folder = tmp_path_factory.mktemp("slurm")
    with (folder / "said.txt").open("w") as said:
        daemons = subprocess.Popen(
            ["bash", "tests/launch/slurm_up.sh", str(folder), str(free_port())],
            cwd=ROOT,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: "SLURM_CONF=" in (folder / "said.txt").read_text(), START_S, daemons)
            yield {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
        finally:
            daemons.terminate()
            daemons.wait(timeout=30)


def until(holds: Callable[[], bool], limit_s: float, process: subprocess.Popen[bytes] | None = None):
    """Waits until it holds, an error if it does not in time or the process ends before."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, f"not within {limit_s} s"
        assert process is None or process.poll() is None, f"ended with {process.returncode}"
        time.sleep(0.2)


def command(workdir: Path, data_dir: Path) -> list[str]:
    options = [f"steps={STEPS}", f"eval_every={STEPS}", "save_every=20", "log_every=20", "--parallelism", "mesh"]
    train = [sys.executable, "-m", "jaxasr", "train", str(TINY), *options, "--splits", "train"]
    return [*train, "--workdir", str(workdir), "--data-dir", str(data_dir)]


def submitted(arguments: list[str], options: list[str], environment: dict[str, str]) -> str:
    sbatch = ["sbatch", "--parsable", *options, "launch/slurm.sh", *arguments]
    ran = subprocess.run(sbatch, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=START_S)
    return ran.stdout.strip()


def said_in(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def job(number: str, environment: dict[str, str]) -> dict[str, str]:
    show = ["scontrol", "show", "job", number]
    shown = subprocess.run(show, env=environment, check=True, capture_output=True, text=True, timeout=START_S)
    return dict(pair.split("=", 1) for pair in shown.stdout.split() if "=" in pair)


def test_a_job_of_which_a_task_is_killed_is_requeued_and_comes_to_the_same_numbers(slurm, tmp_path):
    data_dir, said = tmp_path / "data", tmp_path / "said.txt"
    write_tones(tmp_path / "wavs")
    assert (
        main(["prepare", "manifest", "--from", str(tmp_path / "wavs"), "--data-dir", str(data_dir), "name=tones"]) == 0
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = subprocess.run(
        ["bash", "launch/local.sh", "2", "1", *command(whole, data_dir)],
        cwd=ROOT,
        env=slurm,
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    assert unbroken.returncode == 0, unbroken.stdout + unbroken.stderr

    number = submitted(command(broken, data_dir), ["--nodes=2", "--ntasks-per-node=1", f"--output={said}"], slurm)
    until(lambda: (broken / "checkpoints" / "40").is_dir() or job(number, slurm)["JobState"] == "FAILED", RUN_S)
    [pid] = re.findall(r"pid (\d+)", (broken / "hosts" / "host-1.txt").read_text())
    os.kill(int(pid), signal.SIGKILL)
    until(lambda: job(number, slurm)["JobState"] in ("COMPLETED", "FAILED"), RUN_S)
    ended, log = job(number, slurm), said.read_text()
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), log
    assert "start 1 of job" in log
    assert "resumes after step" in log

    assert (whole / "metrics.jsonl").read_text() == (broken / "metrics.jsonl").read_text()
    left, right = (saved_state(workdir, STEPS) for workdir in (whole, broken))
    assert left.keys() == right.keys()
    for path, value in left.items():
        assert (value == right[path]).all(), path
    rows = [json.loads((workdir / "results.jsonl").read_text()) for workdir in (whole, broken)]
    assert rows[0]["wer"] == rows[1]["wer"]
    hosts = (broken / "hosts" / "host-1.txt").read_text()
    assert hosts.count("process 1 of 2 on ") == 2  # both lives


def test_a_mistake_of_the_users_is_not_tried_again(slurm, tmp_path):
    said = tmp_path / "said.txt"
    mistake = [sys.executable, "-m", "jaxasr", "show", str(tmp_path / "none.py")]
    number = submitted(mistake, ["--nodes=2", "--ntasks-per-node=1", f"--output={said}"], slurm)
    until(lambda: job(number, slurm)["JobState"] in ("COMPLETED", "FAILED") or "requeued" in said_in(said), RUN_S)
    assert job(number, slurm)["Restarts"] == "0"
    assert "ended with status 1, which would come again: not requeued" in said.read_text()


def test_restarts_come_to_an_end(slurm, tmp_path):
    said = tmp_path / "said.txt"
    environment = {**slurm, "JAXASR_RESTARTS": "1"}
    number = submitted(["bash", "-c", "kill -9 $$"], ["--ntasks=1", f"--output={said}"], environment)
    until(lambda: job(number, slurm)["JobState"] in ("COMPLETED", "FAILED"), RUN_S)
    assert job(number, slurm)["Restarts"] == "1"
    assert "ended with status 137 after 1 restarts: not requeued" in said.read_text()


def test_every_element_of_an_array_is_a_job_of_its_own(slurm, tmp_path):
    tell = 'echo "$SLURM_ARRAY_TASK_ID: $JAXASR_PROCESS of $JAXASR_PROCESSES"'
    submitted(["bash", "-c", tell], ["--array=0-2", "--ntasks=1", f"--output={tmp_path}/%a.txt"], slurm)
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for number, file in enumerate(files):
        until(lambda file=file, number=number: file.exists() and f"{number}: 0 of 1" in file.read_text(), START_S)
