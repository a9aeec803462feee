"""The data pipeline of an experiment: corpora, transforms and shapes. The position in the data is one integer, the step.

Pipeline(corpora, transforms, shapes, shuffle_seed)   a value in an experiment; it names no folder
  .open(data_dir) -> BoundPipeline                     reads texts and lengths, chooses shapes, plans batches
    .batches(step) -> (step, row, batch), ...          training batches from any step, without end
    .eval_batches() -> EvalBatch, ...                  every example once, with its id and text
"""

import math
from dataclasses import dataclass
from pathlib import Path

from jaxasr import text
from jaxasr.data.batching.buckets import ShapeChoice
from jaxasr.data.bound_pipeline import BoundPipeline
from jaxasr.data.prepared.corpus import Corpus
from jaxasr.data.transforms import SpeedPerturb, Transform, check_order, find_tokenizer
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class Pipeline:
    """A description of the data of a training or an evaluation.

    Weights mix corpora: an example of a corpus with weight 2.5 occurs twice in every epoch and a third time in every
    second epoch.

    Shapes without audio (ChooseTokenBuckets) give batches of transcripts alone, for language models. Every prepared
    corpus has transcripts, so corpora of text and of speech can be mixed.

    Raises:
      ValueError: there is no corpus, a weight is not positive, the order of the transforms cannot work, or the speed
        changes but the shapes have no audio.
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
        if not self.shapes.audio and any(isinstance(transform, SpeedPerturb) for transform in self.transforms):
            raise ValueError(
                f"Pipeline.transforms has SpeedPerturb and {type(self.shapes).__name__} reads no audio; leave it out"
            )
        for corpus, weight in self.weighted:
            if not 0 < weight < math.inf:
                raise ValueError(f"weight {weight} of corpus {corpus}: a positive number is needed")
        check_numbers(self, not_negative=("shuffle_seed",))

    @property
    def weighted(self) -> tuple[tuple[Corpus, float | int], ...]:
        """The corpora with their weights."""
        return self.corpora if isinstance(self.corpora, tuple) else ((self.corpora, 1.0),)

    @property
    def tokenizer(self) -> text.Tokenizer:
        """The tokenizer of the Tokenize transform."""
        return find_tokenizer(self.transforms)

    def open(self, data_dir: Path) -> "BoundPipeline":
        """Reads texts and lengths of the prepared corpora under `data_dir`. Does not read audio.

        Raises:
          FileNotFoundError: a corpus is not prepared.
          ValueError: a corpus has no such split or is damaged, or it has texts only and the shapes have audio.
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
