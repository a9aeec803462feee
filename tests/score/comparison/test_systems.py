"""Comparison of systems: against counts by hand, and with systems that cannot be compared."""

import json

import numpy as np
import pytest

from jaxasr.score import compare, compare_hypotheses
from jaxasr.score.comparison import System, as_json, as_markdown, compare_systems

REFERENCE = "one two three four"


def write(path, errors, *, speaker=lambda k: f"s{k % 6}", reference=REFERENCE, **fields):
    """Writes hypotheses with the given number of substitutions in each utterance."""
    words = reference.split()
    rows = [
        {
            "id": f"u{k}",
            "speaker": speaker(k),
            "reference": reference,
            "hypothesis": " ".join(["x"] * count + words[count:]),
            **fields,
        }
        for k, count in enumerate(errors)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def system(tmp_path, name, *runs, **options):
    return System.read(name, [write(tmp_path / f"{name}-{k}.jsonl", run, **options) for k, run in enumerate(runs)])


def test_rates_and_tests_by_hand(tmp_path):
    a = [1, 2, 0, 3, 1, 0, 2, 2]
    b = [0, 1, 0, 3, 1, 0, 2, 3]
    found = compare_systems(system(tmp_path, "a", a), system(tmp_path, "b", b))
    assert (found.rate_a, found.rate_b, found.words) == (11 / 32, 10 / 32, 32)
    assert found.difference == pytest.approx(-1 / 32)
    assert (found.blocks, found.block_count) == ("speakers", 6)
    blocks = [f"s{k % 6}" for k in range(8)]
    assert found.bootstrap == compare(a, b, [4] * 8, blocks=blocks)
    assert found.mcnemar == 1.0  # one utterance is right in b only
    assert found.randomisation == 1.0  # s0 and s1: -1 and 0 more, others 0
    assert found.words_changed == {"one": -1, "three": 1, "two": -1}


def test_few_or_unknown_speakers_are_resampled_by_utterance(tmp_path):
    for number, speaker in enumerate((lambda k: "", lambda k: f"s{k % 3}")):
        folder = tmp_path / str(number)
        folder.mkdir()
        a, b = (system(folder, name, run, speaker=speaker) for name, run in (("a", [1, 2, 0, 1]), ("b", [0, 2, 0, 0])))
        found = compare_systems(a, b)
        assert (found.blocks, found.block_count) == ("utterances", 4)
        assert found.interval.low < found.difference < found.interval.high


def test_the_order_of_the_lines_does_not_matter(tmp_path):
    a = write(tmp_path / "a.jsonl", [1, 2, 0])
    b = write(tmp_path / "b.jsonl", [0, 0, 2])
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_text("".join(f"{line}\n" for line in reversed(b.read_text().splitlines())))
    first, second = (as_json([compare_hypotheses(a, other)])[0] for other in (b, shuffled))
    assert {**first, "system": ""} == {**second, "system": ""}


def test_runs_of_a_recipe_are_averaged(tmp_path):
    a = system(tmp_path, "a", [1, 2, 0, 3, 1, 0], [2, 1, 0, 3, 1, 1])
    b = system(tmp_path, "b", [0, 1, 0, 2, 1, 0], [1, 0, 0, 2, 1, 0], [1, 1, 0, 2, 0, 0])
    found = compare_systems(a, b)
    assert found.runs == (2, 3)
    assert found.difference == pytest.approx((4 + 4 + 4) / 3 / 24 - (7 + 8) / 2 / 24)
    assert (found.mapsswe, found.mcnemar, found.words_changed) == (None, None, {})


def test_slices_hold_every_utterance_once_and_their_own_rates(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"id": f"u{k}", "speaker": f"s{k % 2}", "reference": "a " * (k + 1), "hypothesis": "a " * k, "snr_db": k % 3}
        for k in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = compare_systems(System.read("a", [path]), System.read("b", [path]), slice_by=["snr_db"])
    assert sum(part.utterances for part in found.slices) == 3 * 12
    by_name = {part.name: part for part in found.slices}
    assert by_name["0 to 4 words"].rate_a == pytest.approx(4 / 10)
    assert by_name["snr_db 1"].utterances == 4
    assert by_name["speaker s1"].rate_b == pytest.approx(6 / 42)


def test_the_report_holds_every_system_and_its_correction(tmp_path):
    rng = np.random.default_rng(0)
    hard = rng.integers(1, 4, size=40).tolist()
    systems = [
        system(tmp_path, name, [max(0, errors - less) for errors in hard])
        for name, less in (("a", 0), ("b", 1), ("c", 0))
    ]
    found = [compare_systems(systems[0], other) for other in systems[1:]]
    text = as_markdown(found)
    assert "## b against a" in text
    assert "## c against a" in text
    assert "each has one run" in text
    figures = as_json(found)
    assert figures[0]["p_holm"] == pytest.approx(2 * figures[0]["p_value"])
    assert figures[1]["p_holm"] == 1.0
    json.dumps(figures, allow_nan=False)


def test_a_missing_field_is_named(tmp_path):
    a = system(tmp_path, "a", [1, 0], snr_db=3)
    with pytest.raises(ValueError, match="2 lines, such as u0, have no field noise; there are: snr_db"):
        compare_systems(a, a, slice_by=["noise"])


def test_one_utterance_is_no_sample(tmp_path):
    a = system(tmp_path, "a", [1])
    with pytest.raises(ValueError, match="1 utterances with 4 words; two"):
        compare_systems(a, a)
