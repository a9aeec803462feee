"""The experiment of a run that has begun: what may change at once, what with --extend, and what never."""

from dataclasses import replace
from pathlib import Path

import pytest

from jaxasr import training, tree
from jaxasr.experiment import Workdir
from jaxasr.experiment.changes import read_extensions
from tests import tiny_experiments as tiny


@pytest.fixture
def begun(tmp_path: Path) -> Workdir:
    """The workdir of a run of `tiny.experiment` after 80 of its 160 steps."""
    workdir = Workdir(tmp_path / "run")
    (workdir.checkpoints / "80").mkdir(parents=True)
    workdir.keep_experiment(tiny.experiment(), print_fn=str)
    workdir.experiment.write_text(tree.render(tiny.experiment()))
    return workdir


def test_what_decides_no_number_may_change(begun):
    printed: list[str] = []
    changed = tree.override(tiny.experiment(), {"log_every": 10, "keep_last": 5, "keep_best": 2, "save_every": 40})
    begun.keep_experiment(changed, print_fn=printed.append)
    assert begun.experiment.read_text() == tree.render(changed)
    assert printed == [
        "the experiment changes: keep_best: 1 -> 2\nthe experiment changes: keep_last: 2 -> 5\n"
        "the experiment changes: log_every: 20 -> 10\nthe experiment changes: save_every: 80 -> 40"
    ]
    assert read_extensions(begun.extensions) == []


def test_a_longer_run_needs_extend_which_prints_the_rates_and_is_recorded(begun):
    printed: list[str] = []
    longer = replace(tiny.experiment(), steps=240)
    with pytest.raises(ValueError, match=r"steps: 160 -> 240\n.* or change its length with --extend\."):
        begun.keep_experiment(longer)
    begun.keep_experiment(longer, extends=True, print_fn=printed.append)
    assert printed[0].endswith(
        "from step 80 to 240; learning rate 0.0194 at step 81, 0.002 at step 160, 0.002 at step 240"
    )
    begun.keep_experiment(longer, print_fn=printed.append)  # no further change
    assert len(printed) == 1
    assert read_extensions(begun.extensions) == [{"after_step": 80, "changes": ["steps: 160 -> 240"]}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 240, "seed": 1}, r"belongs to another experiment.*:\n  seed: 0 -> 1\nResume with"),
        ({"steps": 60, "eval_every": 80}, "steps=60, and the run has 80 steps; --extend takes as many or more"),
        (
            {"steps": 240, "optimizer": training.Adam(training.WarmupCosine(20, 80, peak=2e-2), clip_norm=5.0)},
            r"the learning rate of the steps 81 to 240 is 0\. State another one with --extend",
        ),
    ],
)
def test_extend_changes_nothing_else(begun, changes, message):
    before = begun.experiment.read_text()
    with pytest.raises(ValueError, match=message):
        begun.keep_experiment(replace(tiny.experiment(), **changes), extends=True, print_fn=str)
    assert begun.experiment.read_text() == before
    assert not begun.extensions.exists()
