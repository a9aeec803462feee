"""The page of a run: what its files hold, in one file with sounds and pictures."""

import base64
import io
import json
import re
import shutil

import numpy as np
import soundfile

from jaxasr import report
from jaxasr.evaluation.run_page import write_run_page
from jaxasr.experiment import Workdir
from tests import tiny_experiments as tiny
from tests.trained_run import TEST, spoken


def test_the_page_of_a_trained_run(trained_run, tmp_path):
    """Results of both splits with intervals, best and last, speed, and the errors of the last split as they sound."""
    workdir = Workdir(shutil.copytree(trained_run.workdir, tmp_path / "run"))
    rows = [json.loads(line) for line in (workdir.path / "hypotheses.test.jsonl").read_text().splitlines()]
    for row in rows:  # whatever the model makes of them
        row |= {"hypothesis": "D", "substitutions": 1, "deletions": 0, "insertions": int(row["reference"] == TEST[0])}
    (workdir.path / "hypotheses.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = tiny.experiment().evals["test"].data.open(trained_run.data_dir)
    write_run_page(workdir, {"test": data}, report.Measurements())
    page = workdir.page.read_text()
    assert len(page) < 1_000_000
    assert "<h2>results</h2>" in page
    assert "<td>train</td><td>0.00%</td><td>0.00% to 36.94%</td>" in page
    assert re.search(r"validation/wer: best 0.00% at step \d+, last 0.00% at step 160; 2 evaluations", page)
    assert re.search(r"speed at step 160: [\d.]+ steps/s, [\d,]+ s of audio a second, \d+% padding", page)
    assert " of wall time: goodput " in page
    assert '<a href="hypotheses.train.html">errors of train</a>' in page
    sounds = re.findall(r"data:audio/flac;base64,([^\"]+)", page)
    assert len(sounds) == len(TEST)
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(sounds[0])), dtype="int16")
    np.testing.assert_allclose(samples, 32_768 * spoken(TEST[0]), atol=1.0)  # two errors: it stands first
    assert rate_hz == 16_000


def test_a_folder_without_anything_has_a_page(trained_run, tmp_path):
    data = tiny.experiment().evals["test"].data.open(trained_run.data_dir)
    write_run_page(Workdir(tmp_path), {"test": data}, report.Measurements())
    assert "<details>" in (tmp_path / "page.html").read_text()
