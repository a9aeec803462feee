"""Corpora, transforms and shapes, as a value; opened on prepared data it is an iterator whose state is one integer.

Pipeline(corpora, transforms, shapes, shuffle_seed)   a value: stands in an experiment, names no folder
  .open(data_dir) -> OpenPipeline                      texts and lengths read, shapes chosen, batches planned
    .batches(step) -> (step, row, batch), ...          training, from any step, for ever
    .once() -> Labelled, ...                           every example once, with its id and text
"""

import math
from dataclasses import dataclass
from pathlib import Path

from jaxasr import text
from jaxasr.data.batching.buckets import ShapeChoice
from jaxasr.data.bound_pipeline import BoundPipeline
from jaxasr.data.prepared.corpus import Corpus
from jaxasr.data.transforms import SpeedPerturb, Transform, check_order, find_tokenizer


@dataclass(frozen=True)
class Pipeline:
    """What is trained on, or evaluated on.

    With weights, corpora are mixed: an example of a corpus of weight 2.5 comes twice in every epoch, and a third time
    in every other.

    Where the shapes have no room for audio (ChooseTokenBuckets) batches are of the transcripts alone: what a language
    model is trained on. Any prepared corpus has transcripts; corpora of text and of speech can be mixed.

    Raises:
      ValueError: no corpus, a weight that is not positive, transforms in an order that cannot work, or a change of speed
        where there is no audio.
    """

    corpora: Corpus | tuple[tuple[Corpus, float | int], ...]
    transforms: tuple[Transform, ...]
    shapes: ShapeChoice
    shuffle_seed: int
    rate_hz: int = 16_000

    def __post_init__(self):
        check_order(self.transforms)
        if self.rate_hz < 1:
            raise ValueError(f"Pipeline.rate_hz {self.rate_hz}: a positive number is needed, 16000 as a rule")
        if not self.weighted:
            raise ValueError("Pipeline.corpora is empty: one corpus, or (corpus, weight) pairs are needed")
        if not self.shapes.audio and any(isinstance(each, SpeedPerturb) for each in self.transforms):
            raise ValueError(
                f"Pipeline.transforms has SpeedPerturb and {type(self.shapes).__name__} reads no audio; leave it out"
            )
        for corpus, weight in self.weighted:
            if not 0 < weight < math.inf:
                raise ValueError(f"weight {weight} of corpus {corpus}: a positive number is needed")

    @property
    def weighted(self) -> tuple[tuple[Corpus, float | int], ...]:
        """The corpora, each with its weight."""
        return self.corpora if isinstance(self.corpora, tuple) else ((self.corpora, 1.0),)

    @property
    def tokenizer(self) -> text.Tokenizer:
        """Of the one Tokenize."""
        return find_tokenizer(self.transforms)

    def open(self, data_dir: Path) -> "BoundPipeline":
        """Reads texts and lengths, not the audio.

        Raises:
          FileNotFoundError: a corpus is not prepared.
          ValueError: a corpus has no such split, or is damaged; or it is of texts, and audio is asked for.
        """
        sources = tuple(corpus.open(data_dir) for corpus, _ in self.weighted)
        silent = [f"{source.name} {source.split}" for source in sources if not source.samples.all()]
        if silent and self.shapes.audio:
            raise ValueError(
                f"{', '.join(silent)} holds texts without audio, and {type(self.shapes).__name__} lays out waves: such a "
                "corpus is for language models, whose shapes are data.ChooseTokenBuckets"
            )
        return BoundPipeline(
            sources=sources,
            weights=tuple(weight for _, weight in self.weighted),
            transforms=self.transforms,
            shape_choice=self.shapes,
            shuffle_seed=self.shuffle_seed,
            rate_hz=self.rate_hz,
        )
