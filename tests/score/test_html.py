"""The page of errors, as a browser reads it."""

import re
from html.parser import HTMLParser

import pytest

from jaxasr import score
from jaxasr.score.html import errors_page
from tests.score.test_evaluate import FIRST, SECOND, decode_text, told

VOID = {"meta", "input"}


class Balanced(HTMLParser):
    """Refuses tags that are closed in another order than they were opened in; keeps what is coloured."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.text.append(f"<{dict(attrs).get('class', '')}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page() -> str:
    return errors_page(score.evaluate(told, [FIRST, SECOND], decode_text), "a run, dev")


def test_it_is_well_formed_and_says_the_rate(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "WER 150.00% [0.02%, 1221469.34%] over 4 utterances: 6 errors in 4 words of 4 utterances" in page
    assert "show the 2 without an error" in page


def test_errors_are_coloured_by_their_kind_and_the_worst_stands_first(page):
    assert re.findall(r"<h2>(\w+), (\d+) error", page) == [("u4", "5"), ("u2", "1"), ("u1", "0"), ("u3", "0")]
    worst, second, *_ = page.split("<section")[1:]
    assert worst.count('class="w insert"') == 5
    assert 'class="w substitute"><span>yes</span><span>maybe</span>' in second
    assert page.count('class="right"') == 2


def test_what_was_said_cannot_become_markup(page):
    evaluation = score.evaluate(told, [FIRST, SECOND], lambda tokens: f"<b>{decode_text(tokens)}")
    escaped = errors_page(evaluation, "<script>")
    assert "<b>" not in escaped
    assert "<script>" not in escaped


def test_tables_of_speakers_lengths_and_confusions_open_on_a_click(page):
    assert re.findall(r"<summary>(.*?)</summary>", page) == ["by speaker", "by length", "most frequent errors"]
    assert "<tr><td>*</td><td>no</td><td>5</td></tr><tr><td>yes</td><td>maybe</td><td>1</td></tr>" in page
    assert "<tr><td>berta</td>" in page
