"""Files of hypotheses in every format, and files that cannot be read."""

import json

import pytest

from jaxasr.score.comparison.transcripts import HypothesisRow, check_same_references, read_transcripts


def lines(path, *rows):
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_our_lines_keep_their_other_fields(tmp_path):
    row = {"id": "u1", "speaker": "s", "reference": "a b", "hypothesis": "a", "snr_db": 10}
    assert read_transcripts(lines(tmp_path / "a.jsonl", json.dumps(row))) == {
        "u1": HypothesisRow("u1", "s", "a b", "a", {"snr_db": 10})
    }


def test_a_manifest_of_nemo(tmp_path):
    row = {"audio_filepath": "wav/u1.wav", "text": "a b", "pred_text": "a c", "duration": 1.5}
    assert read_transcripts(lines(tmp_path / "a.json", json.dumps(row))) == {
        "wav/u1.wav": HypothesisRow("wav/u1.wav", "", "a b", "a c", {"duration": 1.5})
    }


def test_trn_takes_the_speaker_from_the_id(tmp_path):
    reference = lines(tmp_path / "ref.trn", "a b (spk1-u1)", "c (d) e (spk2-u2)")
    hypothesis = lines(tmp_path / "hyp.trn", "(spk2-u2)", "a x (spk1-u1)", "")
    assert read_transcripts(hypothesis, reference) == {
        "spk2-u2": HypothesisRow("spk2-u2", "spk2", "c (d) e", ""),
        "spk1-u1": HypothesisRow("spk1-u1", "spk1", "a b", "a x"),
    }


def test_a_text_of_kaldi_may_have_other_references(tmp_path):
    reference = lines(tmp_path / "ref.trn", "a b (u1)")
    hypothesis = lines(tmp_path / "text", "u1\ta c")
    assert read_transcripts(hypothesis, reference) == {"u1": HypothesisRow("u1", "", "a b", "a c")}


def test_a_byte_order_mark_and_carriage_returns_are_no_text(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfu1 a b\r\nu2 c\r\n")
    assert [row.hypothesis for row in read_transcripts(path, path).values()] == ["a b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no hypotheses"),
        ("\n \n", "holds no hypotheses"),
        ('{"id": "u0"}\n', "line 1 is no line of hypotheses: .*reference, hypothesis are missing"),
        ('{"id": "u0", "reference": "a", "hypothesis": null}\n', "hypothesis are missing or no text"),
        ("[1]\n", "line 1 is no line of hypotheses"),
        ('{"id": "u0", "reference": "a", "hypothesis": "b"}\nu1 a\n', "line 2 is no line of hypotheses"),
        ("a (u1)\nb\n", "line 2 is no line of hypotheses: a line of a trn file is"),
        ("a (u1)\nb (u1)\n", "line 2: the id 'u1' occurs twice"),
        ("u1 a\n", "holds no references: give them with --reference"),
    ],
)
def test_files_that_are_no_hypotheses(tmp_path, text, message):
    path = tmp_path / "hypotheses"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_transcripts(path)


def test_other_encodings_and_missing_files_are_named(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes("u1 café\n".encode("latin-1"))
    with pytest.raises(ValueError, match="latin is no UTF-8 text"):
        read_transcripts(path)
    with pytest.raises(FileNotFoundError, match="no file of hypotheses"):
        read_transcripts(tmp_path / "missing")


def test_two_files_need_the_same_utterances_and_references(tmp_path):
    first = {"u1": HypothesisRow("u1", "", "a  b", "")}
    check_same_references("a", first, "b", {"u1": HypothesisRow("u1", "", "a b", "x")})
    with pytest.raises(ValueError, match=r"different utterances: 1 are in one only, such as \['u2'\]"):
        check_same_references("a", first, "b", first | {"u2": HypothesisRow("u2", "", "", "")})
    with pytest.raises(ValueError, match="different references of 1 utterances"):
        check_same_references("a", first, "b", {"u1": HypothesisRow("u1", "", "A b", "x")})
