"""launch/slurm.sh under a real Slurm of two nodes on this machine: faults, limits, ports, arrays, and what the job does."""

import json
import os
import re
import shutil
import signal
import socket
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


def command(workdir: Path, data_dir: Path, train: tuple[str, ...] = ("-m", "jaxasr", "train")) -> list[str]:
    options = [f"steps={STEPS}", f"eval_every={STEPS}", "save_every=20", "log_every=20", "--parallelism", "mesh"]
    options += ["--splits", "train", "--workdir", str(workdir), "--data-dir", str(data_dir)]
    return [sys.executable, *train, str(TINY), *options]


@pytest.fixture(scope="module")
def unbroken(slurm, tmp_path_factory) -> tuple[Path, Path]:
    """The data folder, and the workdir of a run of two processes that nothing happens to."""
    folder = tmp_path_factory.mktemp("unbroken")
    data_dir = folder / "data"
    write_tones(folder / "wavs")
    prepare = ["prepare", "manifest", "--from", str(folder / "wavs"), "--data-dir", str(data_dir), "name=tones"]
    assert main(prepare) == 0
    ran = subprocess.run(
        ["bash", "launch/local.sh", "2", "1", *command(folder / "run", data_dir)],
        cwd=ROOT,
        env=slurm,
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return data_dir, folder / "run"


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


def ended_job(number: str, environment: dict[str, str], limit_s: float = RUN_S) -> dict[str, str]:
    """Waits until a job has ended for good."""
    until(lambda: job(number, environment)["JobState"] in ("COMPLETED", "FAILED"), limit_s)
    return job(number, environment)


def check_same_run(workdir: Path, whole: Path) -> None:
    """Checks that the metrics, the parameters and the row of a run are those of an unbroken one."""
    assert (whole / "metrics.jsonl").read_text() == (workdir / "metrics.jsonl").read_text()
    left, right = (saved_state(folder, STEPS) for folder in (whole, workdir))
    assert left.keys() == right.keys()
    for path, value in left.items():
        assert (value == right[path]).all(), path
    rows = [json.loads((folder / "results.jsonl").read_text()) for folder in (whole, workdir)]
    assert rows[0]["wer"] == rows[1]["wer"]


def test_a_job_of_which_a_task_is_killed_is_requeued_and_comes_to_the_same_numbers(slurm, unbroken, tmp_path):
    data_dir, whole = unbroken
    broken, said = tmp_path / "broken", tmp_path / "said.txt"
    number = submitted(command(broken, data_dir), ["--nodes=2", "--ntasks-per-node=1", f"--output={said}"], slurm)
    until(lambda: (broken / "checkpoints" / "40").is_dir() or job(number, slurm)["JobState"] == "FAILED", RUN_S)
    [pid] = re.findall(r"pid (\d+)", (broken / "hosts" / "host-1.txt").read_text())
    os.kill(int(pid), signal.SIGKILL)
    ended, log = ended_job(number, slurm), said.read_text()
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), log
    assert "start 1 of job" in log
    assert "resumes after step" in log
    check_same_run(broken, whole)
    hosts = (broken / "hosts" / "host-1.txt").read_text()
    assert hosts.count("process 1 of 2 on ") == 2  # both lives


@pytest.mark.parametrize(("fault", "cause"), [("reset", "Gloo"), ("stale", "Stale file handle")])
def test_a_job_that_meets_a_fault_is_requeued_and_comes_to_the_same_numbers(slurm, unbroken, tmp_path, fault, cause):
    data_dir, whole = unbroken
    broken, said = tmp_path / "broken", tmp_path / "said.txt"
    train = command(broken, data_dir, ("-m", "tests.launch.faulty_train", fault, "30"))
    number = submitted(
        train, ["--nodes=2", "--ntasks-per-node=1", f"--output={said}"], {**slurm, "JAXASR_RESTARTS": "0"}
    )
    ended, log = ended_job(number, slurm), said.read_text()
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), log  # of a start that made steps
    first_start = log[: log.index("start 1 of job")]
    assert "ended with status 75: requeued" in first_start, log
    task_lines = [line for line in first_start.splitlines() if re.match(r"[01]: .*(jaxasr|this start had)", line)]
    assert any(cause in line for line in task_lines[-4:]), log
    check_same_run(broken, whole)


def test_a_mistake_of_the_users_is_not_tried_again(slurm, tmp_path):
    said = tmp_path / "said.txt"
    mistake = [sys.executable, "-m", "jaxasr", "show", str(tmp_path / "none.py")]
    number = submitted(mistake, ["--nodes=2", "--ntasks-per-node=1", f"--output={said}"], slurm)
    until(lambda: job(number, slurm)["JobState"] in ("COMPLETED", "FAILED") or "requeued" in said_in(said), RUN_S)
    assert job(number, slurm)["Restarts"] == "0"
    assert "ended with status 1, which would come again: not requeued" in said.read_text()


def test_restarts_that_make_no_step_come_to_an_end(slurm, tmp_path):
    said = tmp_path / "said.txt"
    environment = {**slurm, "JAXASR_RESTARTS": "1"}
    number = submitted(["bash", "-c", "kill -9 $$"], ["--ntasks=1", f"--output={said}"], environment)
    assert ended_job(number, slurm)["Restarts"] == "1"
    assert "ended with status 137 after 1 restarts that made no step: not requeued" in said.read_text()


STEPS_MADE = """
mkdir -p "$2/hosts"; start=${SLURM_RESTART_COUNT:-0}
printf 'process 0 of 1\nlast finished step %12d at now\n' $((start < 3 ? 10 * (start + 1) : 30)) >> "$2/hosts/host-0.txt"
trap 'exit 143' TERM; kill -TERM $$
"""


def test_only_restarts_that_make_no_step_count(slurm, tmp_path):
    """Starts 0 to 2 get further, as those that a time limit ends. Starts 3 and 4 make the same steps again."""
    said = tmp_path / "said.txt"
    steps = ["bash", "-c", STEPS_MADE, "train", "--workdir", str(tmp_path / "a run")]
    number = submitted(steps, ["--ntasks=1", f"--output={said}"], {**slurm, "JAXASR_RESTARTS": "1"})
    assert ended_job(number, slurm)["Restarts"] == "4", said.read_text()
    assert "ended with status 143 after 1 restarts that made no step: not requeued" in said.read_text()


def test_only_the_element_of_an_array_that_ended_is_requeued(slurm, tmp_path):
    """Slurm gives the last element the number of the whole array."""
    fails = '[ "$SLURM_ARRAY_TASK_ID${SLURM_RESTART_COUNT:-}" != 2 ] || { sleep 5; kill -9 $$; }'
    number = submitted(["bash", "-c", fails], ["--array=0-2", "--ntasks=1", f"--output={tmp_path}/%a.txt"], slurm)
    until(lambda: "start 1 of job" in said_in(tmp_path / "2.txt"), RUN_S)
    assert ended_job(f"{number}_2", slurm)["JobState"] == "COMPLETED"
    starts = [said_in(tmp_path / f"{element}.txt").count(" start ") for element in range(3)]
    assert starts == [1, 1, 2]


JOINS = f"""
import sys
import time
sys.path.insert(0, {str(ROOT)!r})
from jaxasr.scale import hosts
with hosts.distributed():
    print("joined", *hosts.process(), flush=True)
    time.sleep(float(sys.argv[1]))
"""


def test_a_port_that_is_taken_is_another_one_at_the_next_start(slurm, tmp_path):
    """The port is held when the first start comes. The second one joins, and ends by the mistake in its command."""
    said = tmp_path / "said.txt"
    mistake = [sys.executable, "-m", "jaxasr", "train", str(tmp_path / "none.py"), "--workdir", str(tmp_path / "run")]
    options = ["--nodes=2", "--ntasks-per-node=1", f"--output={said}"]
    number = submitted(mistake, [*options, "--hold"], {**slurm, "JAXASR_START_S": "60"})
    with socket.create_server(("", 20_000 + int(number) % 20_000)):
        subprocess.run(["scontrol", "release", number], env=slurm, check=True, timeout=START_S)
        until(lambda: "requeued" in said_in(said), RUN_S)
    log = said.read_text()
    assert "Address already in use" in log
    assert re.search("ended with status (75|137): requeued", log), log  # 137: process 1, which nobody answered
    assert ended_job(number, slurm)["Restarts"] == "1"
    assert "start 1 of job" in said.read_text()
    assert "ended with status 1, which would come again: not requeued" in said.read_text()


def test_of_two_jobs_with_one_port_the_first_goes_on(slurm, tmp_path):
    said = [tmp_path / "first.txt", tmp_path / "second.txt"]
    environment = {**slurm, "JAXASR_COORDINATOR": f"127.0.0.1:{free_port()}", "JAXASR_START_S": "20"}
    options = ["--nodes=1", "--ntasks=2", "--overcommit"]
    first = submitted([sys.executable, "-c", JOINS, "30"], [*options, f"--output={said[0]}"], environment)
    until(lambda: said_in(said[0]).count("joined") == 2, RUN_S)
    second = submitted(
        [sys.executable, "-m", "jaxasr", "train", str(TINY), "--workdir", str(tmp_path / "run")],
        [*options, f"--output={said[1]}"],
        {**environment, "JAXASR_RESTARTS": "0"},
    )
    assert ended_job(second, slurm)["JobState"] == "FAILED"
    assert "process 0 can't listen on" in said[1].read_text()
    assert "ended with status 75 after 0 restarts that made no step" in said[1].read_text()
    assert ended_job(first, slurm)["JobState"] == "COMPLETED", said[0].read_text()


def test_the_number_of_processes_is_that_of_the_nodes_that_came(slurm, tmp_path):
    said = tmp_path / "said.txt"
    options = ["--nodes=1-2", "--ntasks-per-node=1", f"--output={said}"]
    number = submitted([sys.executable, "-c", JOINS, "0"], options, slurm)
    assert ended_job(number, slurm)["JobState"] == "COMPLETED", said_in(said)
    nodes = int(job(number, slurm)["NumNodes"])
    assert sorted(re.findall("joined (.*)", said.read_text())) == [f"{k} {nodes}" for k in range(nodes)]


TELL = 'echo "$SLURM_PROCID: sees ${CUDA_VISIBLE_DEVICES:-any}, takes ${JAX_LOCAL_DEVICE_IDS:-all}"'


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (("--gpus-per-node=4", "--gpu-bind=none"), ["0: sees any, takes 0,1", "1: sees any, takes 2,3"]),
        (("--gpus-per-node=4",), ["0: sees 0,1,2,3, takes 0,1", "1: sees 0,1,2,3, takes 2,3"]),
        (("--gpus-per-task=1",), ["0: sees 0, takes all", "1: sees 1, takes all"]),
    ],
)
def test_tasks_of_a_node_have_gpus_of_their_own(slurm, tmp_path, options, seen):
    said = tmp_path / "said.txt"
    job_options = ["--nodes=1", "--ntasks-per-node=2", "--overcommit", f"--output={said}", *options]
    number = submitted(["bash", "-c", TELL], job_options, slurm)
    assert ended_job(number, slurm)["JobState"] == "COMPLETED", said_in(said)
    assert sorted(re.findall(r"\d: (\d: sees .*)", said.read_text())) == seen


def test_a_time_limit_ends_a_start_and_not_the_job(slurm, tmp_path):
    """The limit is a real one, of a minute; the tasks get SIGTERM before it."""
    said = tmp_path / "said.txt"
    waits = 'trap "echo saved; exit 143" TERM; [ "${SLURM_RESTART_COUNT:-0}" = 1 ] || for ((;;)); do sleep 0.2; done'
    number = submitted(["bash", "-c", waits], ["--ntasks=1", "--time=1", "--signal=TERM@30", f"--output={said}"], slurm)
    assert ended_job(number, slurm)["Restarts"] == "1", said_in(said)
    assert "0: saved" in said.read_text()
    assert "ended with status 143: requeued" in said.read_text()


def test_a_drained_node_ends_no_job(slurm, tmp_path):
    """A node is drained while a task of it runs. The requeued job waits for it, and ends when it is back."""
    said = tmp_path / "said.txt"
    dies = 'echo "task $SLURM_PROCID"; [ "$SLURM_PROCID${SLURM_RESTART_COUNT:-}" != 1 ] || { sleep 5; kill -9 $$; }'
    number = submitted(["bash", "-c", dies], ["--nodes=2", "--ntasks-per-node=1", f"--output={said}"], slurm)
    until(lambda: "task 1" in said_in(said), RUN_S)
    scontrol = ["scontrol", "update", "NodeName=n1"]
    subprocess.run([*scontrol, "State=DRAIN", "Reason=test"], env=slurm, check=True, timeout=START_S)
    try:
        until(lambda: job(number, slurm)["JobState"] == "PENDING", RUN_S)
        time.sleep(10.0)
        assert "start 1" not in said.read_text()
    finally:
        subprocess.run([*scontrol, "State=RESUME"], env=slurm, check=True, timeout=START_S)
    assert ended_job(number, slurm)["Restarts"] == "1"
    assert said.read_text().count("1: task 1\n") == 2


def test_every_element_of_an_array_is_a_job_of_its_own(slurm, tmp_path):
    tell = 'echo "$SLURM_ARRAY_TASK_ID: $JAXASR_PROCESS of $JAXASR_PROCESSES"'
    submitted(["bash", "-c", tell], ["--array=0-2", "--ntasks=1", f"--output={tmp_path}/%a.txt"], slurm)
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for number, file in enumerate(files):
        until(lambda file=file, number=number: file.exists() and f"{number}: 0 of 1" in file.read_text(), START_S)
