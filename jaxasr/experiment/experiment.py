"""Experiment: the one frozen tree that a run is. What devices, hosts and folders it runs on is the command's business."""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxasr import tree
from jaxasr.data import Normalize, Pipeline, Tokenize
from jaxasr.decode import Search
from jaxasr.experiment.stages import Stage
from jaxasr.nn import Lm, Seq2Seq
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.training import Distill, Objective, Optimizer, WeightNoise

Model = Seq2Seq | Lm  # a recogniser, or a language model: it is trained on the transcripts of any corpus


@dataclass(frozen=True)
class Split:
    """Something to evaluate on: utterances and the search that decodes them. Nothing of it is ever left out.

    Of a language model nothing is decoded: its splits have no search, and tell how well it foresees the texts.
    """

    data: Pipeline
    search: Search | None = None


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the numbers of a run.

    Raises:
        ValueError: parts that don't fit each other, by the names they have here.
    """

    model: Model
    train_data: Pipeline
    objective: Objective
    optimizer: Optimizer
    steps: int  # batches to train on
    validation: Split  # decoded every `eval_every` steps: what the best checkpoint is chosen by (WER, or perplexity)
    evals: Mapping[str, Split] = field(default_factory=dict)  # decoded at the end, from the best checkpoint
    pretraining: tuple[Stage, ...] = ()  # smaller models that the run begins with; their steps are among `steps`
    eval_every: int = 1_000
    save_every: int = 500
    log_every: int = 50
    teacher: Model | None = None  # whose words are distilled (train.Distill); its parameters come from its own run
    weight_noise: WeightNoise | None = None  # on the parameters in training
    ema_decay: float = 0.0  # a batch, of the averaged parameters, which are those that are evaluated; 0: no averaging
    keep_last: int = 2  # newest checkpoints that stay
    keep_best: int = 1  # best ones that stay besides
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "eval_every", "save_every", "log_every", "keep_last"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; it must be 1 or more")
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
        """That of the training data, and so of the whole run."""
        return tokenizer_of(self.train_data)

    @property
    def stages(self) -> tuple["Experiment", ...]:
        """What is trained one after another, each up to its own `steps` from where the one before ended; the last is this."""
        if not self.pretraining:
            return (self,)
        alone = replace(self, pretraining=())
        smaller = (tree.override(replace(alone, steps=each.until), each.values) for each in self.pretraining)
        return (*smaller, self)

    @property
    def keeps_average(self) -> bool:
        """True: what is evaluated is an average of the parameters, the `average` of the state."""
        return self.ema_decay > 0 or self.optimizer.keeps_average

    @property
    def splits(self) -> dict[str, Split]:
        """All that is evaluated on, by the names that errors use."""
        return {"validation": self.validation, **{f"evals.{name}": split for name, split in self.evals.items()}}

    def _check_pretraining(self) -> None:
        ends = [0, *(each.until for each in self.pretraining), self.steps]
        if any(a >= b for a, b in pairwise(ends)) or any(each % self.log_every for each in ends[:-1]):
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
        """A recogniser hears, and is searched; a language model reads, and nothing is searched."""
        kind, hears = type(self.model).__name__, isinstance(self.model, Seq2Seq)
        pipelines = {"train_data": self.train_data} | {f"{name}.data": each.data for name, each in self.splits.items()}
        for name, pipeline in pipelines.items():
            if pipeline.shapes.audio != hears:
                needed = "Buckets or ChooseBuckets" if hears else "ChooseTokenBuckets"
                raise ValueError(
                    f"model is a {kind}, which reads {'audio' if hears else 'transcripts alone'}, and {name}.shapes are "
                    f"{type(pipeline.shapes).__name__}; give it data.{needed}"
                )
        for name, split in self.splits.items():
            if hears and split.search is None:
                raise ValueError(f"{name} has no search; give it one, such as decode.Beam(8)")
            if not hears and split.search is not None:
                raise ValueError(
                    f"{name} has the search {type(split.search).__name__}, and model is a {kind}, of which the perplexity "
                    "is measured; leave the search out"
                )

    def _check_objective_of_lm(self) -> None:
        wrong = [type(term).__name__ for term in self.objective.extra if not isinstance(term, Distill)]
        if self.objective.ctc_weight > 0 or wrong:
            asked = [f"ctc_weight={self.objective.ctc_weight}"] * (self.objective.ctc_weight > 0) + wrong
            raise ValueError(
                f"objective has {', '.join(asked)}, and model is a {type(self.model).__name__}, which attends to no audio; "
                "cross-entropy and Distill are what it can be trained with"
            )

    def _check_ctc(self, model: Seq2Seq) -> None:
        if self.objective.ctc_weight > 0 and model.ctc is None:
            raise ValueError(
                f"objective.ctc_weight={self.objective.ctc_weight} but model.ctc is None; give the model a CtcHead "
                "or set objective.ctc_weight=0"
            )

    def _check_rates(self, model: Seq2Seq) -> None:
        rates = {"model.frontend": model.frontend.rate_hz, "train_data": self.train_data.rate_hz}
        rates |= {f"{name}.data": split.data.rate_hz for name, split in self.splits.items()}
        if len(set(rates.values())) > 1:
            told = ", ".join(f"{name}.rate_hz={rate}" for name, rate in rates.items())
            raise ValueError(f"one sampling rate is needed, there are several: {told}")

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


def selection_metric(model: Model) -> str:
    """The score that the best checkpoint of a run is chosen by; lower is better."""
    return "wer" if isinstance(model, Seq2Seq) else "perplexity"


def search_of(split: Split) -> Search:
    """The split's search.

    Raises:
        ValueError: it has none, for it is a language model's.
    """
    if split.search is None:
        raise ValueError(
            "a split without a search is a language model's; a recogniser's has one, such as decode.Beam(8)"
        )
    return split.search


def recogniser_of(experiment: Experiment) -> Seq2Seq:
    """The experiment's model, which hears.

    Raises:
        ValueError: it is a language model.
    """
    if not isinstance(experiment.model, Seq2Seq):
        raise ValueError(
            f"the experiment's model is a {type(experiment.model).__name__}, a language model: it hears nothing. Give the "
            "experiment of a recogniser; a search can fuse this one with --lm"
        )
    return experiment.model


def _heads(name: str, model: Model) -> dict[str, int]:
    """Vocabularies by the names they have in the experiment."""
    if isinstance(model, Lm):
        return {f"{name}.vocab": model.vocab}
    heads = {f"{name}.decoder.vocab": model.decoder.vocab}
    return heads if model.ctc is None else heads | {f"{name}.ctc.vocab": model.ctc.vocab}


def tokenizer_of(pipeline: Pipeline) -> Tokenizer:
    """The tokenizer of a pipeline's transforms."""
    return next(each.tokenizer for each in pipeline.transforms if isinstance(each, Tokenize))


def normalizer_of(pipeline: Pipeline) -> str | None:
    """The form that a pipeline's references are scored in; None: as they were prepared."""
    return next((each.kind for each in pipeline.transforms if isinstance(each, Normalize)), None)


def load_function(reference: str, default: str = "experiment") -> Callable[[], Any]:
    """The function that "FILE.py:function" names; of "FILE.py" the default one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has no such function.
    """
    file, _, name = reference.partition(":")
    path, name = Path(file), name or default
    module = load_module(path)
    function = getattr(module, name, None)
    if not callable(function):
        own = [k for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        public = ", ".join(sorted(k for k in own if not k.startswith("_")))
        raise ValueError(f"{path} has no function {name!r}; it has {public or 'none'}")
    return function


def load_module(path: Path) -> ModuleType:
    """The Python file, run anew.

    Raises:
        FileNotFoundError: no such file, or a folder.
        ValueError: it is no Python file.
    """
    if path.is_dir():
        files = ", ".join(sorted(each.name for each in path.glob("*.py")))
        raise FileNotFoundError(f"{path} is a folder, and a Python file is needed; it has {files or 'none'}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; the repository's experiments are under experiments/")
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; an experiment is FILE.py or FILE.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
