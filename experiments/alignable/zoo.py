r"""Every mechanism on one task that can be aligned: strings of tones, read up to four times the training length.

    jaxasr alignable experiments/alignable/zoo.py:attentions
README.md beside this file has the table, and how to put a mechanism of your own into it.
"""

from collections.abc import Iterator
from dataclasses import replace

from jaxasr import data, nn, train
from jaxasr.run import Lesson

TONES = data.Tones(shortest=1, longest=10)
LESSON = Lesson(
    model=nn.Seq2Seq(
        frontend=nn.LogMel(bins=16, rate_hz=4_000, low_hz=100.0, high_hz=1_900.0),
        encoder=nn.Listener(width=32, pools=(2, 2)),
        decoder=nn.Speller(1, 48, nn.AdditiveAttention(32), vocab=TONES.vocab, embedding=16),
    ),
    objective=train.Objective(),
    optimizer=train.Adam(train.RampHoldDecay(50, 800, 1_200, peak=3e-3), clip_norm=1.0),
    tones=TONES,
    steps=1_200,
)


def spelling(attention: nn.Attention) -> Lesson:
    """The lesson with another attention in the same speller."""
    speller = nn.Speller(1, 48, attention, vocab=TONES.vocab, embedding=16)
    return replace(LESSON, model=replace(LESSON.model, decoder=speller))


def attentions() -> Iterator[tuple[str, Lesson]]:
    """A name and a lesson for every attention; the first is what times are relative to."""
    yield "additive", spelling(nn.AdditiveAttention(32))
    yield "location-aware", spelling(nn.LocationAttention(32, filters=8, taps=15))
