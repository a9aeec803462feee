"""A sweep does what is left, names what fails and continues; killed and started again it does the rest."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxasr import report
from jaxasr.__main__ import main
from jaxasr.experiment import RuntimeConfig, Workdir, variants
from jaxasr.sweep import Halving, sweep
from jaxasr.tree import fingerprint
from tests.processes import PROCESS_S

FILE = '''"""Three seeds, and the first of them under another name."""
from dataclasses import replace

from tests import tiny_experiments as tiny


def experiment():
    return replace(tiny.experiment(), steps=20, eval_every=20, save_every=20)


def seeds():
    for seed in (0, 1, 2):
        yield f"s-{seed}", {"seed": seed}


def again():
    yield "base", {}
    yield "other", {"seed": 5}


def one_of_two():
    yield "good", {"seed": 3}
    yield "bad", {"validation.data.corpora.split": "lost"}


def without():
    yield "good", {"seed": 3}
    yield "bare", {"evals": {}}


def twins():
    yield "a", {"seed": 7}
    yield "b", {"seed": 7}
'''

# What `jaxasr train` does, as far as a sweep can see: rows of the splits asked for, or a status and last words.
RUN = """
import json, pathlib, sys, time
row, results, splits, seconds, status = sys.argv[1:]
time.sleep(float(seconds))
print("some words\\nlast words", flush=True)
if not int(status):
    with open(results, "a") as file:
        for split in splits.split(","):
            file.write(json.dumps({**json.loads(row), "split": split, "ended": time.time()}) + "\\n")
sys.exit(int(status))
"""


class Bench:
    """A file of variants, and a command that stands for training them."""

    def __init__(self, folder: Path):
        self.file = folder / "file.py"
        self.file.write_text(FILE)
        self.folder = folder / "runs"
        self.results = folder / "results.jsonl"
        self.started: list[tuple[str, tuple[str, ...]]] = []
        self.statuses: dict[str, int] = {}
        self.seconds = 0.0
        self.command_prefix: list[str] = []
        self.on_start: Callable[[str], object] = lambda _: None

    def sweep(self, generator: str, **options):
        built = variants(f"{self.file}:{generator}")

        def command(name, missing):
            self.started.append((name, tuple(missing)))
            self.on_start(name)
            row = {"name": name, "experiment": fingerprint(built[name]), "seed": built[name].seed}
            row |= {"trained": 20, "checkpoint": "best", "began": time.time()}
            arguments = [json.dumps(row), self.results, ",".join(missing), self.seconds, self.statuses.get(name, 0)]
            return [*self.command_prefix, sys.executable, "-c", RUN, *map(str, arguments)]

        return sweep(
            f"{self.file}:{generator}",
            self.folder,
            self.results,
            RuntimeConfig(self.folder),
            command=command,
            poll_s=0.02,
            **options,
        )

    def rows(self) -> list[dict]:
        return report.read(self.results)


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def test_every_variant_is_run_once_and_never_again(bench):
    assert bench.sweep("seeds").done == ("s-0", "s-1", "s-2")
    assert bench.started == [(f"s-{seed}", ("train", "test")) for seed in (0, 1, 2)]
    again = bench.sweep("seeds")
    assert (again.done, again.skipped, len(bench.started)) == ((), ("s-0", "s-1", "s-2"), 3)
    assert len(bench.rows()) == 6


def test_one_after_another_or_several_at_once(bench):
    def overlap() -> bool:
        spans = sorted((row["began"], row["ended"]) for row in bench.rows() if row["split"] == "test")
        return any(begun < ended for (_, ended), (begun, _) in itertools.pairwise(spans))

    bench.seconds = 0.3
    bench.sweep("seeds")
    assert not overlap()
    bench.results.unlink()
    assert len(bench.sweep("seeds", jobs=3).done) == 3
    assert overlap()


def test_what_fails_is_named_with_its_last_words_and_the_others_go_on(bench):
    bench.statuses = {"s-1": 3}
    swept = bench.sweep("seeds")
    assert swept.done == ("s-0", "s-2")
    assert list(swept.failed) == ["s-1"]
    assert swept.failed["s-1"].startswith("ended with status 3; the end of ")
    assert swept.failed["s-1"].endswith("some words\nlast words")
    bench.statuses = {}
    assert bench.sweep("seeds").done == ("s-1",)


@pytest.mark.parametrize(("status", "starts"), [(75, 2), (139, 2), (1, 1), (2, 1)])
def test_a_fault_that_need_not_recur_is_tried_once_more(bench, status, starts):
    """1 and 2 are mistakes of the user's, 75 is a fault after steps, and a killed process has its signal."""
    bench.statuses = {"s-1": status}
    swept = bench.sweep("seeds")
    assert (swept.done, list(swept.failed)) == (("s-0", "s-2"), ["s-1"])
    assert [name for name, _ in bench.started].count("s-1") == starts


def test_a_run_that_is_well_at_the_second_start_is_done(bench):
    bench.statuses = {"s-1": 75}
    bench.on_start = lambda name: bench.statuses.update(
        {"s-1": 75 * (bench.started.count(("s-1", ("train", "test"))) < 2)}
    )
    assert set(bench.sweep("seeds").done) == {"s-0", "s-1", "s-2"}
    assert "| s-1     | done  |" in (bench.folder / "sweep.md").read_text()


def test_runs_at_once_see_devices_of_their_own(bench, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    seen = bench.folder.parent / "seen"
    bench.command_prefix = ["sh", "-c", f'echo "$CUDA_VISIBLE_DEVICES" >> {seen}; exec "$0" "$@"']
    bench.seconds = 0.3
    assert len(bench.sweep("seeds", jobs=2, devices_per_run=2).done) == 3
    first, second, third = seen.read_text().split()
    assert {first, second} == {"4,5", "6,7"}
    assert third in {first, second}
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES=4,5,6,7 has 4 devices, and 3 runs of 2 need 6"):
        bench.sweep("again", jobs=3, devices_per_run=2)


def test_the_table_of_the_sweep_shows_every_variant(bench):
    """States, steps, the best score on the validation split, and how often a run was started."""
    metrics = bench.folder / "s-0" / "metrics.jsonl"

    def on_start(name: str) -> None:
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.write_text('{"step": 10, "validation/wer": 0.5}\n{"step": 20, "validation/wer": 0.25}\n')

    bench.on_start = on_start
    bench.statuses = {"s-1": 1}
    bench.sweep("seeds")
    lines = (bench.folder / "sweep.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert rows == [
        ["s-0", "done", "20", "20", "wer 0.25", "", "1"],
        ["s-1", "failed", "20", "20", "", "", "1"],
        ["s-2", "done", "20", "20", "", "", "1"],
    ]
    bench.sweep("again")
    assert "there before" in (bench.folder / "sweep.md").read_text()


def test_only_the_splits_without_a_row_are_evaluated(bench):
    bench.sweep("seeds")
    lines = bench.results.read_text().splitlines(keepends=True)
    bench.results.write_text("".join(line for line in lines if '"s-2"' not in line or '"train"' in line))
    assert bench.sweep("seeds").done == ("s-2",)
    assert bench.started[-1] == ("s-2", ("test",))


@pytest.mark.parametrize("change", [{"trained": 10}, {"checkpoint": "last"}, {"experiment": "00000000"}])
def test_a_row_of_something_else_does_not_count(bench, change):
    bench.sweep("seeds")
    rows = bench.rows()
    bench.results.unlink()
    for row in rows:
        report.append(bench.results, {**row, **(change if row["name"] == "s-0" else {})})
    assert bench.sweep("seeds").done == ("s-0",)


def test_the_same_experiment_under_another_name_is_not_trained_twice(bench):
    bench.sweep("seeds")
    swept = bench.sweep("again")
    assert (swept.done, swept.skipped) == (("other",), ("base",))
    copies = [row for row in bench.rows() if row["name"] == "base"]
    assert [(row["split"], row["same_as"], row["seed"]) for row in copies] == [("train", "s-0", 0), ("test", "s-0", 0)]
    bench.sweep("again")
    assert len([row for row in bench.rows() if row["name"] == "base"]) == 2


def test_equal_variants_of_one_sweep_share_a_run(bench):
    swept = bench.sweep("twins", jobs=2)
    assert (swept.done, swept.skipped) == (("a",), ("b",))
    assert {row["name"] for row in bench.rows()} == {"a", "b"}


def test_a_run_that_somebody_else_has_is_waited_for(bench):
    with contextlib.ExitStack() as held:
        held.enter_context(Workdir(bench.folder / "s-0").held())
        bench.on_start = lambda name: held.close() if name == "s-2" else None
        assert bench.sweep("seeds").done == ("s-1", "s-2", "s-0")
    assert Workdir(bench.folder / "s-0").is_free()


def test_a_run_that_somebody_else_was_faster_to_take_is_no_failure(bench):
    """Two sweeps that begin at once find the same folder free."""
    with contextlib.ExitStack() as held:

        def on_start(name: str):
            if name == "s-0" and not bench.statuses:
                held.enter_context(Workdir(bench.folder / "s-0").held())
                bench.statuses["s-0"] = 1
            elif name == "s-2":
                held.close()
                bench.statuses["s-0"] = 0

        bench.on_start = on_start
        swept = bench.sweep("seeds")
    assert (swept.done, swept.failed) == (("s-1", "s-2", "s-0"), {})


def test_steps_count_as_they_are_made_also_of_a_run_that_goes_on(bench, monkeypatch):
    """An earlier attempt wrote down 12 steps and saved 4; this one resumes there, comes to 7 and ends."""
    reported: list[tuple[float, str]] = []

    class Bar(report.Progress):
        def advance(self, n=1, **info):
            super().advance(n, **info)
            reported.append((self.done, str(info.get("now", ""))))

    def write_step(step: int) -> None:
        hosts = bench.folder / "s-0" / "hosts"
        hosts.mkdir(parents=True, exist_ok=True)
        with (hosts / "host-0.txt").open("a") as file:
            file.write(f"process 0 of 1 on here\nlast finished step {step:12d} at 2026-11-23T01:56:51+0000\n")

    write_step(12)
    (bench.folder / "s-0" / "checkpoints" / "4").mkdir(parents=True)
    (bench.folder / "s-0" / "checkpoints" / "8.orbax-checkpoint-tmp").mkdir()
    monkeypatch.setattr(report, "Progress", Bar)
    bench.on_start = lambda name: write_step(7) if name == "s-0" else None
    bench.statuses = {"s-2": 1}
    bench.seconds = 0.3
    swept = bench.sweep("seeds")
    assert (swept.done, list(swept.failed)) == (("s-0", "s-1"), ["s-2"])
    assert [reported[0], reported[-1]] == [(7.0, "s-0 at 7 of 20"), (60.0, "none")]
    counts = [done for done, _ in reported]
    assert counts == sorted(counts)
    assert {40.0, 60.0} <= set(counts)


def test_a_signal_ends_the_runs_and_the_sweep_says_what_is_left(bench):
    bench.seconds = 60.0
    process = os.getpid()
    with subprocess.Popen(["sh", "-c", f"sleep 1; kill -TERM {process}"]):
        began = time.monotonic()
        swept = bench.sweep("seeds")
    assert (swept.signum, swept.done, time.monotonic() - began < 30) == (signal.SIGTERM, (), True)
    bench.seconds = 0.0
    assert bench.sweep("seeds").done == ("s-0", "s-1", "s-2")


SWEEP = """
import pathlib, sys
from jaxasr.experiment import RuntimeConfig
from jaxasr.sweep import Halving, sweep
reference, folder, results = sys.argv[1:]
sleeps = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
runtime = RuntimeConfig(pathlib.Path(folder))
sweep(reference, pathlib.Path(folder), pathlib.Path(results), runtime, jobs=2, command=lambda *_: sleeps, poll_s=0.02)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's; on other systems a child is not bound")
def test_a_sweep_that_is_killed_leaves_no_runs(bench):
    logs = [bench.folder / name / "log.txt" for name in ("s-0", "s-1")]
    command = [sys.executable, "-c", SWEEP, f"{bench.file}:seeds", str(bench.folder), str(bench.results)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until(lambda: all(log.is_file() and log.read_text().endswith("\n") for log in logs))
        process.kill()
    until(lambda: not any(Path("/proc", log.read_text().strip()).exists() for log in logs))
    assert bench.sweep("seeds").done == ("s-0", "s-1", "s-2")
    assert len(bench.rows()) == 6


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PROCESS_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_mistakes_are_answered_before_anything_starts(bench, capsys):
    with pytest.raises(ValueError, match="jobs=0; it must be 1 or more"):
        bench.sweep("seeds", jobs=0)
    with pytest.raises(ValueError, match=r"variant 's-0' of .*: Experiment has no field 'stpes'"):
        bench.sweep("seeds", assignments=["stpes=3"])
    with pytest.raises(ValueError, match="without: bare has no evals, and their rows are how a sweep knows"):
        bench.sweep("without")
    assert main(["sweep", f"{bench.file}:lost"]) == 1
    assert (
        "has no function 'lost'; it has again, experiment, one_of_two, seeds, twins, without" in capsys.readouterr().err
    )
    assert (bench.started, bench.folder.exists()) == ([], False)


def test_an_array_of_slurm_jobs_is_submitted_by_one_command(bench, tmp_path, monkeypatch, capsys):
    """The jobs get the command itself, without what is for its submission."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "sbatch"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    script = tmp_path / "slurm.sh"
    words = ["sweep", f"{bench.file}:seeds", "--slurm-array", "4", "--slurm-script", str(script)]
    words += ["--sbatch=--gpus=1 --time=8:00", "--workdir", str(bench.folder), "log_every=10"]
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert main(words) == 1
    assert "no job script" in capsys.readouterr().err
    script.touch()
    assert main(words) == 0
    own = ["jaxasr", "sweep", f"{bench.file}:seeds", "--workdir", str(bench.folder), "log_every=10"]
    assert capsys.readouterr().out.split("\n")[:-1] == [
        "--array=0-3", "--ntasks=1", "--gpus=1", "--time=8:00", str(script), *own,
    ]  # fmt: skip
    fake.write_text("#!/bin/sh\necho no such partition >&2; exit 1\n")
    assert main(words) == 1
    assert "sbatch ended with status 1: no such partition" in capsys.readouterr().err
    fake.unlink()
    assert main(words) == 1
    assert "there is no sbatch here" in capsys.readouterr().err
    assert main([*words, "stpes=3"]) == 1
    assert "has no field 'stpes'" in capsys.readouterr().err


def test_the_command_line_trains_and_tells_what_failed(bench, trained_run, capsys):
    """The real thing: two processes, of which the second finds no data."""
    options = ["--results", str(bench.results), "--workdir", str(bench.folder), "--data-dir", str(trained_run.data_dir)]
    assert main(["sweep", f"{bench.file}:one_of_two", *options, "log_every=10"]) == 1
    assert [(row["name"], row["split"], row["seed"], row["trained"]) for row in bench.rows()] == [
        ("good", "train", 3, 20),
        ("good", "test", 3, 20),
    ]
    reported = capsys.readouterr()
    assert "1 done, 0 were done already, 1 failed" in reported.out
    assert "jaxasr sweep: bad ended with status 1; the end of" in reported.err
    assert "has no split 'lost'" in reported.err


# A training that is evaluated every 10 of 40 steps, saves at SIGTERM and resumes; its score is that of its seed.
TRAINS = """
import json, pathlib, signal, sys, time
row, results, splits, folder = sys.argv[1:]
folder = pathlib.Path(folder)
stops = []
signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
metrics = folder / "metrics.jsonl"
first = len(metrics.read_text().splitlines()) * 10 if metrics.is_file() else 0
for step in range(first + 10, 50, 10):
    time.sleep(0.02)
    if stops:
        sys.exit(143)
    with metrics.open("a") as file:
        file.write(json.dumps({"step": step, "validation/wer": json.loads(row)["seed"] / 10 + 1 / step}) + "\\n")
    with (folder / "goodput.jsonl").open("a") as file:
        kinds = ("step", "compile", "restore", "stall", "wait", "evaluation", "checkpoint", "lost", "other")
        line = {"attempt": 1, "step": step, "flops": 0, "useful_flops": 0, "audio_s": 0, "device_s": 360.0 * step}
        file.write(json.dumps(line | {f"{kind}_s": 1.0 for kind in kinds}) + "\\n")
    while step in json.loads(row)["rungs"] and not stops:
        time.sleep(0.01)
with open(results, "a") as file:
    for split in splits.split(","):
        file.write(json.dumps({**json.loads(row), "split": split}) + "\\n")
"""

LADDER = '''"""Nine seeds of 40 steps."""
from dataclasses import replace

from tests import tiny_experiments as tiny


def experiment():
    return replace(tiny.experiment(), steps=40, eval_every=10, save_every=10, log_every=10)


def seeds():
    for seed in (4, 1, 3, 0, 2, 5, 8, 7, 6):
        yield f"s-{seed}", {"seed": seed}
'''


class Ladder(Bench):
    """A sweep of nine runs whose score is that of their seed."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.file.write_text(LADDER)
        self.built = variants(f"{self.file}:seeds")

    def run(self, halving: Halving, **options):
        def command(name, missing):
            self.started.append((name, tuple(missing)))
            self.on_start(name)
            row = {
                "name": name,
                "experiment": fingerprint(self.built[name]),
                "seed": self.built[name].seed,
            }
            row |= {"trained": 40, "checkpoint": "best", "rungs": halving.rungs}
            arguments = [json.dumps(row), self.results, ",".join(missing), self.folder / name]
            return [sys.executable, "-c", TRAINS, *map(str, arguments)]

        runtime = RuntimeConfig(self.folder)
        options |= {"halving": halving, "command": command, "poll_s": 0.02}
        return sweep(f"{self.file}:seeds", self.folder, self.results, runtime, **options)

    def steps(self, name: str) -> int:
        metrics = self.folder / name / "metrics.jsonl"
        return 10 * len(metrics.read_text().splitlines()) if metrics.is_file() else 0


def test_successive_halving_stops_the_weaker_runs_at_every_rung(tmp_path):
    """Of nine runs three continue at step 10, and one of them at step 20."""
    ladder = Ladder(tmp_path)
    swept = ladder.run(jobs=3, halving=Halving((10, 20), 3))
    assert swept.done == ("s-0",)
    assert swept.failed == {}
    assert {name: ladder.steps(name) for name in ladder.built} == {
        f"s-{seed}": 40 if seed == 0 else 20 if seed < 3 else 10 for seed in range(9)
    }
    assert swept.stopped["s-3"] == "at step 10: wer 0.4, place 4 of 9"
    assert swept.stopped["s-2"] == "at step 20: wer 0.25, place 3 of 3"
    table = (ladder.folder / "sweep.md").read_text()
    assert table.count("| stopped |") == 8
    again = ladder.run(halving=Halving((10, 20), 3))
    assert (again.done, again.skipped, set(again.stopped)) == ((), ("s-0",), set(swept.stopped))


def test_a_sweep_that_was_stopped_finds_its_standing_in_the_metrics(tmp_path):
    ladder = Ladder(tmp_path)
    process = os.getpid()
    ladder.on_start = lambda name: os.kill(process, signal.SIGTERM) if len(ladder.started) == 5 else None
    assert ladder.run(jobs=2, halving=Halving((10, 20), 3)).signum == signal.SIGTERM
    ladder.on_start = lambda _: None
    before = {name: ladder.steps(name) for name in ladder.built}
    assert 0 < sum(before.values()) < 90
    assert ladder.run(jobs=2, halving=Halving((10, 20), 3)).done == ("s-0",)
    assert sum(ladder.steps(name) for name in ladder.built) == 40 + 2 * 20 + 6 * 10


def test_a_run_that_fails_is_ranked_no_more(tmp_path):
    ladder = Ladder(tmp_path)
    broken = ladder.folder / "s-0" / "metrics.jsonl"
    ladder.on_start = lambda name: broken.mkdir(parents=True, exist_ok=True) if name == "s-0" else None
    swept = ladder.run(jobs=3, halving=Halving((10,), 8))
    assert list(swept.failed) == ["s-0"]
    assert swept.done == ("s-1",)
    assert swept.stopped["s-8"].endswith("place 8 of 8")


def test_the_budget_stops_all_runs(tmp_path):
    """Ten steps take one device-hour here. With a larger budget the sweep continues."""
    ladder = Ladder(tmp_path)
    swept = ladder.run(jobs=1, halving=Halving((10, 20), 3), budget_device_hours=3.5)
    assert swept.done == ()
    assert len(swept.stopped) == 9
    assert "by the budget of 3.5 device-hours, of which 4 are spent" in swept.stopped["s-8"]
    assert sum(ladder.steps(name) for name in ladder.built) == 40
    assert ladder.run(halving=Halving((10, 20), 3), budget_device_hours=99.0).done == ("s-0",)


@pytest.mark.parametrize(
    ("rungs", "factor", "message"),
    [
        ((20, 10), 3, "rising numbers of steps"),
        ((10,), 1, "a factor of 2 or more"),
        ((15,), 3, "is evaluated every 10; a rung at 15 must"),
        ((40,), 3, "s-4 has 40 steps and is evaluated every 10"),
    ],
)
def test_rungs_that_no_run_reaches_are_refused(rungs, factor, message, tmp_path):
    ladder = Ladder(tmp_path)
    with pytest.raises(ValueError, match=message):
        ladder.run(halving=Halving(rungs, factor))
    assert ladder.started == []
