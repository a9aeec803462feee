"""A table shows what was published with its certainty, ours with its own, and puts nothing side by side that can't be."""

import pytest

from jaxasr import report, score
from jaxasr.__main__ import main
from jaxasr.score import comparison
from jaxasr.sweep import table

FILE = '''"""Table 1 of Somebody 2020: WER on test.

More of it.
"""
from jaxasr.report import Cell, Column, Row

COLUMNS = (Column("test"), Column("noisy", split="test", metric="cer", other_data="their own data"))
ROWS = (
    Row("plain", "plain-*", {"test": Cell("10.0", "C2"), "noisy": Cell("19.0", "C")}),
    Row("better", ("better-0", "best-?"), {"test": Cell("8.0", "M"), "noisy": None}),
    Row("never", "never-*", {"test": Cell("7.5", "D")}),
)
'''


class Bench:
    def __init__(self, folder):
        self.file = folder / "table_1.py"
        self.results = folder / "results.jsonl"
        self.file.write_text(FILE)

    def add(self, name, wer, seed=0, **changes):
        row = {"name": name, "split": "test", "wer": wer, "cer": wer / 2, "seed": seed, "experiment": f"{name}-{seed}"}
        row |= {"intervals": {"wer": [wer - 0.02, wer + 0.03], "cer": [0.0, wer]}, "recipe": name[:3], "data": "d"}
        row |= {"tokenizer": "t", "split_data": "s", "normalizer": "upper", "words": 700, "checkpoint": "best"}
        row |= {"search": {"width": 4}, "commit": "abcdef1234", "dirty": False, "trained": 20, "steps": 20}
        report.append(self.results, row | changes)

    def lines(self):
        """The first words of each cell, line by line."""
        text = table(self.file)
        assert self.file.with_suffix(".md").read_text() == text + "\n"
        return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_run_without_the_columns_score_is_named(bench):
    bench.add("plain-0", 0.1, intervals={"perplexity": [8.0, 9.0]})
    rows = [{k: v for k, v in row.items() if k != "wer"} for row in report.read(bench.results)]
    bench.results.unlink()
    report.append(bench.results, {"name": "plain-1"})  # something else that was written there
    report.append(bench.results, rows[0])
    with pytest.raises(
        ValueError, match="row 'plain': run plain-0 has no wer on test, but perplexity; give the column"
    ):
        table(bench.file)


def test_a_rate_over_no_words_is_no_score(bench):
    """None in a row: infinite. A single bound may be so as well."""
    bench.add("plain-0", 0.1, intervals={"wer": [0.05, None], "cer": [0.0, 0.1]})
    assert bench.lines()[6][2:5] == ["10.00", "one seed", "[5.00, inf] u*"]
    nothing_said = {"name": "plain-1", "wer": None, "intervals": {"wer": [0.0, None], "cer": [0.0, 0.1]}}
    report.append(bench.results, report.read(bench.results)[0] | nothing_said)
    with pytest.raises(ValueError, match="row 'plain': run plain-1 has no wer on test, but cer; give the column"):
        table(bench.file)


def test_without_runs_every_row_says_so(bench):
    lines = bench.lines()
    assert lines[0] == ["# Table 1 of Somebody 2020: WER on test."]
    assert lines[2] == ["## test, WER"]
    assert [line[:3] for line in lines[6:9]] == [
        ["plain", "10.0 [C2]", "not run"],
        ["better", "unconfirmed (8.0?)", "not run"],
        ["never", "7.5 [D]", "not run"],
    ]
    text = table(bench.file)
    assert "[M] from memory, not confirmed" in text
    assert "## noisy, CER, ours on test (published: their own data)" in text


def test_ours_is_the_mean_over_seeds_with_both_intervals(bench):
    for seed, wer in enumerate((0.10, 0.11, 0.135)):
        bench.add(f"plain-{seed}", wer, seed, dirty=seed == 2)
    bench.add("best-1", 0.08)
    plain, better, never = bench.lines()[6:9]
    seeds = score.mean_interval([10.0, 11.0, 13.5])
    assert plain[2:] == [
        "11.50",
        f"[{seeds.low:.2f}, {seeds.high:.2f}]",
        "[9.50, 14.50] u*",
        "3",
        "+1.50",
        "consistent",
        "abcdef1, abcdef1+",
    ]
    assert better[2:] == ["8.00", "one seed", "[6.00, 11.00] u*", "1", "", "unconfirmed", "abcdef1"]
    assert never[2:] == ["not run", "", "", "0", "", "not run"]


def test_intervals_say_what_they_rest_on(bench):
    bench.add("plain-0", 0.1, interval_method="jackknife-t", intervals_over="speakers", units=10)
    bench.add("best-0", 0.1, interval_method="jackknife-t", intervals_over="utterances", units=130)
    assert [line[4] for line in bench.lines()[6:8]] == ["[8.00, 13.00] s", "[8.00, 13.00] u"]
    bench.add("plain-1", 0.1, 1)
    assert bench.lines()[6][4] == "[8.00, 13.00] s, u*"


def test_rows_of_several_searches_of_one_run_are_named(bench):
    """An evaluation with another search does not replace the row of the run, and the table says that it is there."""
    bench.add("plain-0", 0.1, outputs="test")
    bench.add("plain-0", 0.05, outputs="test.0123abcd", search={"width": 20}, experiment="other")
    assert bench.lines()[6][2] == "10.00"
    text = table(bench.file)
    assert "plain-0 has rows of 2 searches or checkpoints on test (test, test.0123abcd): shown is" in text
    bench.results.unlink()
    bench.add("plain-0", 0.1)
    bench.add("plain-0", 0.1)
    assert "searches" not in table(bench.file)


def test_nothing_is_subtracted_from_figures_of_other_data(bench):
    bench.add("plain-0", 0.10)
    assert bench.lines()[14][:7] == ["plain", "19.0 [C]", "5.00", "one seed", "[0.00, 10.00] u*", "1", "other data"]


def test_the_last_result_of_a_run_counts_and_equal_runs_count_once(bench):
    bench.add("plain-0", 0.5)
    bench.add("plain-0", 0.1)
    bench.add("plain-x", 0.1, experiment="plain-0-0", same_as="plain-0")
    assert bench.lines()[6][2:6] == ["10.00", "one seed", "[8.00, 13.00] u*", "1"]


def test_an_option_that_is_off_is_no_difference_from_one_that_was_not_there_yet(bench):
    bench.add("plain-0", 0.1)
    bench.add("plain-1", 0.1, 1, search={"width": 4, "merge": None})
    assert bench.lines()[6][5] == "2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init_from": "checkpoint 3 of runs/x"}, "differ in more than their seed: init_from absent and given"),
        ({"recipe": "other"}, "differ in more than their seed: recipe pla and other"),
        ({"split_data": "half"}, "split_data s and half"),
        ({"normalizer": "lower"}, "normalizer upper and lower"),
        ({"search": {"width": 8, "lm": 0.3}}, "search.width 4 and 8, search.lm None and 0.3"),
        ({"checkpoint": "mean"}, "checkpoint best and mean"),
        ({"lms": {"words": "0123abcd"}}, "language model words 4567cdef and 0123abcd"),
        ({"trained": 10}, "row 'plain': run plain-1 was evaluated on test after 10 of 20 steps"),
    ],
)
def test_runs_that_are_no_seeds_of_one_recipe_are_refused(bench, change, message):
    lms = {"lms": {"words": "4567cdef"}} if "lms" in change else {}
    bench.add("plain-0", 0.1, **lms)
    bench.add("plain-1", 0.1, 1, **change)
    with pytest.raises(ValueError, match=message):
        table(bench.file)


def test_rows_that_cannot_be_compared_stand_apart(bench):
    bench.add("plain-0", 0.1)
    bench.add("never-0", 0.1)
    bench.add("better-0", 0.1, search={"width": 4, "lm": 0.3}, words=650)
    lines = bench.lines()
    assert [line[0] for line in lines[6:8]] == ["plain", "never"]
    assert lines[9] == ["Not comparable with the rows above: words 650 (above 700), search.lm 0.3 (above absent)."]
    assert [line[0] for line in lines[11:14]] == ["row", "-" * 6, "better"]


def test_what_is_no_table_is_refused(bench, capsys):
    bench.file.write_text("ROWS = ()\n")
    assert main(["table", str(bench.file)]) == 1
    assert "is no table file: it needs COLUMNS = (report.Column(...), ...)" in capsys.readouterr().err
    bench.file.write_text(FILE.replace('"test": Cell("7.5"', '"tset": Cell("7.5"'))
    with pytest.raises(ValueError, match=r"row 'never' has figures of \['tset'\]; the columns are \['test', 'noisy'\]"):
        table(bench.file)
    with pytest.raises((ValueError, TypeError), match=r"the mark is one of C, C2, D, M|Expected type"):
        report.Cell("1.0", "X")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="a figure in percent is needed"):
        report.Cell("about 6", "C")


def test_the_command_prints_what_it_writes(bench, capsys):
    bench.add("plain-0", 0.1)
    other = bench.results.rename(bench.results.with_name("elsewhere.jsonl"))
    assert main(["table", str(bench.file), "--results", str(other)]) == 0
    assert capsys.readouterr().out == bench.file.with_suffix(".md").read_text()
    assert "| plain " in bench.file.with_suffix(".md").read_text()


def test_a_note_on_runs_stands_at_their_row_and_below_the_table(bench):
    bench.add("plain-0", 0.1, note="Trained with a fault.")
    bench.add("plain-1", 0.1, seed=1)
    bench.add("better-0", 0.1)
    lines = bench.lines()
    assert [line[0] for line in lines[6:9]] == ["plain (see note)", "better", "never"]
    assert lines[-1] == ["* plain (plain-0): Trained with a fault."]


@pytest.mark.parametrize(
    ("rates", "half", "expected"),
    [
        ((0.099, 0.100, 0.101), 0.005, "reproduced"),
        ((0.099, 0.101), 0.005, "consistent"),  # two seeds
        ((0.100,), 0.005, "consistent"),  # one
        ((0.099, 0.100, 0.101), 0.02, "consistent"),  # too wide
        ((0.119, 0.120, 0.121), 0.005, "different: worse"),
        ((0.079, 0.080, 0.081), 0.005, "different: better"),
        ((0.090, 0.106, 0.110), 0.0, "consistent"),  # no interval over the test set, and a wide one over seeds
    ],
)
def test_a_published_figure_gets_a_verdict(bench, rates, half, expected):
    """The figure is 10.0 %; the interval adds up seeds and test set in squares."""
    for seed, rate in enumerate(rates):
        bench.add(f"plain-{seed}", rate, seed, intervals={"wer": [rate - half, rate + half], "cer": [0.0, 0.1]})
    assert bench.lines()[6][7] == expected
    assert bench.lines()[14][7] == "other data"


BASELINE = '''"""A table with a baseline, and a proxy."""
from jaxasr.report import Cell, Column, Row

COLUMNS = (Column("test"), Column("small", split="dev", proxy="AN4", proxy_of="test"))
ROWS = (
    Row("plain", "plain-*", {"test": Cell("10.0", "C")}, baseline=True, proxy_runs="plain-*"),
    Row("better", "better-*", {"test": Cell("8.0", "C")}, proxy_runs="better-*"),
    Row("worse", "worse-*", {"test": Cell("8.5", "C")}, proxy_runs="worse-*"),
    Row("apart", "apart-*", {"test": Cell("9.0", "C")}, proxy_runs=()),
)
'''
UNITS = {f"speaker {k}": [k % 4, 100, 10 + k % 3, 400] for k in range(12)}


def cells(text, section):
    """The cells of a section's first table, by the label of the row and the name of the column."""
    lines = text.partition(f"## {section}")[2].partition("\n## ")[0].splitlines()
    header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|"))
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def more_errors(change):
    return {unit: [errors + change(k), words, *rest] for k, (unit, (errors, words, *rest)) in enumerate(UNITS.items())}


@pytest.fixture
def compared(bench):
    bench.file.write_text(BASELINE)
    for split in ("test", "dev"):
        for seed in (0, 1):
            for name, units in (
                ("plain", UNITS),
                ("better", more_errors(lambda k: -(k % 2))),
                ("worse", more_errors(lambda k: 5 + k % 2)),
            ):
                wer = sum(unit[0] for unit in units.values()) / 1_200
                bench.add(
                    f"{name}-{seed}", wer, seed, split=split, unit_errors=units, device_hours=0.25, interval_method="j",
                    intervals_over="speakers",
                )  # fmt: skip
    return bench


def test_rows_are_compared_with_the_baseline_by_unit(compared):
    """The interval and the corrected p are those of the paired t test over the speakers."""
    found = cells(table(compared.file), "test, WER")
    errors = [[unit[0] for unit in units.values()] for units in (UNITS, more_errors(lambda k: 5 + k % 2))]
    expected = comparison.t_test([errors[0]] * 2, [errors[1]] * 2, [100] * 12, range(12))
    assert found["plain"]["to the baseline"] == "baseline"
    assert found["worse"]["to the baseline"] == f"{100 * expected.difference:+.2f}" == "+5.50"
    assert found["worse"]["95 % of it"] == f"[{100 * expected.interval.low:+.2f}, {100 * expected.interval.high:+.2f}]"
    better = comparison.t_test([[unit[0] for unit in UNITS.values()]], [[a - k % 2 for k, (a, *_) in enumerate(UNITS.values())]], [100] * 12, range(12))  # fmt: skip  # noqa: E501
    assert found["better"]["p (Holm)"] == f"{comparison.holm([better.p_value, expected.p_value])[0]:.3f}"
    assert found["better"]["device-hours"] == "0.5"
    assert found["apart"]["to the baseline"] == ""


def test_without_errors_by_unit_seeds_decide(compared):
    rows = report.read(compared.results)
    compared.results.unlink()
    for place, row in enumerate(rows):
        rate = row["wer"] + 0.001 * (place % 2)
        report.append(compared.results, row | {"unit_errors": None, "wer": rate})
    found = cells(table(compared.file), "test, WER")
    assert found["worse"]["95 % of it"].endswith("] x")


def test_rows_of_other_units_are_not_paired(compared):
    rows = report.read(compared.results)
    compared.results.unlink()
    for row in rows:
        if row["seed"] == 0:
            changed = {"unit_errors": {"speaker 0": [1, 100, 1, 400]}} if row["name"] == "worse-0" else {}
            report.append(compared.results, row | changed)
    found = cells(table(compared.file), "test, WER")
    assert (found["worse"]["to the baseline"], found["worse"]["p (Holm)"]) == ("", "")  # one seed, and other units
    assert found["better"]["to the baseline"] == "-0.50"


def test_a_proxy_is_named_so_and_its_order_is_compared(compared):
    text = table(compared.file)
    found = cells(text, "small: proxy on AN4, dev, WER, in place of test")
    assert found["better"]["proxy on AN4 %"] == "1.00"
    assert found["better"]["published test %"] == "8.0 [C]"
    assert (found["better"]["order"], found["worse"]["order"]) == ("as published", "opposite")
    assert found["apart"]["proxy on AN4 %"] == "not run"
    assert not {"verdict", "difference"} & found["better"].keys()
    assert "* Proxy: a smaller corpus in place of the published one." in text


def test_an_order_that_the_proxy_cannot_show_is_open(compared):
    compared.results.unlink()
    for name, change in (("plain", lambda k: 0), ("better", lambda k: k % 3 - 1)):
        compared.add(f"{name}-0", 0.1, split="dev", unit_errors=more_errors(change))
    assert cells(table(compared.file), "small: proxy")["better"]["order"] in ("open", "")


def test_latex_and_html_have_the_same_cells(compared, capsys):
    assert main(["table", str(compared.file), "--latex", "--html"]) == 0
    latex = compared.file.with_suffix(".tex").read_text()
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 2
    assert r"\caption{small: proxy on AN4, dev, WER, in place of test.}" in latex
    assert r"proxy on AN4 \%" in latex
    page = compared.file.with_suffix(".html").read_text()
    assert page.count("<table>") == 2
    assert '<section class="proxy">' in page
    rows = capsys.readouterr().out.count("\n| ")
    assert page.count("<tr>") == rows - 2  # the rules of Markdown
    assert latex.count(r" \\") == rows - 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("proxy_runs=()", "baseline=True", r"the rows \['plain', 'apart'\] are baselines; one at most"),
        ('proxy_of="test"', 'proxy_of="tset"', "is a proxy of 'tset'; the columns are"),
        ('proxy="AN4", ', "", "name the corpus of the proxy"),
    ],
)
def test_baselines_and_proxies_are_checked(bench, old, new, message):
    bench.file.write_text(BASELINE.replace(old, new))
    with pytest.raises(ValueError, match=message):
        table(bench.file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intervals": {}}, "run plain-0 on test has no interval of wer"),
        ({"intervals": {"wer": [0.1], "cer": [0.0, 0.1]}}, "has no interval of wer"),
        ({"intervals": {"wer": ["a", "b"]}}, "has no interval of wer"),
        ({"search": [1]}, r"results.jsonl, line 1 is damaged: 'search' is '\[1\]', dict is needed"),
        ({"wer": "low"}, "line 1 is damaged: 'wer' is 'low'"),
        ({"wer": 10**400}, "line 1 is damaged: 'wer' is '1000"),
    ],
)
def test_a_damaged_row_is_named(bench, changes, message):
    bench.add("plain-0", 0.1)
    (row,) = report.read(bench.results)
    bench.results.unlink()
    report.append(bench.results, row | changes)
    with pytest.raises(ValueError, match=message):
        table(bench.file)


@pytest.mark.parametrize("entry", ["search", "commit", "dirty"])
def test_a_row_without_an_entry_of_every_table_is_named(bench, entry):
    bench.add("plain-0", 0.1)
    (row,) = report.read(bench.results)
    bench.results.unlink()
    report.append(bench.results, {name: value for name, value in row.items() if name != entry})
    with pytest.raises(ValueError, match=f"row 'plain': run plain-0 on test has no {entry}; take its row out"):
        table(bench.file)
