"""The page of a run has what a reader needs, as text that no value can break."""

from html.parser import HTMLParser
from pathlib import Path

from jaxasr.report import page


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.cells: list[str] = []
        self.images: list[str | None] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_data(self, data):
        self.cells.append(data)


def test_the_page_has_the_last_values_the_warnings_and_the_pictures():
    rows = [
        {"step": 50, "train/loss": 2.0},
        {"step": 1_000, "train/loss": 1.5},
        {"step": 1_000, "validation/wer": float("nan")},
    ]
    text = page(
        "run <1>",
        metrics=rows,
        warnings=["step 1,000: a & b"],
        pictures=[Path("pictures") / 'odd".png'],
        experiment="model = <Seq2Seq>",
        summary="goodput > 90 %",
    )
    reader = Reader()
    reader.feed(text)
    assert {"run <1>", "goodput > 90 %", "step 1,000: a & b", "1.5", "1,000", "nan", "model = <Seq2Seq>"} <= set(
        reader.cells
    )
    assert "2" not in reader.cells
    assert reader.images == ['pictures/odd".png']
    assert "script" not in reader.open
