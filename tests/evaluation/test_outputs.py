"""The files of a decoding have a name that no other decoding of the run takes."""

import json
import re
from dataclasses import replace

import pytest

from jaxasr import decode, tree
from jaxasr.evaluation.outputs import decoding_changes, is_own, output_name, set_aside
from jaxasr.experiment import Split
from tests import tiny_experiments as tiny

OWN = tree.render(tiny.experiment())
LMS = {"words": "0123abcd"}


def row_of(experiment, split="test", **changes):
    row = {"split": split, "search": tree.flatten(experiment.evals[split].search), "lms": {}, "checkpoint": "best"}
    return row | {"split_data": "d", "normalizer": "upper"} | changes


def name_of(experiment=None, *earlier, split="test", **changes):
    """The name of the files, and the row that the evaluation leaves."""
    experiment = experiment or tiny.experiment()
    row = row_of(experiment, split, **changes)
    outputs = output_name(OWN, experiment, row, earlier)
    return outputs, json.loads(json.dumps(row | {"outputs": outputs}))


def with_search(search, split="test"):
    plain = tiny.experiment()
    return replace(plain, evals={**plain.evals, split: Split(plain.evals["test"].data, search)})


def test_the_name_of_the_split_belongs_to_the_decoding_that_ends_the_training():
    """Another search, checkpoint, language model, data or ranking has a digest, and the same one has the same digest."""
    own, first = name_of()
    wide = with_search(decode.Beam(5))
    others = {
        "search": name_of(wide, first),
        "one field": name_of(tree.override(wide, {"evals.test.search.length_norm": 0.5}), first),
        "checkpoint": name_of(None, first, checkpoint="last"),
        "step": name_of(None, first, checkpoint=80),
        "language model": name_of(None, first, lms=LMS),
        "data": name_of(None, first, split_data="e"),
    }
    names = {why: name for why, (name, _) in others.items()}
    assert own == "test"
    assert len({own, *names.values()}) == len(names) + 1, names
    assert all(re.fullmatch(r"test\.[0-9a-f]{8}", name) for name in names.values()), names
    rows = [first, *(row for _, row in others.values())]
    assert name_of(None, *rows)[0] == "test"
    assert name_of(wide, *rows)[0] == names["search"]
    assert [is_own(row) for row in rows] == [True] + [False] * len(others)
    assert name_of(tree.override(tiny.experiment(), {"selection_metric": "cer"}), first)[0] != "test"


def test_what_changes_no_hypothesis_changes_no_name():
    changed = tree.override(
        tiny.experiment(), {"validation.search.max_tokens.extra": "3", "evals.train.search.width": "4"}
    )
    assert name_of(changed)[0] == "test"
    assert decoding_changes(OWN, changed, "train", "best") == ["evals.train.search.width: 3 -> 4"]
    assert name_of(changed, split="train")[0] != "train"
    older = "\n".join(line for line in OWN.splitlines() if "evals.test.search.max_tokens.extra" not in line)
    row = row_of(tiny.experiment())
    assert output_name(older, tiny.experiment(), row, []) == "test"  # a field that is newer than the run


def test_a_split_that_the_run_does_not_have_belongs_to_the_first_decoding():
    """As of experiments/an4/searches.py, whose splits are searches."""
    beam, wide = with_search(decode.Beam(5), "test-beam"), with_search(decode.Beam(9), "test-beam")
    name, first = name_of(beam, split="test-beam")
    assert name == "test-beam"
    assert name_of(beam, first, split="test-beam")[0] == "test-beam"
    other, second = name_of(wide, first, split="test-beam")
    assert other != "test-beam"
    assert name_of(beam, first, second, split="test-beam")[0] == "test-beam"
    assert name_of(wide, first, second, split="test-beam")[0] == other
    del first["outputs"]  # of an older version
    assert name_of(wide, first, split="test-beam")[0] == other


@pytest.mark.parametrize(
    "there", ['{"split": "dev", "wer": 0.2}', "no JSON", "[1]", '{"split": "test", "search": {"width": 3}}']
)
def test_a_result_of_other_settings_is_kept(tmp_path, there):
    file, page = tmp_path / "tuned.json", tmp_path / "hypotheses.dev.tuned.html"
    about = {"split": "test", "search": {"width": (4, 8)}}
    assert set_aside(file, about, [page]) == ""
    file.write_text(there)
    page.write_text("page")
    line = set_aside(file, about, [page, tmp_path / "absent.png"])
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert [re.sub(r"\.[0-9a-f]{8}\.", ".*.", name) for name in kept] == ["hypotheses.dev.tuned.*.html", "tuned.*.json"]
    assert line.endswith(f"it is kept as {kept[1]}")
    assert (tmp_path / kept[1]).read_text() == there
    file.write_text(json.dumps(about | {"wer": 0.1}))
    assert set_aside(file, about, [page]) == ""
    assert file.is_file()
