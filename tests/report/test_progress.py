"""What a progress display prints, on a terminal and elsewhere, by a clock of the test."""

import io

import pytest
from rich.console import Console

from jaxasr.report import Progress


class Clock:
    """Time that passes when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plain() -> Console:
    return Console(file=io.StringIO(), width=40, force_terminal=False)


def terminal() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=True, force_interactive=True, legacy_windows=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_a_line_is_printed_every_ten_seconds_and_at_the_end():
    clock, console = Clock(), plain()
    with Progress(100, "train", "steps", console=console, clock=clock) as bar:
        for _ in range(25):
            clock.now += 1.0
            bar.advance(2, loss=2.3456789)
    assert printed(console).splitlines() == [
        "train: 20 of 100 steps, 20%, 2 steps/s, 0:00:40 left, loss 2.346",
        "train: 40 of 100 steps, 40%, 2 steps/s, 0:00:30 left, loss 2.346",
        "train: 50 of 100 steps, 50% in 0:00:25, 2 steps/s, loss 2.346",
    ]


def test_what_an_earlier_run_did_does_not_count_for_the_rate():
    clock, console = Clock(), plain()
    with Progress(1_000, "train", "steps", done=900, console=console, clock=clock) as bar:
        clock.now += 10
        bar.advance(50)
        clock.now += 10
        bar.advance(50)
    assert printed(console).splitlines() == [
        "train: 950 of 1,000 steps, 95%, 5 steps/s, 0:00:10 left",
        "train: 1,000 of 1,000 steps, 5 steps/s",
        "train: 1,000 of 1,000 steps in 0:00:20, 5 steps/s",
    ]


def test_the_rate_is_that_of_the_last_minute():
    clock, console = Clock(), plain()
    with Progress(None, "prepare", "utterances", console=console, clock=clock) as bar:
        for rate in (1, 200):
            for _ in range(100):
                clock.now += 1.0
                bar.advance(rate)
    assert "prepare: 100 utterances, 1 utterances/s" in printed(console)
    assert "prepare: 20,100 utterances, 200 utterances/s" in printed(console)
    assert printed(console).endswith("prepare: 20,100 utterances in 0:03:20, 100 utterances/s\n")
    assert "left" not in printed(console)


def test_a_line_that_says_nothing_new_is_not_printed():
    clock, console = Clock(), plain()
    with Progress(400, "sweep", "steps", console=console, clock=clock) as bar:
        for made in (0, 0, 0, 10, 0, 0):
            clock.now += 20.0
            bar.advance(made, now="a at 7")
    lines = printed(console).splitlines()[:-1]
    assert [line.partition(", 2%")[0].partition(", 0 steps/s")[0] for line in lines] == [
        "sweep: 0 of 400 steps",
        "sweep: 10 of 400 steps",
    ]


def test_time_for_something_else_is_no_part_of_the_rate_and_what_is_to_come_of_it_is_left():
    """A compilation of 60 s, then 2 steps a second, an evaluation of 30 s; another one is to come."""
    clock, console = Clock(), plain()
    with Progress(100, "train", "steps", console=console, clock=clock) as bar:
        clock.now += 60.0
        bar.exclude(60.0)
        bar.coming_s = 30.0
        for _ in range(20):
            clock.now += 1.0
            bar.advance(2)
        clock.now += 30.0
        bar.exclude(30.0)
        for _ in range(30):
            clock.now += 1.0
            bar.advance(2)
    lines = printed(console).splitlines()
    assert all(", 2 steps/s, " in line for line in lines[:-2])
    assert lines[0] == "train: 2 of 100 steps, 2%, 2 steps/s, 0:01:19 left"
    assert lines[-1] == "train: 100 of 100 steps in 0:02:20, 2 steps/s"


def test_the_rate_is_that_of_a_longer_time_where_work_comes_in_fits():
    clock, console = Clock(), plain()
    with Progress(400, "sweep", "steps", window_s=1_000.0, console=console, clock=clock) as bar:
        for number, made in enumerate((0, 200, 0)):
            clock.now += 100.0
            bar.advance(made, now=f"look {number}")
    assert printed(console).splitlines()[-2] == "sweep: 200 of 400 steps, 50%, 0.667 steps/s, 0:05:00 left, now look 2"


def test_what_need_not_be_done_does_not_count_for_the_rate():
    clock, console = Clock(), plain()
    with Progress(400, "sweep", "steps", console=console, clock=clock) as bar:
        clock.now += 20.0
        bar.advance(20)
        bar.skip(300)
        clock.now += 20.0
        bar.advance(20)
    assert printed(console).splitlines()[-2:] == [
        "sweep: 340 of 400 steps, 85%, 1 steps/s, 0:01:00 left",
        "sweep: 340 of 400 steps, 85% in 0:00:40, 1 steps/s",
    ]


def test_what_broke_it_off_is_named():
    console = plain()
    bar = Progress(10, "eval", "utterances", console=console, clock=Clock())

    def work():
        with bar:
            bar.advance(3, split="dev[clean]")
            raise KeyError("x")

    with pytest.raises(KeyError):
        work()
    assert printed(console) == (
        "eval: stopped by KeyError at 3 of 10 utterances, 30% in 0:00:00, 0 utterances/s, split dev[clean]\n"
    )


def test_on_a_terminal_a_bar_is_drawn_and_lines_stand_above():
    clock, console = Clock(), terminal()
    with Progress(8, "train [a]", "steps", done=2, console=console, clock=clock) as bar:
        clock.now += 2
        bar.advance(1, loss=1.5)
        bar.print("dev WER 12.1 %")
        with Progress(4, "dev", "utterances", console=console, clock=clock) as inner:
            inner.advance(4)
        bar.advance(0)
    text = printed(console)
    assert "train [a]: dev WER 12.1 %\n" in text
    assert "━" in text
    for part in ("3/8", "0.5 steps/s, 0:00:10 left, loss 1.5", "4/4"):
        assert part in text
    assert text.endswith("\x1b[?25h")  # the cursor is back
