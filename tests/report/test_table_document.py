"""Documents of tables as Markdown, LaTeX and HTML."""

import pytest

from jaxasr.report.table_document import Grid, TableDocument, TableSection, latex_escaped

GRIDS = (
    Grid(("row", "WER %"), (("[a] & b", "6.8"), ("<c>", "not run"))),
    Grid(("row", "WER %"), (("d", "1.0"),), "Not comparable: words 1 (above 2)."),
)
DOCUMENT = TableDocument("T_1", (TableSection("test, WER", GRIDS, ("remark 1",)),), ("note " + "word " * 30,))


def test_markdown_has_titles_remarks_and_wrapped_notes():
    lines = DOCUMENT.markdown().splitlines()
    assert lines[:5] == ["# T_1", "", "## test, WER", "", "| row     | WER %   |"]
    assert lines[8:13] == ["", "remark 1", "", "Not comparable: words 1 (above 2).", ""]
    assert [line[:4] for line in lines[-2:]] == ["* no", "  wo"]
    assert max(map(len, lines)) <= 120


def test_latex_is_booktabs_and_a_bracket_is_no_option():
    """A "[" after a line break would be read as its length."""
    text = DOCUMENT.latex()
    assert "{[a] \\& b} & 6.8 \\\\" in text
    assert "\\textless{}c\\textgreater{} & not run" in text
    assert "\\begin{tabular}{ll}" in text
    assert "\\begin{tabular}{lr}" in text
    assert "\\caption{test, WER. Not comparable: words 1 (above 2). remark 1}" in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("char", "written"), [("\\", "\\textbackslash{}"), ("~", "\\textasciitilde{}"), ("_", "\\_"), ("%", "\\%")]
)
def test_characters_of_latex_lose_their_meaning(char, written):
    assert latex_escaped(f"a{char}b") == f"a{written}b"


def test_html_escapes_and_marks_figures():
    page = DOCUMENT.html()
    assert "<td>&lt;c&gt;</td>" in page
    assert "<td class=figure>1.0</td>" in page
    assert page.count("<tr>") == 5
