"""Result rows: whole lines whatever happens, and where they come from."""

import json
import math
import multiprocessing
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxasr import report
from jaxasr.report import results
from tests.processes import PROCESS_S

ROWS = st.dictionaries(
    st.text(), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(rows=st.lists(ROWS, max_size=4))
def test_rows_come_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("results") / "new" / "results.jsonl"
    for row in rows:
        report.append(path, row)
    if rows:
        assert report.read(path) == rows
        assert path.read_bytes().count(b"\n") == len(rows)


def test_numpy_scalars_become_plain_numbers(tmp_path):
    path = tmp_path / "results.jsonl"
    report.append(path, {"wer": np.float32(0.5), "words": np.int64(3), "best": np.bool_(True)})
    assert path.read_text() == '{"wer": 0.5, "words": 3, "best": true}\n'


@pytest.mark.parametrize(
    ("value", "message"), [(math.nan, "not JSON compliant"), (math.inf, "not JSON compliant"), ({1}, "is a set")]
)
def test_what_json_cannot_hold_is_refused_before_the_file_is_touched(tmp_path, value, message):
    path = tmp_path / "results.jsonl"
    with pytest.raises(ValueError, match=rf"this row can't be written to .*{message}"):
        report.append(path, {"wer": value})
    assert not path.exists()


@pytest.mark.parametrize("torn", [b'{"seed": 1, "we', '{"name": "é'.encode()[:-1], b"3"])
def test_a_torn_line_is_named_and_the_next_row_is_whole(tmp_path, torn):
    path = tmp_path / "results.jsonl"
    report.append(path, {"seed": 0})
    with path.open("ab") as file:
        file.write(torn)
    with pytest.warns(UserWarning, match=r"results.jsonl, line 2 isn't a whole row and is left out"):
        assert report.read(path) == [{"seed": 0}]
    report.append(path, {"seed": 2})
    with pytest.warns(UserWarning, match=r"line 2 isn't a whole row"):
        assert report.read(path) == [{"seed": 0}, {"seed": 2}]


def test_no_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no results at .*results.jsonl"):
        report.read(tmp_path / "results.jsonl")


def _append_many(path, seed):
    for number in range(50):
        report.append(path, {"seed": seed, "number": number, "filling": "x" * 9000})


def test_runs_that_append_at_once_do_not_mix_their_lines(tmp_path):
    path = tmp_path / "results.jsonl"
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=_append_many, args=(path, seed)) for seed in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(PROCESS_S)
        assert run.exitcode == 0
    rows = report.read(path)
    for seed in range(3):
        assert [row["number"] for row in rows if row["seed"] == seed] == list(range(50))


def _git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=PROCESS_S)


def test_provenance_names_commit_and_versions(tmp_path):
    outside = report.provenance(tmp_path)
    assert (outside["commit"], outside["dirty"]) == ("unknown", None)
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    _git(tmp_path, "init")
    assert report.provenance(experiments)["commit"] == "unknown"  # nothing is committed yet
    for name in ("code.py", "experiments/results.jsonl"):
        (tmp_path / name).write_text("{}\n")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "first")

    clean = report.provenance(experiments)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (experiments / "results.jsonl").write_text("{}\n{}\n")
    assert report.provenance(experiments)["dirty"] is False  # runs append to it
    (tmp_path / "code.py").write_text("changed")
    assert report.provenance(experiments)["dirty"] is True
    assert {"python", "platform", "jax", "jaxlib", "flax", "optax", "jaxasr"} <= clean.keys()
    assert json.loads(json.dumps(clean)) == clean


def test_provenance_names_jaxasr_itself(tmp_path, monkeypatch):
    """Its own commit and sources, whatever the experiment's repository; without git it is an installation."""
    found = report.provenance(tmp_path)
    assert found["commit"] == "unknown"
    assert len(found["jaxasr_sources"]) == 12
    assert found["jaxasr_commit"] == "installed" or len(found["jaxasr_commit"]) == 40
    monkeypatch.setenv("PATH", str(tmp_path))
    installed = results.package_provenance.__wrapped__()
    assert installed == {
        "jaxasr_commit": "installed",
        "jaxasr_dirty": None,
        "jaxasr_sources": found["jaxasr_sources"],
    }


@pytest.mark.parametrize(("suffix", "dirty"), [("", False), ("-dirty", True)])
def test_files_without_a_repository_are_of_the_commit_that_is_stated(tmp_path, monkeypatch, suffix, dirty):
    """In an image JAXASR_COMMIT holds for the project that it was built of, not for an experiment from elsewhere."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAXASR_COMMIT", "0123456789" * 4 + suffix)
    monkeypatch.setattr(results, "package_provenance", results.package_provenance.__wrapped__)
    own = report.provenance(Path(results.__file__).parents[2] / "experiments/an4")
    assert (own["commit"], own["dirty"]) == (own["jaxasr_commit"], own["jaxasr_dirty"]) == ("0123456789" * 4, dirty)
    other = report.provenance(tmp_path)
    assert (other["commit"], other["dirty"], other["jaxasr_commit"]) == ("unknown", None, "0123456789" * 4)


def test_a_stated_commit_yields_to_that_of_a_repository(tmp_path, monkeypatch):
    _git(tmp_path, "init")
    (tmp_path / "code.py").write_text("{}\n")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "first")
    monkeypatch.setenv("JAXASR_COMMIT", "0123456789" * 4)
    assert report.provenance(tmp_path)["commit"] not in ("unknown", "0123456789" * 4)


@pytest.mark.parametrize("stated", ["v0.1.0", "a281702", "0123456789" * 4 + "-changed"])
def test_a_stated_commit_that_is_none_is_an_error(tmp_path, monkeypatch, stated):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAXASR_COMMIT", stated)
    with pytest.raises(ValueError, match=f"JAXASR_COMMIT={stated}; it is a commit of 40 hex digits.*git describe"):
        results.package_provenance.__wrapped__()


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert report.provenance(tmp_path)["commit"] == "unknown"


@pytest.mark.parametrize("value", [3, None, [], {"a": 1}, True])
def test_an_entry_of_another_type_is_named_with_its_line(tmp_path, value):
    path = tmp_path / "results.jsonl"
    report.append(path, {"name": "one", "wer": 0.5})
    report.append(path, {"name": value, "wer": 0.5})
    with pytest.raises(ValueError, match=r"results.jsonl, line 2 is damaged: 'name' is .*, str is needed"):
        report.read(path, {"name": str})
    assert len(report.read(path, {"wer": (int, float)})) == 2


def test_a_row_that_is_there_is_not_added_again(tmp_path):
    path = tmp_path / "results.jsonl"
    for row in (
        {"split": "test", "wer": 0.1, "audio_s_per_s": 5.0},
        {"split": "test", "wer": 0.1, "audio_s_per_s": 6.0},
    ):
        report.append(path, row, unless_there=True)
    report.append(path, {"split": "test", "wer": 0.2, "audio_s_per_s": 5.0}, unless_there=True)
    report.append(path, {"split": "test", "wer": 0.2, "audio_s_per_s": 5.0})
    assert [row["wer"] for row in report.read(path)] == [0.1, 0.2, 0.2]
