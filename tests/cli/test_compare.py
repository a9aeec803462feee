"""`jaxasr compare` from workdirs, patterns and files."""

import json

import pytest

from jaxasr.cli.main import main


@pytest.fixture
def runs(tmp_path):
    """Two runs of a and two of b, with hypotheses of the test split."""
    for name, wrong in (("a-0", 5), ("a-1", 6), ("b-0", 2), ("b-1", 1)):
        folder = tmp_path / name
        folder.mkdir()
        rows = [
            {"id": f"u{k}", "speaker": f"s{k % 5}", "reference": "a b", "hypothesis": "a" if k < wrong else "a b"}
            for k in range(10)
        ]
        (folder / "hypotheses.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_workdirs_by_name_and_pattern(runs, capsys):
    figures = runs / "figures.json"
    assert main(["compare", f"soft={runs}/a-*", f"hard={runs}/b-0,{runs}/b-1", "--json", str(figures)]) == 0
    assert "## hard against soft" in capsys.readouterr().out
    (found,) = json.loads(figures.read_text())
    assert found["runs"] == [2, 2]
    assert found["difference"] == pytest.approx((1.5 - 5.5) / 20)


def test_without_a_name_the_path_is_the_name(runs, capsys):
    assert main(["compare", f"{runs}/a-0", f"{runs}/b-0/hypotheses.test.jsonl"]) == 0
    assert f"## {runs}/b-0/hypotheses.test.jsonl against {runs}/a-0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{runs}/a-0"], "one system was given"),
        (["{runs}/a-0", "{runs}/c-*"], "nothing matches"),
        (["{runs}/a-0", "{runs}/c-0"], "no file of hypotheses"),
        (["{runs}/a-0", "{runs}/b-0", "--split", "dev"], "hypotheses.dev.jsonl"),
        (["{runs}/a-0", "{runs}/b-0", "--slice-by", "snr_db"], "have no field snr_db"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(runs, capsys, words, message):
    assert main(["compare", *(word.format(runs=runs) for word in words)]) == 1
    assert message in capsys.readouterr().err
