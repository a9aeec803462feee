"""The page of a run has what a reader needs in one file, as text that no value can break, within its size."""

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jaxasr.report import page
from jaxasr.report.page import AudibleUtterance, PageContents, Table

PNG = b"\x89PNG" + bytes(400_000)


class Reader(HTMLParser):
    """Keeps the texts and the sources of a page, and checks that tags are closed."""

    def __init__(self):
        super().__init__()
        self.cells: list[str] = []
        self.sources: list[str] = []
        self.links: list[str | None] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        found = dict(attrs)
        if tag in ("img", "audio"):
            self.sources.append(found["src"] or "")
        if tag == "a":
            self.links.append(found["href"])

    def handle_data(self, data):
        self.cells.append(data)


def read(contents: PageContents, **options) -> Reader:
    reader = Reader()
    reader.feed(page(contents, **options))
    return reader


@pytest.fixture
def contents(tmp_path: Path) -> PageContents:
    picture = tmp_path / 'odd".png'
    picture.write_bytes(PNG)
    return PageContents(
        "run <1>",
        lines=["goodput > 90 %"],
        warnings=["step 1,000: a & b"],
        tables=[Table("results", ("split", "WER"), [["<test>", "1.5 %"]]), Table("metrics", ("name",), [["x"]], False)],
        pictures=[picture, tmp_path / "missing.png"],
        utterances=[AudibleUtterance("u1: 2 errors", "a <b>", "", b"fLaC" + bytes(300_000))],
        links={"hypotheses.test.html": "errors of test"},
        experiment="model = <Seq2Seq>",
    )


def test_all_parts_are_text_and_in_the_file(contents):
    reader = read(contents)
    expected = {"run <1>", "goodput > 90 %", "step 1,000: a & b", "<test>", "1.5 %", "a <b>", "(nothing)"}
    assert expected | {"model = <Seq2Seq>", "errors of test", "u1: 2 errors"} <= set(reader.cells)
    assert reader.links == ["hypotheses.test.html"]
    image, sound = reader.sources
    assert base64.b64decode(image.removeprefix("data:image/png;base64,")) == PNG
    assert sound.startswith("data:audio/flac;base64,ZkxhQ")
    assert not {"script", "link"} & reader.seen
    assert '<meta name="viewport"' in page(contents)


def test_what_does_not_fit_is_left_out_and_named(contents):
    """Pictures come first; 200,000 bytes are kept for the texts."""
    for most_bytes, left_out in ((1_000_000, ["its sound"]), (500_000, ["odd&quot;.png", "its sound"])):
        text = page(contents, most_bytes=most_bytes)
        assert len(text) <= most_bytes
        assert text.count(" is left out: the page would be too large") == len(left_out)
        assert all(f"{name} is left out" in text for name in left_out)


def test_a_page_of_nothing_is_a_page():
    assert "<h1>new</h1>" in page(PageContents("new"))
