"""The variables of a trained run, read from its checkpoints: without its data, and without disturbing a running run."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import jax

from jaxasr import nn, tree
from jaxasr.data import Shape
from jaxasr.experiment.experiment import Experiment, Model, default_metric
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import Batch
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.training import Metadata, SavedCheckpoints, Which, average_checkpoints

# fields that a run can be decoded with another value of: those without parameters that evaluation does not read, and padding
_CHOICES_OF_INFERENCE = ("model.augment", "model.noise", "model.frontend.pad_s")

Choice = Which | Literal["mean"]  # mean: of the parameters of all checkpoints that are kept


@dataclass(frozen=True)
class TrainedVariables:
    """The variables of a checkpoint that is whole."""

    variables: Any
    metadata: Metadata
    step: int | Literal["mean"]  # of the checkpoint; not the one that was asked for if that is damaged
    trained: int  # the newest step of the run that is not damaged, as far as it was read


def trained_variables(experiment: Experiment, workdir: Workdir, which: Choice = "best") -> tuple[Any, Metadata]:
    """Returns the variables that the experiment's model is decoded with, and the metadata of their checkpoint.

    If the best or the last checkpoint is damaged, the next one is taken and a line on stderr names both.

    Raises:
        FileNotFoundError: no such run or checkpoint.
        DamagedCheckpointError: no checkpoint is whole, or the one with this number or one of "mean" is not.
        ValueError: the checkpoint holds another model, was trained with another vocabulary, or its evaluation has no score
            of the name `experiment.ranked_by`.
    """
    found = restore_variables(experiment.model, experiment.tokenizer, workdir, which, by=experiment.ranked_by)
    return found.variables, found.metadata


def variables_of(model: Model, tokenizer: Tokenizer, workdir: Workdir, which: Choice = "best") -> tuple[Any, Metadata]:
    """Returns the variables of any run with this model and vocabulary, and the metadata of their checkpoint.

    The parameters are the average if the run keeps one, else the last ones. Errors are those of `trained_variables`.
    """
    found = restore_variables(model, tokenizer, workdir, which)
    return found.variables, found.metadata


def restore_variables(
    model: Model, tokenizer: Tokenizer, workdir: Workdir, which: Choice = "best", *, by: str = ""
) -> TrainedVariables:
    """Returns the variables of a run, and the checkpoint that they are from. Errors are those of `trained_variables`.

    Args:
        by: the score that ranks the checkpoints; "": the one that the run's own experiment names.
    """
    checkpoints = SavedCheckpoints(workdir.checkpoints, by=by or ranked_by(model, workdir))
    blank = variable_shapes(model)

    def read(step: int) -> TrainedVariables:
        metadata = checkpoints.metadata(step)
        _check_same_model(model, tokenizer, metadata, workdir)
        field = "ema_params" if checkpoints.holds(step, "train/ema_params") else "params"
        statistics = {name: collection for name, collection in blank.items() if name != "params"}
        like = {"train": {field: blank["params"], "statistics": statistics}}
        if which == "mean":
            fingerprints = {other: checkpoints.metadata(other).fingerprint for other in checkpoints.steps()}
            steps = [other for other, fingerprint in fingerprints.items() if fingerprint == metadata.fingerprint]
            saved = average_checkpoints(checkpoints, steps, like)  # without those of pretraining
        else:
            saved, _ = checkpoints.restore_part(step, like)
        variables = {"params": saved["train"][field], **saved["train"]["statistics"]}
        return TrainedVariables(variables, metadata, which if which == "mean" else step, checkpoints.last_whole())

    if which == "mean":  # of all; a damaged one is an error
        return read(checkpoints.find("last"))
    if which == "best" and checkpoints.steps() == [0] and checkpoints.metadata(0).is_imported:
        which = 0  # nothing was evaluated when it was imported
    return checkpoints.first_whole(which, read)


def ranked_by(model: Model, workdir: Workdir) -> str:
    """Returns the score that ranks the checkpoints of a run by the experiment that it was trained with."""
    checkpoints = SavedCheckpoints(workdir.checkpoints)
    newest = checkpoints.last_whole()
    lines = checkpoints.metadata(newest).experiment.splitlines() if newest else []
    values = dict(line.split(" = ", 1) for line in lines)
    return json.loads(values.get("selection_metric", "None").replace("None", "null")) or default_metric(model)


def _check_same_model(model: Model, tokenizer: Tokenizer, metadata: Metadata, workdir: Workdir) -> None:
    if metadata.tokenizer != tokenizer.digest:
        raise ValueError(
            f"{workdir.path} was trained with the vocabulary {metadata.tokenizer}, the experiment has "
            f"{tokenizer.digest}: what its tokens mean is lost. Bring back the tokenizer it was trained with"
        )
    there = "\n".join(line for line in metadata.experiment.splitlines() if line.startswith("model"))
    here = {"model": model}
    lines = tree.difference(there, tree.render(here), new_defaults=tree.defaults(here))
    differing = [line for line in lines if not tree.is_below(line, _CHOICES_OF_INFERENCE)]
    if differing:
        raise ValueError(
            f"{workdir.path} holds another model. From there -> to this experiment:\n  " + "\n  ".join(differing) + "\n"
            "Give the experiment that it was trained with, overrides included; experiment.txt in the folder has it. "
            "A run that is still in its pretraining holds a smaller model than its own"
        )


def variable_shapes(model: Model) -> Any:
    """Returns the shapes of the variables, which do not depend on the batch."""
    samples = model.frontend.rate_hz if isinstance(model, nn.Seq2Seq) else 0
    batch = Batch.blank(Shape(samples=samples, tokens=1, examples=1))
    return jax.eval_shape(lambda batch: model.init(jax.random.key(0), batch, step=None), batch)
