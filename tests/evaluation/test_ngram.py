"""N-gram models of an experiment's transcripts: written by the command, and read back for a search."""

import gzip
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import data, decode, text
from jaxasr.__main__ import main
from jaxasr.evaluation.ngram import estimate_ngram, read_ngram, token_words
from jaxasr.ops.ngram.backoff import Backoff
from jaxasr.ops.ngram.word_backoff import WordBackoff
from jaxasr.records import END
from jaxasr.text.ngram import STOP
from tests import tiny_experiments as tiny
from tests.decode.toy_model import batch_of, toy
from tests.trained_run import TRAIN, write_tones


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """The corpus of tones, prepared."""
    folder = tmp_path_factory.mktemp("tones")
    data.prepare(data.source("manifest", write_tones(folder / "wavs"), {"name": "tones"}), folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A vocabulary of pieces that begin words and that don't."""
    return text.train_sentencepiece([*TRAIN] * 4, tmp_path_factory.mktemp("pieces") / "p.model", pieces=12, kind="bpe")


def log_prob(lm, tokens):
    """What a search adds up for a hypothesis, its end included."""
    step, state, total = jax.jit(lm.step), lm.start(1), 0.0
    for previous, token in zip([END, *tokens], [*tokens, END], strict=True):
        log_probs_bv, state = step(state, jnp.array([previous]))
        total += float(log_probs_bv[0, token])
    return total


@pytest.mark.parametrize(("unit", "order", "kind"), [("token", 4, Backoff), ("word", 2, WordBackoff)])
def test_a_search_adds_up_what_the_command_has_measured(data_dir, tmp_path, unit, order, kind):
    experiment = tiny.experiment()
    made = estimate_ngram(experiment, tmp_path / "new" / "lm.arpa.gz", data_dir, order=order, unit=unit)
    assert made.sentences == len(TRAIN)
    assert made.unknown == 0
    lm = read_ngram(tmp_path / "new" / "lm.arpa.gz", experiment.tokenizer)
    assert isinstance(lm, kind)
    assert lm.vocab == experiment.tokenizer.size
    assert {each.text for each in made.validation.texts} == set(TRAIN)
    for each in made.validation.texts[:3]:
        assert log_prob(lm, experiment.tokenizer.encode(each.text)) == pytest.approx(each.log_prob, rel=1e-5)


def test_in_a_beam_the_share_of_a_model_is_the_score_of_the_text(rng, tmp_path):
    tokens, ln10 = text.Characters(" ABC"), np.log(10.0)
    sentences = [list(rng.choice(["A", "B", "AB", "CA"], size=4)) for _ in range(30)]
    names = token_words(tokens)
    letters = [[names[token] for token in tokens.encode(" ".join(words))] for words in sentences]
    models = {"words": text.estimate(sentences, 2), "letters": text.estimate(letters, 4, vocabulary=names[1:])}
    for name, model in models.items():
        text.write_arpa(model, tmp_path / f"{name}.arpa")
    lms = {name: read_ngram(tmp_path / f"{name}.arpa", tokens) for name in models}
    lms["last"] = lms["words"]
    fused = (
        decode.LmScorer("words", 0.4),
        decode.LmScorer("letters", 0.7),
        decode.LmScorer("last", 0.4, score_eos=False),
    )
    beam = decode.Beam(5, nbest=5, scorers=fused)
    found = jax.jit(beam)(replace(toy(tokens.size), lms=lms), batch_of(rng, 6, 4))
    ended = np.argwhere(found.finished_bw)
    assert len(ended) > 5
    for b, w in ended:
        heard = tokens.decode(found.tokens_bwu[b, w, : found.token_lengths_bw[b, w]].tolist())
        words = 0.4 * ln10 * text.score(models["words"], [heard.split()]).total
        spelt = 0.7 * ln10 * text.score(models["letters"], [[names[token] for token in tokens.encode(heard)]]).total
        endless = 0.4 * ln10 * text.score(models["words"], [heard.split()]).log10_probs[:-1].sum()
        np.testing.assert_allclose(found.scores_by_scorer_bwk[b, w, 1:], [words, spelt, endless], rtol=1e-5)


def test_a_model_of_pieces_is_one_of_what_they_write(data_dir, tmp_path, pieces):
    names = token_words(pieces)
    assert len(set(names)) == pieces.size
    assert names[0] == STOP
    for sentence in TRAIN:
        assert "".join(names[token] for token in pieces.encode(sentence)) == "▁" + sentence.replace(" ", "▁")
    sentences = [[names[token] for token in pieces.encode(sentence)] for sentence in TRAIN]
    text.write_arpa(text.estimate(sentences, 3), tmp_path / "open.arpa")  # with <unk>, as KenLM has it
    lm = read_ngram(tmp_path / "open.arpa", pieces)
    assert isinstance(lm, Backoff)
    expected = text.score(text.read_arpa(tmp_path / "open.arpa"), sentences[:1]).total * np.log(10.0)
    assert log_prob(lm, pieces.encode(TRAIN[0])) == pytest.approx(expected, rel=1e-5)


def test_tokens_that_write_nothing_or_the_same_have_names_of_their_own():
    class Odd:
        size, digest = 7, "01234567"

        def encode(self, text):
            return []

        def decode(self, tokens):
            return "".join(["", "A", "", "A", " ", "▁", "<s>"][int(token)] for token in tokens)

    assert token_words(Odd()) == [STOP, "A", "<token:2>", "<token:3>", "▁", "<token:5>", "<token:6>"]


@pytest.mark.parametrize("space", ["<space>", "|"])
def test_other_names_of_the_space_are_known(tmp_path, space):
    tokens = text.Characters(" ABCD")
    files = {name: tmp_path / f"{i}.arpa" for i, name in enumerate(("▁", space))}
    for name, path in files.items():
        text.write_arpa(text.estimate([[*"AB", name, *"CD"], [*"DA"]], 3, vocabulary=(name, *"ABCD")), path)
    ours, theirs = (log_prob(read_ngram(path, tokens), tokens.encode("AB CA")) for path in files.values())
    assert ours == theirs


def test_text_files_are_learnt_from_too(data_dir, tmp_path):
    (tmp_path / "more.txt").write_text("abba cd!\n\nÄB\nDAD\n")
    with gzip.open(tmp_path / "most.txt.gz", "wt") as file:
        file.write("CC\n" * 5)
    files = [tmp_path / "more.txt", tmp_path / "most.txt.gz"]
    made = estimate_ngram(tiny.experiment(), tmp_path / "lm.arpa", data_dir, order=3, unit="word", texts=files)
    assert {"ABBA", "CD", "DAD"} < set(made.model.words)
    assert made.sentences == len(TRAIN) + 7
    (refused,) = made.refused
    assert re.search(r"more.txt:3: 'Ä' in 'ÄB' is not in the alphabet", refused)
    assert f"left out: 1 lines that the tokenizer can't write, such as {refused}" in made.lines()
    files[1].write_bytes(files[1].read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"most.txt.gz is cut off or damaged"):
        estimate_ngram(tiny.experiment(), tmp_path / "lm.arpa", data_dir, order=3, unit="word", texts=files)


def test_the_command_writes_a_file_and_says_what_it_is_worth(data_dir, tmp_path, capsys):
    arguments = ["ngram", str(tiny.__file__), str(tmp_path / "lm.arpa"), "--data-dir", str(data_dir)]
    assert main([*arguments, "--order", "3", "--prune", "0,0,1", "seed=3"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / 'lm.arpa'}: 3-gram model of tokens, of 8 texts: 7 1-grams, ")
    assert re.fullmatch(
        r"validation: perplexity \d\.\d{3} \[[\d., ]+\] by token, [\d.]+ \[[\d., ]+\] by word, [\d.]+ bits a character over "
        r"8 utterances; 8 texts, 0 unknown words",
        second,
    )
    assert text.read_arpa(tmp_path / "lm.arpa").order == 3


def test_what_cannot_be_done(data_dir, tmp_path, capsys):
    arguments = ["ngram", str(tiny.__file__), str(tmp_path / "lm.arpa"), "--data-dir", str(data_dir), "--order"]
    with pytest.raises(SystemExit):
        main([*arguments, "0"])
    assert "--order: '0' is given; a whole number from 1 to 100 is needed" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"order 0: 1 \(single words\) or more is needed"):
        estimate_ngram(tiny.experiment(), tmp_path / "lm.arpa", data_dir, order=0)
    assert main([*arguments, "3", "--text", str(tmp_path / "lost.txt")]) == 1
    assert capsys.readouterr().err.endswith(f"jaxasr ngram: there is no text file {tmp_path / 'lost.txt'}\n")
    assert not (tmp_path / "lm.arpa").exists()
    with pytest.raises(ValueError, match=r"lm.bin: the file of an n-gram model ends in .arpa or .arpa.gz"):
        estimate_ngram(tiny.experiment(), tmp_path / "lm.bin", data_dir, order=2)


def test_a_model_of_other_words_is_refused(tmp_path):
    text.write_arpa(text.estimate([["the", "cat"], ["DAD"]], 2), tmp_path / "lm.arpa")
    with pytest.raises(
        ValueError, match=r"such as \['the', 'cat'\], are neither the tokens .*\['▁', 'A', .* nor words"
    ):
        read_ngram(tmp_path / "lm.arpa", text.Characters(" ABCD"))
    text.write_arpa(text.estimate([[]], 2), tmp_path / "empty.arpa")
    with pytest.raises(ValueError, match="neither the tokens of the recogniser"):
        read_ngram(tmp_path / "empty.arpa", text.Characters(" ABCD"))
