"""Minimum word error rate training: the expected errors of the model's own n best, instead of the likelihood alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxasr.ops.edit_distance import Sequences, Spelling, edit_distance, words_of
from jaxasr.ops.masks import zero_tokens
from jaxasr.records import Batch, Hypotheses, NBest, Sum
from jaxasr.training.auxiliary import LossInputs, LossOutput
from jaxasr.tree import check_numbers

LETTER_FACTOR = 0x01000193  # P of ops.edit_distance.Spelling


@dataclass(frozen=True)
class ExpectedErrors:
    """The expected-error loss: the sum over the n best of p^ (errors - mean errors).

    p^ are the model's probabilities renormalised over the n best. Each step decodes the batch with the current model, without
    gradient, and scores the hypotheses by teacher forcing in the training form (`Outputs.n_best`). Some cross-entropy keeps
    the model stable: the paper uses 0.01 of it, which is Objective(base_weight=0.01) with weight 1 here. Start from a trained
    model. Each step costs one search and n runs of the decoder.

    Source: Prabhavalkar et al. 2018 (1712.01818), equations 3, 8 and 9.
    """

    search: Callable[[Any, Batch], Hypotheses]  # such as decode.Beam(4, nbest=4)
    weight: float = 1.0
    unit: Literal["word", "token"] = "word"
    spelling: Spelling | None = field(default=None, compare=False, metadata={"show": False})  # set when a run begins

    def __post_init__(self):
        check_numbers(self)
        if not self.weight >= 0.0:
            raise ValueError(f"ExpectedErrors.weight is {self.weight}; it must be 0 or more")

    @property
    def name(self) -> str:
        """The name of the loss in metrics."""
        return "expected_errors"

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """Returns the loss summed over the batch.

        Raises:
            ValueError: there is no n-best list, or the spelling of the tokens is unknown.
        """
        n_best = inputs.outputs.n_best
        if n_best is None or (self.unit == "word" and self.spelling is None):
            raise ValueError(
                "objective.auxiliary has ExpectedErrors, which needs the n best of the model and the spelling of its tokens; "
                "both come with a run (run/initial_state.py)"
            )
        references = self._units(inputs.tokens_bu, inputs.token_lengths_b)
        errors_bw = self._errors(references, n_best).astype(jnp.float32)
        valid_bw = n_best.valid_bw & inputs.real_b[:, None]
        hypotheses_b1 = jnp.sum(valid_bw, axis=1, keepdims=True)
        mean_b1 = jnp.sum(jnp.where(valid_bw, errors_bw, 0.0), axis=1, keepdims=True) / jnp.maximum(hypotheses_b1, 1)
        shares_bw = jnp.where(valid_bw, jax.nn.softmax(jnp.where(valid_bw, n_best.log_probs_bw, -1e30)), 0.0)
        value = jnp.sum(shares_bw * jnp.where(valid_bw, errors_bw - mean_b1, 0.0))
        units = jnp.sum(jnp.where(inputs.real_b, references.lengths_b, 0)).astype(jnp.float32)
        expected = jnp.sum(shares_bw * jnp.where(valid_bw, errors_bw, 0.0))
        return LossOutput(value, {"expected_error_rate": Sum(expected, units)})

    def _units(self, tokens_bu: Int[Array, "b u"], lengths_b: Int[Array, " b"]) -> Sequences:
        if self.spelling is None or self.unit == "token":
            return Sequences(tokens_bu, lengths_b)
        return words_of(tokens_bu, lengths_b, self.spelling)

    def _errors(self, references: Sequences, n_best: NBest) -> Int[Array, "b w"]:
        b, w, _ = n_best.tokens_bwu.shape
        hypotheses = self._units(n_best.tokens_bwu.reshape(b * w, -1), n_best.token_lengths_bw.reshape(-1))
        repeated = Sequences(*(jnp.repeat(leaf, w, axis=0) for leaf in references))
        return edit_distance(repeated, hypotheses).reshape(b, w)


def spelling_of(texts: list[str]) -> Spelling:
    """Returns the spelling of tokens from their texts. Token 0 has no text; a token that begins a word begins with a space.

    Raises:
        ValueError: a token writes a space behind its first letter, so that it can't be said which word it belongs to.
    """
    wide = [text for text in texts if " " in text[1:]]
    if wide:
        raise ValueError(f"tokens that hold parts of two words: {wide[:5]}; count errors with unit='token'")
    hashes = np.zeros(len(texts), np.uint32)
    powers = np.ones(len(texts), np.uint32)
    for token, text in enumerate(texts):
        letters = text.strip()
        code = 0
        for letter in letters:
            code = (code * LETTER_FACTOR + ord(letter) + 1) % 2**32
        hashes[token] = code
        powers[token] = pow(LETTER_FACTOR, len(letters), 2**32)
    begins = np.array([text.startswith(" ") for text in texts])
    return Spelling(jnp.asarray(hashes), jnp.asarray(powers), jnp.asarray(begins))


def log_probs_of(
    logits_xuv: Float[Array, "x u v"], tokens_bwu: Int[Array, "b w k"], lengths_bw: Int[Array, "b w"]
) -> Float[Array, "b w"]:
    """Returns the log probability of each hypothesis with its end, in float32; several samples are averaged.

    Args:
        logits_xuv: teacher-forced, u = k + 1; x = b * w times the samples, side by side.
    """
    b, w, k = tokens_bwu.shape
    samples = logits_xuv.shape[0] // (b * w)
    lengths_x = jnp.repeat(lengths_bw.reshape(-1), samples)
    valid_xu = jnp.arange(k + 1)[None] <= lengths_x[:, None]
    targets_xu = jnp.pad(zero_tokens(tokens_bwu.reshape(b * w, k), lengths_bw.reshape(-1)), ((0, 0), (0, 1)))
    targets_xu = jnp.repeat(targets_xu, samples, axis=0)
    log_probs_xuv = jax.nn.log_softmax(logits_xuv.astype(jnp.float32))
    chosen_xu = jnp.take_along_axis(log_probs_xuv, targets_xu[..., None], axis=-1)[..., 0]
    return jnp.sum(jnp.where(valid_xu, chosen_xu, 0.0), axis=1).reshape(b, w, samples).mean(axis=-1)
