"""The experiment: one frozen tree with everything that decides the numbers of a run.

The command line chooses devices, hosts and folders.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, get_args

from jaxasr import tree
from jaxasr.data import Pipeline
from jaxasr.experiment.split import Split, tokenizer_of
from jaxasr.experiment.stages import Stage
from jaxasr.nn import Lm, Seq2Seq
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.training import (
    CtcConsistency,
    CtcSynchronous,
    Distill,
    Freeze,
    Objective,
    Optimizer,
    PartRates,
    WeightNoise,
)

Model = Seq2Seq | Lm  # a recogniser, or a language model, which is trained on the transcripts of any corpus
RecogniserMetric = Literal["wer", "cer", "cer_no_spaces", "mer", "loss"]
LmMetric = Literal["perplexity", "loss"]


@dataclass(frozen=True)
class Experiment:
    """A run: everything that decides its numbers.

    Raises:
        ValueError: parts don't fit each other; the message has the names of the fields.
    """

    model: Model
    train_data: Pipeline
    objective: Objective
    optimizer: Optimizer
    steps: int  # batches to train on
    validation: Split  # decoded every `eval_every` steps; its `ranked_by` selects the best checkpoint
    evals: Mapping[str, Split] = field(default_factory=dict)  # decoded at the end, from the best checkpoint
    pretraining: tuple[Stage, ...] = ()  # smaller models that are trained first; `steps` includes their steps
    eval_every: int = 1_000
    save_every: int = 500
    log_every: int = 50
    teacher: Model | None = None  # the model that is distilled (training.Distill); its parameters come from its own run
    weight_noise: WeightNoise | None = None  # on the parameters in training
    freeze: Freeze = Freeze()  # parameters that keep the values they begin with (train --init-from)
    part_rates: PartRates = PartRates()  # factors of the learning rate of parts of the model
    ema_decay: float = 0.0  # per batch, of the average of the parameters, which is what is evaluated; 0: no average
    keep_last: int = 2  # newest checkpoints that are kept
    keep_best: int = 1  # best checkpoints that are kept besides
    seed: int = 0
    selection_metric: RecogniserMetric | LmMetric | None = None  # None: wer, or perplexity of a language model
    patience: int | None = None  # evaluations in a row without a new best after which training ends; None: all `steps`

    def __post_init__(self):
        tree.check_numbers(self, not_negative=("keep_best", "seed"))
        for name in ("steps", "eval_every", "save_every", "log_every", "keep_last"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; it must be 1 or more")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience={self.patience}; it must be 1 or more, or None to train all steps")
        for name in ("eval_every", "save_every"):
            if getattr(self, name) % self.log_every:
                raise ValueError(f"{name}={getattr(self, name)} must be a multiple of log_every={self.log_every}")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay={self.ema_decay}; it must be in [0, 1), 0 for no averaging")
        if self.ema_decay > 0 and self.optimizer.keeps_average:
            raise ValueError(
                f"ema_decay={self.ema_decay} and the optimizer is {type(self.optimizer).__name__}, whose own average is what "
                "is evaluated; leave ema_decay=0"
            )
        if self.part_rates.factors and self.optimizer.keeps_average:
            raise ValueError(
                f"part_rates has factors and the optimizer is {type(self.optimizer).__name__}, whose average assumes one "
                "rate for all parameters; take another optimizer, such as Adam"
            )
        if odd := [name for name in self.evals if not re.fullmatch(r"\w[\w+-]*", name)]:
            raise ValueError(
                f"evals has the names {odd}; they become names of files: letters, digits and _ + - are possible"
            )
        if "validation" in self.evals:
            raise ValueError(
                "evals has the name validation, which files and commands have for the split of the field `validation`; give "
                "it another one"
            )
        self._check_selection_metric()
        self._check_vocabulary()
        self._check_kind()
        if isinstance(self.model, Seq2Seq):
            self._check_rates(self.model)
            self._check_ctc(self.model)
        else:
            self._check_objective_of_lm()
        self._check_pretraining()

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the training data, and so of the whole run."""
        return tokenizer_of(self.train_data)

    @property
    def ranked_by(self) -> RecogniserMetric | LmMetric:
        """The score on the validation split that ranks checkpoints and that Newbob reads; lower is better.

        "loss" is the teacher-forced loss of a target token in nats: cross-entropy and CTC as `objective` mixes them, without
        label smoothing and auxiliary losses.
        """
        return self.selection_metric or default_metric(self.model)

    @property
    def stages(self) -> tuple["Experiment", ...]:
        """The experiments of the stages in the order of training. Each ends at its own `steps`; the last one is this one."""
        if not self.pretraining:
            return (self,)
        alone = replace(self, pretraining=())
        smaller = (tree.override(replace(alone, steps=stage.until), stage.values) for stage in self.pretraining)
        return (*smaller, self)

    @property
    def keeps_average(self) -> bool:
        """A flag: True if an average of the parameters is kept in the state (`ema_params`) and evaluated."""
        return self.ema_decay > 0 or self.optimizer.keeps_average

    @property
    def splits(self) -> dict[str, Split]:
        """The validation split and the evals, by the names that errors use."""
        return {"validation": self.validation, **{f"evals.{name}": split for name, split in self.evals.items()}}

    def _check_selection_metric(self) -> None:
        known = get_args(RecogniserMetric if isinstance(self.model, Seq2Seq) else LmMetric)
        if self.ranked_by not in known:
            raise ValueError(
                f"selection_metric is {self.selection_metric!r}, and model is a {type(self.model).__name__}, whose "
                f"checkpoints can be ranked by {', '.join(known)}"
            )

    def _check_pretraining(self) -> None:
        ends = [0, *(stage.until for stage in self.pretraining), self.steps]
        if any(a >= b for a, b in pairwise(ends)) or any(end % self.log_every for end in ends[:-1]):
            raise ValueError(
                f"the stages of pretraining end at {ends[1:-1]} of {self.steps} steps; they have to end one after another, "
                f"before the run does, each at a multiple of log_every={self.log_every}"
            )
        try:
            stages = self.stages
        except ValueError as error:
            raise ValueError(f"a stage of pretraining: {error}") from error
        for end, around in zip(ends[1:], pairwise(stages), strict=False):
            for every in (stage.optimizer.accumulate_steps for stage in around):
                if end % every:
                    raise ValueError(
                        f"a stage of pretraining ends at {end}; it has to end at a multiple of "
                        f"optimizer.accumulate_steps={every}, of its own and of the next stage: where an update is complete"
                    )

    def _check_kind(self) -> None:
        """Checks that a recogniser has audio and searches, and a language model has texts and no search."""
        kind = type(self.model).__name__
        is_recogniser = isinstance(self.model, Seq2Seq)
        pipelines = {"train_data": self.train_data} | {
            f"{name}.data": split.data for name, split in self.splits.items()
        }
        for name, pipeline in pipelines.items():
            if pipeline.shapes.audio != is_recogniser:
                needed = "Buckets or ChooseBuckets" if is_recogniser else "ChooseTokenBuckets"
                audio = "audio" if is_recogniser else "transcripts alone"
                raise ValueError(
                    f"model is a {kind}, which reads {audio}, and {name}.shapes are "
                    f"{type(pipeline.shapes).__name__}; give it data.{needed}"
                )
        for name, split in self.splits.items():
            if is_recogniser and split.search is None:
                raise ValueError(f"{name} has no search; give it one, such as decode.Beam(8)")
            if not is_recogniser and split.search is not None:
                raise ValueError(
                    f"{name} has the search {type(split.search).__name__}, and model is a {kind}, of which the perplexity "
                    "is measured; leave the search out"
                )

    def _check_objective_of_lm(self) -> None:
        wrong = [type(term).__name__ for term in self.objective.auxiliary if not isinstance(term, Distill)]
        if self.objective.ctc_weight > 0 or wrong:
            asked = [f"ctc_weight={self.objective.ctc_weight}"] * (self.objective.ctc_weight > 0) + wrong
            raise ValueError(
                f"objective has {', '.join(asked)}, and model is a {type(self.model).__name__}, which attends to no audio; "
                "cross-entropy and Distill are what it can be trained with"
            )

    def _check_ctc(self, model: Seq2Seq) -> None:
        if model.ctc is not None:
            return
        if self.objective.ctc_weight > 0:
            raise ValueError(
                f"objective.ctc_weight={self.objective.ctc_weight} but model.ctc is None; give the model a CtcHead "
                "or set objective.ctc_weight=0"
            )
        kinds = (CtcConsistency, CtcSynchronous)
        readers = [type(term).__name__ for term in self.objective.auxiliary if isinstance(term, kinds)]
        if readers:
            raise ValueError(
                f"objective.auxiliary has {', '.join(readers)} but model.ctc is None; give the model a CtcHead or leave the "
                "term out"
            )

    def _check_rates(self, model: Seq2Seq) -> None:
        rates = {"model.frontend": model.frontend.rate_hz, "train_data": self.train_data.rate_hz}
        rates |= {f"{name}.data": split.data.rate_hz for name, split in self.splits.items()}
        if len(set(rates.values())) > 1:
            listed = ", ".join(f"{name}.rate_hz={rate}" for name, rate in rates.items())
            raise ValueError(f"one sampling rate is needed, there are several: {listed}")

    def _check_vocabulary(self) -> None:
        heads = _heads("model", self.model)
        if self.teacher is not None:
            heads |= _heads("teacher", self.teacher)
        for name, size in heads.items():
            if size != self.tokenizer.size:
                raise ValueError(
                    f"{name}={size} but the tokenizer of train_data has {self.tokenizer.size} tokens (the end included); "
                    "give the head the tokenizer's size"
                )
        for name, split in self.splits.items():
            if tokenizer_of(split.data).digest != self.tokenizer.digest:
                raise ValueError(
                    f"{name}.data has a tokenizer with digest {tokenizer_of(split.data).digest}, train_data one with "
                    f"{self.tokenizer.digest}; a run has one vocabulary"
                )


def default_metric(model: Model) -> RecogniserMetric | LmMetric:
    """Returns the score that ranks the checkpoints of a run whose experiment names none."""
    return "wer" if isinstance(model, Seq2Seq) else "perplexity"


def recogniser_of(experiment: Experiment) -> Seq2Seq:
    """Returns the experiment's model, a recogniser.

    Raises:
        ValueError: the model is a language model.
    """
    if not isinstance(experiment.model, Seq2Seq):
        raise ValueError(
            f"the experiment's model is a {type(experiment.model).__name__}, a language model: it hears nothing. Give the "
            "experiment of a recogniser; a search can fuse this one with --lm"
        )
    return experiment.model


def _heads(name: str, model: Model) -> dict[str, int]:
    """Returns the vocabulary sizes of a model's heads, by the names of their fields in the experiment."""
    if isinstance(model, Lm):
        return {f"{name}.vocab": model.vocab}
    heads = {f"{name}.decoder.vocab": model.decoder.vocab}
    return heads if model.ctc is None else heads | {f"{name}.ctc.vocab": model.ctc.vocab}
