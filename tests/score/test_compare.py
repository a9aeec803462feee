"""Comparison of hypothesis files: against counts by hand, and with files that cannot be compared."""

import json

import pytest

from jaxasr.score import compare, compare_hypotheses


def write(path, errors, *, words=4, speaker=lambda k: f"s{k % 3}", reference=lambda k: f"r {k}"):
    """A file of hypotheses with so many substitutions an utterance."""
    rows = [
        {
            "id": f"u{k}",
            "speaker": speaker(k),
            "reference": reference(k),
            "substitutions": count,
            "deletions": 0,
            "insertions": 1,
            "words": words,
        }
        for k, count in enumerate(errors)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_difference_is_that_of_the_rates(tmp_path):
    a = write(tmp_path / "a.jsonl", [1, 2, 0, 3, 1, 0])
    b = write(tmp_path / "b.jsonl", [0, 1, 0, 3, 1, 0])
    found = compare_hypotheses(a, b)
    assert found.difference == pytest.approx(-2 / 24)
    blocks = ["s0", "s1", "s2", "s0", "s1", "s2"]
    assert found == compare([2, 3, 1, 4, 2, 1], [1, 2, 1, 4, 2, 1], [4] * 6, blocks=blocks)


def test_the_order_of_the_lines_does_not_matter(tmp_path):
    a = write(tmp_path / "a.jsonl", [1, 2, 0])
    b = write(tmp_path / "b.jsonl", [0, 0, 2])
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_text("".join(f"{line}\n" for line in reversed(b.read_text().splitlines())))
    assert compare_hypotheses(a, shuffled) == compare_hypotheses(a, b)


def test_one_speaker_is_resampled_by_utterance(tmp_path):
    a = write(tmp_path / "a.jsonl", [1, 2, 0, 1], speaker=lambda k: "")
    b = write(tmp_path / "b.jsonl", [0, 2, 0, 0], speaker=lambda k: "")
    found = compare_hypotheses(a, b)
    assert found.interval.low < found.difference < found.interval.high


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: write(path, [1, 2]), r"different utterances: 1 are in one only, such as \['u2'\]"),
        (lambda path: write(path, [1, 2, 0], reference=lambda k: "other"), "different references of 3 utterances"),
        (lambda path: path.write_text('{"id": "u0"}\n'), "line 1 is no line of hypotheses"),
        (lambda path: path.write_text("[1]\n"), "line 1 is no line of hypotheses"),
        (lambda path: path.write_text(""), "holds no hypotheses"),
    ],
)
def test_files_that_cannot_be_compared(tmp_path, change, message):
    change(tmp_path / "b.jsonl")
    with pytest.raises(ValueError, match=message):
        compare_hypotheses(write(tmp_path / "a.jsonl", [1, 2, 0]), tmp_path / "b.jsonl")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of hypotheses"):
        compare_hypotheses(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
