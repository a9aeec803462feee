"""The check of a batch plan against the encoder: utterances with more tokens than the encoder has positions for them."""

import numpy as np

from jaxasr.data import BoundPipeline
from jaxasr.experiment.experiment import Experiment
from jaxasr.nn import Seq2Seq

_NAMED = 10  # utterances that are named


def too_many_tokens(experiment: Experiment, data: BoundPipeline) -> list[str]:
    """Returns lines that name the training utterances with more tokens than encoder positions at their highest speed.

    CTC cannot align them, and nobody speaks that fast, so their text is probably not that of the audio. They are trained on
    nevertheless; `KeepTokens` or a corrected corpus leaves them out. A language model has no positions and no lines.
    """
    model = experiment.model
    if not isinstance(model, Seq2Seq):
        return []
    lengths = data.plan.lengths
    frames_b = model.frontend.frame_lengths(lengths.samples.min(axis=1))
    positions_b = -(-np.asarray(frames_b) // model.encoder.stride)
    found = np.flatnonzero((lengths.tokens > positions_b) & (lengths.weights > 0)).tolist()
    lines = [f"suspicious: {len(found)} (more tokens than encoder positions)"] if found else []
    return lines + [
        f"suspicious: {data.ids[i]}: {lengths.tokens[i]} tokens, {positions_b[i]} encoder positions"
        for i in found[:_NAMED]
    ]
