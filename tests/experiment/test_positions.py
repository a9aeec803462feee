"""Training utterances with more tokens than encoder positions are named when the batches are planned."""

from dataclasses import replace
from pathlib import Path

from jaxasr.data import prepare, source
from jaxasr.experiment.positions import too_many_tokens
from jaxasr.nn import Listener
from tests import tiny_experiments as tiny
from tests.trained_run import write_tones


def test_utterances_with_more_tokens_than_positions_are_named(tmp_path: Path):
    """A letter takes 0.12 s, six frames; with a stride of 16 there are more letters than positions."""
    prepare(source("manifest", write_tones(tmp_path / "tones"), {"name": "tones"}), tmp_path)
    experiment = tiny.experiment()
    data = experiment.train_data.open(tmp_path)
    assert too_many_tokens(experiment, data) == []
    deep = replace(experiment, model=experiment.model.clone(encoder=Listener(width=16, time_reduction=(2, 2, 2, 2))))
    summary, *named = too_many_tokens(deep, data)
    lengths = data.plan.lengths
    positions = -(-(1 + (lengths.samples[:, 0] - 640) // 320) // 16)
    expected = [id for id, tokens, most in zip(data.ids, lengths.tokens, positions, strict=True) if tokens > most]
    assert summary == f"suspicious: {len(expected)} (more tokens than encoder positions)"
    assert [line.split(": ")[1] for line in named] == expected[:10]
    assert expected
