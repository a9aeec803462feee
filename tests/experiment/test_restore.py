"""The variables that a run is decoded with: of the right checkpoint, and of no other model or vocabulary."""

from dataclasses import replace

import numpy as np
import pytest

from jaxasr import nn, tree
from jaxasr.experiment import Workdir
from jaxasr.experiment.restore import trained_variables
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.run.initial_state import init_feature_statistics, initial_state
from jaxasr.run.loop import train
from tests import tiny_experiments as tiny
from tests.trained_run import saved_state


@pytest.fixture
def experiment():
    return tiny.experiment()


@pytest.fixture
def workdir(trained_run):
    return Workdir(trained_run.workdir)


def readout(variables):
    return np.asarray(variables["params"]["decoder"]["readout"]["kernel"])


def test_the_average_is_decoded_with_where_there_is_one(experiment, workdir):
    saved = saved_state(workdir.path, 160)
    average, last = (saved[f"train/{name}/decoder/readout/kernel"] for name in ("ema_params", "params"))
    assert not np.array_equal(average, last)
    for which in ("best", "last", 160):
        variables, metadata = trained_variables(experiment, workdir, which)
        np.testing.assert_array_equal(readout(variables), average)
    assert metadata.fingerprint == tree.fingerprint(experiment)


def test_a_step_and_the_mean_of_all_that_are_kept(experiment, workdir):
    early, late = (saved_state(workdir.path, step)["train/ema_params/decoder/readout/kernel"] for step in (80, 160))
    np.testing.assert_array_equal(readout(trained_variables(experiment, workdir, 80)[0]), early)
    mean = readout(trained_variables(experiment, workdir, "mean")[0])
    np.testing.assert_allclose(mean, (early.astype(np.float64) + late) / 2, rtol=1e-6)


def test_another_vocabulary_of_the_same_size_is_refused(workdir):
    with pytest.raises(
        ValueError, match=r"trained with the vocabulary dab9ff92, the experiment has [0-9a-f]{8}: what its"
    ):
        trained_variables(tiny.other_vocabulary(), workdir)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.encoder.width": 8}, "model.encoder.width: 16 -> 8"),
        ({"model.frontend.hop_ms": 10.0}, "model.frontend.hop_ms: 20.0 -> 10.0"),  # the tree of parameters is the same
    ],
)
def test_another_model_is_refused_line_by_line(experiment, workdir, changes, message):
    with pytest.raises(ValueError, match="another model") as caught:
        trained_variables(tree.override(experiment, changes), workdir)
    assert message in str(caught.value)


def test_what_does_not_touch_the_model_may_differ(experiment, workdir):
    changed = tree.override(
        experiment, {"steps": 9, "optimizer.clip_norm": 1.0, "validation.search.max_tokens.extra": 9}
    )
    variables, _ = trained_variables(changed, workdir)
    assert readout(variables).shape == (32 + 16, 6)


def test_a_frontend_may_pad_in_inference_to_another_duration(experiment, workdir):
    variables, _ = trained_variables(tree.override(experiment, {"model.frontend.pad_s": 2.0}), workdir)
    np.testing.assert_array_equal(readout(variables), readout(trained_variables(experiment, workdir)[0]))


@pytest.mark.parametrize(
    "changes",
    [
        {"augment": nn.SpecAugment(freq_bins=3)},
        {"noise": nn.AddNoise(share=0.5, low_db=0.0, high_db=10.0)},
        {"augment": None},
    ],
)
def test_augmentation_which_evaluation_does_not_read_may_differ(experiment, workdir, changes):
    """A recipe for fine-tuning decodes the run that it begins with."""
    changed = replace(experiment, model=experiment.model.clone(**changes))
    variables, _ = trained_variables(changed, workdir)
    np.testing.assert_array_equal(readout(variables), readout(trained_variables(experiment, workdir)[0]))


def test_a_folder_that_is_no_run_says_so(experiment, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*checkpoints to read checkpoints from; is this a run's"):
        trained_variables(experiment, Workdir(tmp_path))
    with pytest.raises(FileNotFoundError, match="no folder"):
        trained_variables(experiment, Workdir(tmp_path), "mean")


def test_a_run_without_an_average_saves_statistics_and_its_last_parameters(trained_run, tmp_path):
    """The statistics are computed once. A checkpoint without them would be worthless: they decide the values of a frame."""
    restless = tree.override(tiny.restless(), {"steps": 2, "ema_decay": 0.0})
    opened = restless.train_data.open(trained_run.data_dir)
    expected = init_feature_statistics(initial_state(restless, opened), restless, opened).statistics["statistics"][
        "frontend"
    ]
    train(restless, tmp_path, RuntimeConfig(trained_run.data_dir), print_fn=lambda _: None)
    variables, _ = trained_variables(restless, Workdir(tmp_path))
    saved = saved_state(tmp_path, 2)
    assert not [path for path in saved if "ema_params" in path]
    np.testing.assert_array_equal(readout(variables), saved["train/params/decoder/readout/kernel"])
    for name in ("mean", "deviation"):
        np.testing.assert_array_equal(variables["statistics"]["frontend"][name], expected[name])
        assert np.ptp(expected[name]) > 0.1
