"""The variables of a run, read back to be used: without its data, and without disturbing it if it is still training."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxasr import nn, tree
from jaxasr.experiment.experiment import Experiment, Model, decided_by
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import Batch
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.training import Checkpoints, Metadata, Which, average_checkpoints

Choice = Which | Literal["mean"]  # mean: of the parameters of all checkpoints that are kept


def trained_variables(experiment: Experiment, workdir: Workdir, which: Choice = "best") -> tuple[Any, Metadata]:
    """What the model is decoded with, and what wrote it.

    Raises:
        FileNotFoundError: no such run or checkpoint.
        ValueError: the checkpoint is of another model, or was trained with another vocabulary.
    """
    return variables_of(experiment.model, experiment.tokenizer, workdir, which)


def variables_of(model: Model, tokenizer: Tokenizer, workdir: Workdir, which: Choice = "best") -> tuple[Any, Metadata]:
    """The same of any run whose model and vocabulary are these. The average of a run that makes none is its parameters."""
    blank: Any = jax.eval_shape(lambda: _fresh_variables(model))
    statistics = {name: tree for name, tree in blank.items() if name != "params"}
    like = {"train": {"average": blank["params"], "statistics": statistics}}
    with Checkpoints(workdir.checkpoints, by=decided_by(model), mode="read") as checkpoints:
        there: Which = "last" if which == "mean" else which
        _refuse_another(model, tokenizer, checkpoints.metadata(there), workdir)
        saved, metadata = checkpoints.restore_part(there, like)
        if which == "mean":
            alike = [
                each for each in checkpoints.steps() if checkpoints.metadata(each).fingerprint == metadata.fingerprint
            ]
            saved = average_checkpoints(checkpoints, alike, like)  # but those of pretraining
    return {"params": saved["train"]["average"], **saved["train"]["statistics"]}, metadata


def _refuse_another(model: Model, tokenizer: Tokenizer, metadata: Metadata, workdir: Workdir) -> None:
    if metadata.tokenizer != tokenizer.digest:
        raise ValueError(
            f"{workdir.path} was trained with the vocabulary {metadata.tokenizer}, the experiment has "
            f"{tokenizer.digest}: what its tokens mean is lost. Bring back the tokenizer it was trained with"
        )
    there = "\n".join(line for line in metadata.experiment.splitlines() if line.startswith("model"))
    here = {"model": model}
    differing = tree.difference(there, tree.render(here), new_defaults=tree.defaults(here))
    if differing:
        raise ValueError(
            f"{workdir.path} holds another model. From there -> to this experiment:\n  " + "\n  ".join(differing) + "\n"
            "Give the experiment that it was trained with, overrides included; experiment.txt in the folder has it. "
            "A run that is still in its pretraining holds a smaller model than its own"
        )


def _fresh_variables(model: Model) -> Any:
    """Variables as they are initialised; their shapes do not depend on the batch."""
    one = jnp.ones(1, jnp.int32)
    samples = model.frontend.rate_hz if isinstance(model, nn.Seq2Seq) else 0
    batch = Batch(
        wave_bn=jnp.zeros((1, samples), jnp.int16),
        sample_lengths_b=one,
        tokens_bu=jnp.zeros((1, 1), jnp.int32),
        token_lengths_b=one,
        ids_b=jnp.zeros(1, jnp.uint32),
        valid_b=jnp.ones(1, bool),
    )
    return model.init(jax.random.key(0), batch, step=None)
