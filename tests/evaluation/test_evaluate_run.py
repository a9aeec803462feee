"""The rows that a run ends with say what they are of, so that no two are compared that can't be."""

import json
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from jaxasr import data, decode, tree
from jaxasr.__main__ import main
from jaxasr.evaluation import check_data_ready, evaluate_run
from jaxasr.evaluation.decode_split import SearchEvaluator, compiled_search, draw_alignment, in_form_or_reason
from jaxasr.evaluation.evaluators import make_evaluator
from jaxasr.evaluation.result_fields import headline, normalized_fields, row_of
from jaxasr.experiment import RuntimeConfig, Split
from jaxasr.experiment.goodput_totals import read_goodput
from jaxasr.experiment.restore import trained_variables, variable_shapes
from jaxasr.experiment.workdir import Workdir
from tests import tiny_experiments as tiny
from tests.evaluation.test_result_fields import evaluation
from tests.trained_run import TINY, write_tones


@pytest.fixture
def copy(trained_run, tmp_path):
    """The run's folder with the same checkpoints, to write results in."""
    (tmp_path / "checkpoints").symlink_to(trained_run.workdir / "checkpoints")
    return tmp_path


def test_a_row_says_what_it_is_of(trained_run):
    experiment = tiny.experiment()
    row = json.loads((trained_run.workdir / "results.jsonl").read_text().splitlines()[0])
    assert row["experiment"] == tree.fingerprint(experiment)
    assert row["recipe"] == tree.fingerprint(replace(experiment, seed=0))
    assert (row["name"], row["checkpoint"], row["trained"], row["steps"]) == ("run", "best", 160, 160)
    assert row["normalizer"] == "upper"
    assert row["alignments"]["attention_collapsed"] == 0.0
    assert (row["step"], row["seed"], row["tokenizer"]) == (160, 0, tiny.TOKENS.digest)
    assert row["data"] == row["split_data"] == experiment.train_data.open(trained_run.data_dir).hash
    assert row["search"]["width"] == 3
    assert row["hardware"]["platform"] == "cpu"
    assert {"commit", "dirty", "python", "platform"} < row.keys()
    assert (row["outputs"], row["trained_sources"]) == (row["split"], row["jaxasr_sources"])
    assert {"wer", "cer", "ser", "mer", "cer_no_spaces"} < row["intervals"].keys()
    assert (row["words"], row["characters"], row["cut"], row["looping"]) == (11, 30, [], [])


def test_a_row_says_what_the_training_took(trained_run):
    """Parameters, hours given and read, FLOPs and device-hours, for scaling laws; errors by unit, for paired tests."""
    row = json.loads((trained_run.workdir / "results.jsonl").read_text().splitlines()[0])
    data = tiny.experiment().train_data.open(trained_run.data_dir)
    assert row["parameters"] == sum(
        leaf.size for leaf in jax.tree.leaves(variable_shapes(tiny.experiment().model)["params"])
    )
    assert row["train_hours"] == pytest.approx(data.examples.seconds.sum() / 3600, abs=1e-4)
    read_s = sum(data.plan.row(step).padding.real for step in range(160)) / data.rate_hz
    assert row["seen_hours"] == pytest.approx(read_s / 3600, abs=1e-4)
    totals = read_goodput(trained_run.workdir)[-1]
    assert row["train_flops"] == totals.flops > 0
    assert len(row["unit_errors"]) == row["units"]
    counts = [sum(column) for column in zip(*row["unit_errors"].values(), strict=True)]
    assert (counts[1], counts[3]) == (row["words"], row["characters"])
    assert counts[0] / counts[1] == pytest.approx(row["wer"], abs=1e-6)
    assert row["device_hours"] == pytest.approx(totals.total_s / 3600, abs=1e-4)  # on one device


def test_one_split_with_an_earlier_checkpoint_and_a_second_file(trained_run, copy):
    said = []
    (copy / "pretrained.json").write_text('{"init_from": "checkpoint 3 of runs/other"}')
    extension = {"after_step": 80, "changes": ["steps: 80 -> 160"]}
    (copy / "extensions.jsonl").write_text(json.dumps(extension) + "\n")
    rows = evaluate_run(
        tiny.experiment(),
        copy,
        RuntimeConfig(trained_run.data_dir),
        splits=("test",),
        checkpoint=80,
        name="tones-0",
        source=TINY,
        results=copy / "shared" / "results.jsonl",
        print_fn=said.append,
    )
    assert [(row["split"], row["step"], row["utterances"]) for row in rows] == [("test", 80, 3)]
    assert (rows[0]["name"], rows[0]["checkpoint"], rows[0]["trained"]) == ("tones-0", 80, 160)
    assert (rows[0]["init_from"], rows[0]["extended"]) == ("checkpoint 3 of runs/other", [extension])
    assert rows[0]["recipe"] != tree.fingerprint(replace(tiny.experiment(), seed=0))  # no table averages it with others
    for path in (copy / "results.jsonl", copy / "shared" / "results.jsonl"):
        assert [json.loads(line) for line in path.read_text().splitlines()] == json.loads(json.dumps(rows))
    assert said[0].startswith("test: WER ")
    outputs = rows[0]["outputs"]
    assert re.fullmatch(r"test\.[0-9a-f]{8}", outputs)  # the run itself ends with its best checkpoint
    assert said[0].endswith(f"no decoding of test as in the run itself: the names of its files have {outputs}")
    assert sorted(path.name for path in copy.glob("hypotheses.*")) == [
        f"hypotheses.{outputs}.{kind}" for kind in ("html", "jsonl", "txt")
    ]
    assert (copy / "pictures" / f"alignment.{outputs}.png").is_file()


def test_a_run_that_ended_early_has_its_own_number_of_steps(trained_run, copy):
    """A sweep and a table take a run for finished if it was trained for the steps of its row."""
    (copy / "metrics.jsonl").symlink_to(trained_run.workdir / "metrics.jsonl")
    early = replace(tiny.experiment(), steps=400, patience=1)  # its evaluations after 80 and 160 steps have 0 errors
    for experiment, steps in ((early, 160), (replace(early, patience=2), 400)):
        runtime = RuntimeConfig(trained_run.data_dir)
        (row,) = evaluate_run(experiment, copy, runtime, splits=("test",), print_fn=str)
        assert (row["trained"], row["steps"]) == (160, steps)


def test_errors_are_counted_in_further_forms(trained_run, copy):
    """The references have letters and a space; a form that a text has not is named, and no decoding is lost."""
    printed: list[str] = []
    experiment = tiny.experiment()
    forms = ("lower", "no_punctuation+lowercase", "sharp_s")
    test = replace(experiment.evals["test"], normalizers=forms)
    runtime = RuntimeConfig(trained_run.data_dir)

    def evaluated(**options):
        changed = replace(experiment, evals={"test": test})
        (row,) = evaluate_run(changed, copy, runtime, only_missing=True, print_fn=printed.append, **options)
        return row

    row = evaluated()
    assert row["normalizers"] == list(forms)
    for form in forms:
        assert {name: row["normalized"][form][name] for name in ("wer", "cer", "words")} == {
            name: row[name] for name in ("wer", "cer", "words")
        }
        assert row["normalized"][form]["intervals"]["wer"] == row["intervals"]["wer"]
    assert printed[-1].count("WER") == 4
    assert f", lower: WER {row['wer']:.2%}, no_punctuation+lowercase: WER " in printed[-1]
    evaluated()
    assert printed[-1] == "test: its row is there"
    test = replace(test, normalizers=("upper",))  # other forms are another row
    assert list(evaluated()["normalized"]) == ["upper"]


def test_a_split_is_decoded_under_recording_conditions(trained_run, copy):
    """The row of the split stays as it is, and every condition has error rates, hypotheses and a row on the page."""
    printed: list[str] = []
    runtime = RuntimeConfig(trained_run.data_dir)
    quiet, drowned, slow = conditions = (
        data.RecordingCondition(gain_db=-6.0),
        data.RecordingCondition("white noise", snr_db=-40.0),
        data.RecordingCondition(speed=0.9),
    )

    def evaluated(*conditions):
        options = {"splits": ("test",), "only_missing": True, "print_fn": printed.append}
        (row,) = evaluate_run(tiny.experiment(), copy, runtime, conditions=conditions, **options)
        return row

    plain = evaluated()
    row = evaluated(*conditions)
    assert {name: row[name] for name in ("wer", "cer", "intervals")} == {
        name: plain[name] for name in ("wer", "cer", "intervals")
    }
    assert row["outputs"] == "test"
    assert row["conditions"] == list(row["by_condition"]) == [condition.name for condition in conditions]
    assert row["by_condition"][quiet.name]["wer"] == row["wer"]
    assert row["by_condition"][drowned.name]["wer"] > 0.5
    assert row["by_condition"][slow.name]["words"] == row["words"]
    said = printed[-1].splitlines()
    assert said[0].startswith("test: WER ")
    assert [line.strip().partition("  ")[0] for line in said[1:]] == [condition.name for condition in conditions]
    for condition in conditions:
        lines = (copy / f"hypotheses.test.{condition.slug}.jsonl").read_text().splitlines()
        assert len(lines) == row["utterances"]
    assert [path.name for path in (copy / "pictures").glob("alignment.*")] == ["alignment.test.png"]
    page = (copy / "page.html").read_text()
    assert "results under recording conditions" in page
    assert drowned.name in page
    evaluated(*conditions)
    assert printed[-1] == "test: its row is there"
    assert list(evaluated(quiet)["by_condition"]) == [quiet.name]


def test_conditions_of_a_split_are_different_and_change_speech():
    test = tiny.experiment().evals["test"]
    faint = data.RecordingCondition(gain_db=-6.0)
    with pytest.raises(ValueError, match="conditions has one twice: level -6 dB; level -6 dB"):
        replace(test, conditions=(faint, faint))
    with pytest.raises(ValueError, match="change speech, and this split decodes none"):
        replace(test, search=None, conditions=(faint,))


def test_a_form_that_a_text_has_not_is_named():
    written = evaluation(["room 12", "yes"], ["room 12", "no"])
    reason = in_form_or_reason(written, "librispeech")
    assert isinstance(reason, str)
    assert "'1' in 'room 12' has no form in A-Z" in reason
    assert normalized_fields({"librispeech": reason}) == {"librispeech": {"error": reason}}
    assert headline(written, normalized={"librispeech": reason}).endswith(f"librispeech: {reason}")


def test_a_split_that_has_its_row_is_not_decoded_again(trained_run, copy):
    """As after a kill: the run has the row of one split, and the file of all runs has none."""
    lines = (trained_run.workdir / "results.jsonl").read_text().splitlines(keepends=True)
    (copy / "results.jsonl").write_text(lines[0])
    shared = copy / "shared.jsonl"
    printed: list[str] = []

    def evaluate(**options):
        evaluate_run(
            tiny.experiment(),
            copy,
            RuntimeConfig(trained_run.data_dir),
            name="run",
            source=TINY,
            results=shared,
            print_fn=printed.append,
            **options,
        )
        files = (copy / "results.jsonl", shared)
        return [[json.loads(line)["split"] for line in file.read_text().splitlines()] for file in files]

    assert evaluate(only_missing=True) == [["train", "test"], ["train", "test"]]
    assert printed[0] == "train: its row is there"
    assert printed[1].startswith("test: WER ")
    assert evaluate(only_missing=True) == [["train", "test"], ["train", "test"]]
    assert printed[2:] == ["train: its row is there", "test: its row is there"]
    (copy / "results.jsonl").write_text(lines[0].replace('"step": 160', '"step": 80'))
    assert evaluate(only_missing=True, splits=("train",))[0] == ["train", "train"]  # that of another checkpoint


def test_a_split_that_is_not_there_names_those_that_are(trained_run, copy):
    with pytest.raises(KeyError, match="no split best, dev in this experiment; it has train, test"):
        evaluate_run(tiny.experiment(), copy, RuntimeConfig(trained_run.data_dir), splits=("dev", "test", "best"))
    assert not (copy / "results.jsonl").exists()


def test_what_would_be_missing_in_the_end_is_missed_before_the_first_step(tmp_path, capsys):
    write_tones(tmp_path / "wavs")
    data = ["--data-dir", str(tmp_path / "data")]
    assert main(["prepare", "manifest", "--from", str(tmp_path / "wavs"), *data, "name=tones"]) == 0
    for given, message in (
        (["--splits", "dev,test"], "no split dev in this experiment; it has train, test"),
        (["evals.test.data.corpora.split=lost"], "has no split 'lost'"),
        (["evals.test.data.corpora.name=elsewhere"], "elsewhere"),
    ):
        assert main(["train", str(TINY), "--workdir", str(tmp_path / "run"), *data, *given]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    fused = Split(tiny.experiment().validation.data, decode.Beam(3, scorers=(decode.LmScorer("words", 0.2),)))
    with pytest.raises(ValueError, match=r"fuses a language model 'words'; given: none. Give it: --lm words=PATH"):
        check_data_ready([fused], tmp_path / "data", {})
    check_data_ready([fused], tmp_path / "data", {"words": "a.arpa"})


def test_a_judge_decodes_again_with_the_search_that_it_has(trained_run, copy):
    """Twice with other variables: the same utterances in the same order, and errors where nothing was learnt."""
    experiment, workdir = tiny.experiment(), Workdir(copy)
    judge = SearchEvaluator(experiment, "validation", experiment.validation, trained_run.data_dir)
    variables, _ = trained_variables(experiment, workdir)
    learnt = judge(variables, workdir)
    blank = judge({"params": jax.tree.map(jnp.zeros_like, variables["params"])}, workdir)
    assert (learnt.scores.wer, blank.scores.wer > 0.5) == (0.0, True)
    assert [each.id for each in learnt.utterances] == [each.id for each in blank.utterances]
    assert headline(learnt) == "WER 0.00% [0.00%, 36.94%] over 8 utterances, CER 0.00%, 8 utterances"
    row = row_of(learnt, 16_000)
    assert (row["wer"], row["audio_s_per_s"]) == (0.0, None)  # one batch of one shape: it was compiled in that time


def test_nothing_is_drawn_of_an_empty_hypothesis(trained_run, tmp_path):
    experiment = tiny.experiment()
    variables, _ = trained_variables(experiment, Workdir(trained_run.workdir))
    opened = experiment.train_data.open(trained_run.data_dir)
    with opened.eval_batches() as batches:
        batch = next(iter(batches)).batch
    found = compiled_search(experiment.model, experiment.validation.search)(variables, batch)
    options = {"rate_hz": 16_000, "path": tmp_path / "a.png", "title": "some"}
    draw_alignment(batch, replace(found, token_lengths_bw=0 * found.token_lengths_bw), opened, **options)
    assert not (tmp_path / "a.png").exists()
    draw_alignment(batch, found, opened, **options)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_checkpoints_can_be_ranked_by_the_loss(trained_run, copy):
    """The loss of a target token of the transcripts, without smoothing. Checkpoints without that score are named."""
    smoothed = replace(tiny.experiment().objective, label_smoothing=0.1)
    experiment = replace(tiny.experiment(), objective=smoothed, selection_metric="loss")
    workdir = Workdir(copy)
    variables, _ = trained_variables(tiny.experiment(), workdir)
    evaluator = make_evaluator(experiment, "validation", experiment.validation, trained_run.data_dir)
    result = evaluator(variables, workdir)
    outputs = jax.jit(lambda variables, batch: experiment.model.apply(variables, batch, step=None))
    sums = []
    with evaluator.data.eval_batches() as batches:
        for labelled in batches:
            sums.append(tiny.experiment().objective(outputs(variables, labelled.batch), labelled.batch)["loss"])
    expected = sum(float(part.value) for part in sums) / sum(float(part.weight) for part in sums)
    assert result.scores == {"wer": 0.0, "cer": 0.0, "loss": pytest.approx(expected, rel=1e-4)}
    assert f"8 utterances, loss {result.scores['loss']:.4f}" in result.line
    for chosen in ("loss", "mer"):
        with pytest.raises(ValueError, match=f"saved with the scores wer, cer, and {chosen} is to rank them"):
            trained_variables(replace(tiny.experiment(), selection_metric=chosen), workdir)
    assert trained_variables(experiment, workdir, 80)


def test_all_devices_together_decode_what_one_does(trained_run, copy):
    rows = [
        evaluate_run(
            tiny.experiment(), copy, RuntimeConfig(trained_run.data_dir, how), splits=("train",), print_fn=str
        )[0]
        for how in ("jit", "mesh")
    ]
    assert rows[0]["wer"] == rows[1]["wer"]
    assert [row["utterances"] for row in rows] == [8, 8]
