"""`jaxasr score`: the same errors from every format, intervals over speakers, and mismatches that are named."""

import json
from pathlib import Path

import pytest

from jaxasr.cli.main import main

TEXTS = {"a-1": ("YES I DO", "YES I DO"), "a-2": ("NO", "NOT SO"), "b-1": ("GO ON THEN", "GO THEN")}  # 3 errors of 7


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Returns references and hypotheses in every format: ROLE.FORMAT."""
    made = {}
    for column, role in enumerate(("ref", "hyp")):
        texts = {id: pair[column] for id, pair in TEXTS.items()}
        ends = {id: 10.0 * number for number, id in enumerate(texts, start=1)}
        key = {"ref": "text", "hyp": "pred_text"}[role]
        contents = {
            "text": "".join(f"{id} {text}\n" for id, text in texts.items()),
            "trn": "".join(f"{text}\t({id})\n" for id, text in reversed(texts.items())),
            "jsonl": "".join(
                json.dumps({"audio_filepath": f"/x/{id}.wav", key: text}) + "\n" for id, text in texts.items()
            ),
            "stm": "".join(f"{id} 1 {id[0]} 0 {ends[id]} {text}\n" for id, text in texts.items()),
            "ctm": "".join(
                f"{id} 1 {number} 0.5 {word}\n"
                for id, text in texts.items()
                for number, word in enumerate(text.split())
            ),
        }
        for name, content in contents.items():
            made[f"{role}.{name}"] = tmp_path / f"{role}.{name}"
            made[f"{role}.{name}"].write_text(content)
    return made


@pytest.mark.parametrize("hypotheses", ["text", "trn", "jsonl", "ctm", "stm"])
@pytest.mark.parametrize("reference", ["text", "trn", "jsonl", "stm"])
def test_formats_give_the_same_errors(files: dict[str, Path], reference: str, hypotheses: str, tmp_path: Path, capsys):
    out = tmp_path / "scores.json"
    assert main(["score", str(files[f"ref.{reference}"]), str(files[f"hyp.{hypotheses}"]), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("3 utterances, 7 words, normalizer verbatim; 95 % intervals over 3 utterances\n")
    assert "WER                        42.86%  [" in printed
    scores = json.loads(out.read_text())
    parts = [scores[name]["value"] for name in ("substitutions", "deletions", "insertions", "ser")]
    assert parts == pytest.approx([1 / 7, 1 / 7, 1 / 7, 2 / 3])


def write_lines(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_text_without_ids_is_found_by_its_repeated_first_words(tmp_path: Path, capsys):
    """A word in the place of an id would be left out of the count. An empty line is an empty hypothesis."""
    reference = write_lines(tmp_path / "ref.txt", "the cat", "the dog sat", "no", "yes")
    hypotheses = write_lines(tmp_path / "hyp.txt", "a cat", "the dog sat", "", "yes")
    assert main(["score", reference, hypotheses]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("4 utterances, 7 words, ")
    assert "\neach line is a transcript, without an id\n" in printed
    assert "WER                        28.57%  [" in printed
    short = write_lines(tmp_path / "short.txt", "a cat", "the dog sat", "yes")
    assert main(["score", reference, short]) == 1
    assert "ref.txt has 4 lines and " in capsys.readouterr().err


def test_text_whose_first_words_could_be_ids_says_what_it_is_taken_for(tmp_path: Path, capsys):
    reference = write_lines(tmp_path / "ref.txt", "one two", "four five")
    hypotheses = write_lines(tmp_path / "hyp.txt", "one too", "four five")
    assert main(["score", reference, hypotheses]) == 0
    printed = capsys.readouterr().out
    assert "\nthe first word of each line is its id, such as 'one'; if there are no ids: --no-ids\n" in printed
    assert "WER                        50.00%" in printed
    assert main(["score", reference, hypotheses, "--no-ids"]) == 0
    assert "WER                        25.00%" in capsys.readouterr().out


def test_a_repeated_id_stays_an_error(tmp_path: Path, capsys):
    reference = write_lines(tmp_path / "ref.txt", "a-1 two", "a-1 five")
    assert main(["score", reference, reference]) == 1
    assert "the id 'a-1' occurs twice" in capsys.readouterr().err
    assert main(["score", reference, "--no-ids"]) == 1
    assert "--no-ids is for two files" in capsys.readouterr().err


def test_a_file_with_both_and_a_normaliser(tmp_path: Path, capsys):
    path = tmp_path / "hypotheses.test.jsonl"
    rows = [{"id": id, "speaker": "s", "reference": a.lower(), "hypothesis": b} for id, (a, b) in TEXTS.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["score", str(path)]) == 0
    assert "114.29%" not in capsys.readouterr().out.split("\n")[0]
    assert main(["score", str(path), "--normalizer", "upper"]) == 0
    assert "42.86%" in capsys.readouterr().out


def test_a_silent_recording_is_an_empty_hypothesis_in_ctm_only(files: dict[str, Path], capsys):
    ctm = files["hyp.ctm"]
    ctm.write_text("".join(line for line in ctm.read_text().splitlines(True) if not line.startswith("b-1")))
    assert main(["score", str(files["ref.text"]), str(ctm)]) == 0
    assert "71.43%" in capsys.readouterr().out  # two errors and three deletions of seven words
    trn = files["hyp.trn"]
    trn.write_text("".join(line for line in trn.read_text().splitlines(True) if "b-1" not in line))
    assert main(["score", str(files["ref.text"]), str(trn)]) == 1
    assert "different utterances: 1 are in one only, such as ['b-1']" in capsys.readouterr().err


def test_mistakes_are_named(files: dict[str, Path], tmp_path: Path, capsys):
    assert main(["score", str(files["ref.text"])]) == 1
    assert "holds no references" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "gone"), str(files["hyp.text"])]) == 1
    assert "gone" in capsys.readouterr().err
    assert main(["score", str(files["ref.text"]), str(files["hyp.text"]), "--normalizer", "none"]) == 1
    assert "there is no text normaliser 'none'" in capsys.readouterr().err
