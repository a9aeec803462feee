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


def test_a_planned_run_is_predicted(table, capsys):
    """The points lie on a law, whose values at other inputs are known."""
    figures = table.with_name("law.json")
    words = ["--predict", "N=1e8,D=1000", "--predict", "D=50,N=5e6", "--resamples", "20", "--json", str(figures)]
    assert main(["fit-scaling", str(table), *words]) == 0
    printed = capsys.readouterr().out.partition("## Planned runs")[2]
    assert "| N = 1e+08, D = 1,000 |" in printed
    found = json.loads(figures.read_text())["planned"]
    for planned, (n, d) in zip(found, [(1e8, 1000.0), (5e6, 50.0)], strict=True):
        assert planned["inputs"] == {"N": n, "D": d}
        assert planned["error"] == pytest.approx(0.03 + 0.1 * (n / 1e6) ** -0.35 + 0.2 * (d / 10) ** -0.45, rel=1e-3)
        assert planned["new_run"]["low"] <= planned["error"] <= planned["new_run"]["high"]


@pytest.mark.parametrize("text", ["N", "N=", "N=x", "N=-1,D=1", "M=1,D=1", "N=1,N=2", ""])
def test_inputs_that_are_no_run(table, capsys, text):
    with pytest.raises(SystemExit):
        main(["fit-scaling", str(table), "--predict", text])
    assert "--predict" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{table}", "--predict", "N=1e8"], "--predict gives N, and the law is over N, D"),
        (["{table}", "--over", "N", "--predict", "N=1,D=1"], "--predict gives N, D, and the law is over N"),
        (["{table}", "--over", "C"], "has no 'C'"),
        (["{table}", "--hold-out-largest", "99"], "some must be left to fit"),
        (["{table}", "--hold-out-largest", "8"], "of the 1 points is 1e+06; 3 values"),
        (["{table}.gone"], "no file of points"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(table, capsys, words, message):
    assert main(["fit-scaling", *(word.format(table=table) for word in words)]) == 1
    assert message in capsys.readouterr().err
