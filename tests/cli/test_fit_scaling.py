"""`jaxasr fit-scaling` from tables and rows of results."""

import json

import pytest

from jaxasr.cli.main import main

SIZES = (1e6, 3e6, 1e7, 3e7)
HOURS = (10.0, 30.0, 100.0, 300.0)


@pytest.fixture
def table(tmp_path):
    rows = [f"{n:g},{d:g},{0.03 + 0.1 * (n / 1e6) ** -0.35 + 0.2 * (d / 10) ** -0.45}" for n in SIZES for d in HOURS]
    path = tmp_path / "points.csv"
    path.write_text("\n".join(["N,D,loss", *rows]) + "\n")
    return path


def test_a_law_of_a_table(table, capsys):
    figures = table.with_name("law.json")
    picture = table.with_name("law.png")
    words = ["--hold-out-largest", "1", "--resamples", "20", "--json", figures, "--picture", picture]
    assert main(["fit-scaling", str(table), *map(str, words)]) == 0
    printed = capsys.readouterr().out
    assert "C is in parameter-hours" in printed
    assert "| 300" not in printed.partition("## Held out")[0]
    found = json.loads(figures.read_text())
    assert found["figures"]["exponent of N"] == pytest.approx(0.35, abs=1e-3)
    assert found["held_out"][0]["error"] == pytest.approx(found["held_out"][0]["point"]["error"], rel=1e-3)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_given_unit_and_given_computes(table, capsys):
    words = ["--flops-per-parameter-hour", "2e6", "--compute", "1e15,1e16", "--resamples", "20"]
    assert main(["fit-scaling", str(table), *words]) == 0
    printed = capsys.readouterr().out
    assert "C = 2e+06 FLOPs x N x D" in printed
    assert printed.count("\n| 1.0e+1") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{table}", "--over", "C"], "has no 'C'"),
        (["{table}", "--hold-out-largest", "99"], "some must be left to fit"),
        (["{table}", "--hold-out-largest", "8"], "of the 1 points is 1e+06; 3 values"),
        (["{table}.gone"], "no file of points"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(table, capsys, words, message):
    assert main(["fit-scaling", *(word.format(table=table) for word in words)]) == 1
    assert message in capsys.readouterr().err
