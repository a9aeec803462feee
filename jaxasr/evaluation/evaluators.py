"""What a split says of a model: errors of its search if it hears, perplexity if it only reads. Asked here, nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr import nn, score, tree
from jaxasr.data import BoundPipeline
from jaxasr.evaluation.decode_split import NOTHING, headline, row_of
from jaxasr.evaluation.decode_split import SearchEvaluator as SearchJudge
from jaxasr.experiment.experiment import Experiment, Split
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import Batch, LanguageModel
from jaxasr.scale import Parallelism
from jaxasr.training import log_probs_of


@dataclass(frozen=True)
class EvalResult:
    """What a split has said."""

    line: str  # for people
    scores: dict[str, float]  # lower is better; the best checkpoint is chosen by experiment.decided_by
    row: dict[str, Any]  # of a file of results
    attention: dict[str, float] = field(default_factory=dict)  # beside the scores, for the curves


@runtime_checkable
class Evaluator(Protocol):
    """A split that is opened, and can be asked again and again."""

    data: BoundPipeline

    def __call__(self, variables: Any, workdir: Workdir, *, workers: int = 0) -> EvalResult:
        """Asks with these variables; leaves a file in the run's folder that says what each utterance got."""
        ...


def make_evaluator(
    experiment: Experiment,
    name: str,
    split: Split,
    data_dir: Path,
    lms: Mapping[str, LanguageModel] = NOTHING,
    how: Parallelism = "jit",
) -> Evaluator:
    """What fits the experiment's model.

    Args:
        name: what the split's files and metrics are called.
        lms: what a search may fuse.
        how: on which devices a search runs (scale.placement).
    """
    if isinstance(experiment.model, nn.Lm):
        return _LmEvaluator(experiment.model, name, split, data_dir)
    return _AsrEvaluator(SearchJudge(experiment, name, split, data_dir, lms, how), split)


class _AsrEvaluator:
    """A recogniser, by the errors of its best hypotheses."""

    def __init__(self, judge: SearchJudge, split: Split):
        self.data, self._judge, self._split = judge.data, judge, split

    def __call__(self, variables: Any, workdir: Workdir, *, workers: int = 0) -> EvalResult:
        evaluation = self._judge(variables, workdir, workers=workers)
        return EvalResult(
            headline(evaluation),
            {"wer": evaluation.scores.wer, "cer": evaluation.scores.cer},
            {
                **row_of(evaluation, self._split.data.rate_hz),
                "alignments": {each: round(value, 4) for each, value in self._judge.alignments.items()},
                "search": tree.flatten(self._split.search),
            },
            dict(self._judge.alignments),
        )


class _LmEvaluator:
    """A language model, by how well it foresees the transcripts."""

    def __init__(self, model: nn.Lm, name: str, split: Split, data_dir: Path):
        self.data, self._name = split.data.open(data_dir), name
        self._log_probs = jax.jit(lambda variables, batch: text_log_probs(model, variables, batch))

    def __call__(self, variables: Any, workdir: Workdir, *, workers: int = 0) -> EvalResult:
        with self.data.eval_batches(workers=workers) as batches:
            reading = score.score_texts(lambda batch: self._log_probs(variables, batch), batches)
        score.write_texts(reading, workdir.path / f"texts.{self._name}.jsonl")
        estimates = reading.estimates()
        scores = {name: each.value for name, each in estimates.items()}
        intervals = {
            name: [round(each.interval.low, 6), round(each.interval.high, 6)] for name, each in estimates.items()
        }
        counts = {
            "tokens": sum(each.tokens for each in reading.texts),
            "words": sum(each.words for each in reading.texts),
            "characters": sum(each.characters for each in reading.texts),
            "utterances": len(reading.texts),
            "unwritable": list(reading.out_of_vocabulary),
        }
        rounded = {name: round(value, 6) for name, value in scores.items()}
        return EvalResult(_line(reading, estimates), scores, {**rounded, "intervals": intervals, **counts, "search": {}})


def text_log_probs(model: nn.Lm, variables: Any, batch: Batch) -> Float[Array, " b"]:
    """The log probability of each example's text, the end included, in float32."""
    outputs: Any = model.apply(variables, batch, step=None)
    tokens_bwu, lengths_bw = jnp.asarray(batch.tokens_bu)[:, None], jnp.asarray(batch.token_lengths_b)[:, None]
    return log_probs_of(outputs.logits_buv, tokens_bwu, lengths_bw)[:, 0]


def _line(reading: score.PerplexityResult, estimates: Mapping[str, Any]) -> str:
    token, word, bits = (estimates[name] for name in ("perplexity", "word_perplexity", "bits_per_character"))
    parts = [
        f"perplexity {token.value:.3f} [{token.interval.low:.3f}, {token.interval.high:.3f}] by token",
        f"{word.value:.2f} [{word.interval.low:.2f}, {word.interval.high:.2f}] by word",
        f"{bits.value:.3f} bits a character",
        f"{len(reading.texts)} texts",
    ]
    parts += (
        [f"{len(reading.out_of_vocabulary)} that the vocabulary can't write left out"]
        if reading.out_of_vocabulary
        else []
    )
    return ", ".join(parts)
