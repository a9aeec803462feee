"""Hypotheses with the data for word times and confidences: one compiled function from waves to tokens.

A search gives the tokens. Their times come from CTC forced alignment or from the attention. The decoder's log probability of
each token is computed in a second, teacher-forced pass over the best hypothesis, on the encoder output that is already there.
Beside a beam both are cheap, and a search need not store attention for all of its hypotheses.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxasr import nn
from jaxasr.decode import Beam, Search
from jaxasr.decode.search import GrowableState, step_shapes
from jaxasr.decode.whisper.sampling import NAME as SAMPLING
from jaxasr.decode.whisper.sampling import Sampling
from jaxasr.ops import masks
from jaxasr.ops.ctc_alignment import CtcAlignment, ctc_alignment
from jaxasr.records import END, Batch, Hypotheses, LanguageModel, Start, pytree
from jaxasr.score.no_speech import SpeechEvidence

Times = Literal["auto", "ctc", "attention"]


@pytree
@dataclass(frozen=True)
class DecodedBatch:
    """The best hypothesis of each wave. Entries behind a length are zero."""

    tokens_bu: Int[Array, "b u"]  # without the end
    token_lengths_b: Int[Array, " b"]
    log_probs_b: Float[Array, " b"]  # of the search, all its scorers but the noise of sampling included
    finished_b: Bool[Array, " b"]
    token_log_probs_bu: Float[Array, "b u"]  # of the decoder alone
    hidden_lengths_b: Int[Array, " b"]
    alignment: CtcAlignment | None  # if times come from CTC
    weights_bus: Float[Array, "b u s"] | None  # summed over heads, if times come from the attention
    end_log_probs_b: Float[Array, " b"] | None = None  # of the decoder, for the end behind the tokens
    ctc_log_probs_bu: Float[Array, "b u"] | None = (
        None  # posterior of each token where CTC aligns it; -inf: not possible
    )

    def evidence(self, row: int) -> SpeechEvidence | None:
        """Returns the evidence of the no-speech decision for a row; None if it was not computed or there are no tokens."""
        length = int(self.token_lengths_b[row])
        if self.end_log_probs_b is None or not length:
            return None
        decoder_k = np.exp([*self.token_log_probs_bu[row, :length], self.end_log_probs_b[row]], dtype=np.float64)
        if self.ctc_log_probs_bu is None:
            return SpeechEvidence(float(decoder_k.mean()), None)
        ctc_u = np.exp(self.ctc_log_probs_bu[row, :length], dtype=np.float64)
        return SpeechEvidence(float(decoder_k.mean()), float(ctc_u.mean()))


DecodeFn = Callable[[Any, Batch, Mapping[str, LanguageModel]], DecodedBatch]
SampleFn = Callable[[float, Any, Batch, Mapping[str, LanguageModel]], DecodedBatch]


def compile_decode_fn(model: nn.Seq2Seq, search: Search, *, times: Times = "auto") -> DecodeFn:
    """Returns a function (variables, batch, language models) -> DecodedBatch, which is compiled once per shape.

    The same arguments give the same function, so nothing compiles twice.

    Args:
        times: the source of word times; "auto" is CTC if the model has a CTC head.

    Raises:
        ValueError: "ctc" and the model has no CTC head.
    """
    if times == "ctc" and model.ctc is None:
        raise ValueError(
            "times from CTC and the model has no CTC head: take them from the attention (--times attention)"
        )
    by_ctc = model.ctc is not None and times != "attention"
    if isinstance(search, Beam):
        search = replace(search, alignments=False)
    return _compiled_decode_fn(model, search, by_ctc)  # pyright: ignore[reportArgumentType] - a Linen module is hashable


def compile_sample_fn(model: nn.Seq2Seq, search: Beam, *, times: Times = "auto") -> SampleFn:
    """Returns a function (temperature, variables, batch, language models) -> DecodedBatch for one sample of each example.

    The search becomes a beam of width 1 that draws its tokens (`decode.whisper.sampling`). All temperatures share a program.

    Args:
        times: as in `compile_decode_fn`, which checks it.
    """
    by_ctc = model.ctc is not None and times != "attention"
    narrow = replace(search, width=1, nbest=1, alignments=False)
    return _compiled_sample_fn(model, narrow, by_ctc)  # pyright: ignore[reportArgumentType]


@functools.lru_cache(maxsize=8)
def _compiled_decode_fn(model: nn.Seq2Seq, search: Search, by_ctc: bool) -> DecodeFn:
    return jax.jit(functools.partial(_decode, model, search, by_ctc))


@functools.lru_cache(maxsize=8)
def _compiled_sample_fn(model: nn.Seq2Seq, search: Beam, by_ctc: bool) -> SampleFn:
    @jax.jit
    def sample(temperature: Array, variables: Any, batch: Batch, lms: Mapping[str, LanguageModel]) -> DecodedBatch:
        drawing = replace(search, scorers=(*search.scorers, Sampling(temperature)))
        return _decode(model, drawing, by_ctc, variables, batch, lms)

    return sample


def _decode(
    model: nn.Seq2Seq,
    search: Search,
    by_ctc: bool,
    variables: Any,
    batch: Batch,
    lms: Mapping[str, LanguageModel],
) -> DecodedBatch:
    model_alone = nn.Recogniser(model, variables)
    start = model_alone.start(batch)
    found = search(_EncodedRecogniser(model, variables, lms, start), batch)
    tokens_bu = found.tokens_bwu[:, 0]
    lengths_b = found.token_lengths_bw[:, 0]
    log_probs_bu, end_b, weights_bus = _teacher_forced(model_alone, start, tokens_bu, lengths_b, attention=not by_ctc)
    alignment = None
    ctc_log_probs_bu = None
    if start.ctc_log_probs_bsv is not None:
        alignment = ctc_alignment(start.ctc_log_probs_bsv, start.hidden_lengths_b, tokens_bu, lengths_b)
        ctc_log_probs_bu = jnp.where(alignment.possible_b[:, None], alignment.token_log_probs_bu, -jnp.inf)
    return DecodedBatch(
        tokens_bu,
        lengths_b,
        _without_noise(search, found),
        found.finished_bw[:, 0],
        log_probs_bu,
        start.hidden_lengths_b,
        alignment if by_ctc else None,
        None if by_ctc else weights_bus,
        end_b,
        ctc_log_probs_bu,
    )


def _without_noise(search: Search, found: Hypotheses) -> Float[Array, " b"]:
    """Returns the log probabilities of the best hypotheses without the noise of sampling."""
    names = search.scorer_names if isinstance(search, Beam) else ()
    if SAMPLING not in names or found.scores_by_scorer_bwk is None:
        return found.log_probs_bw[:, 0]
    return found.log_probs_bw[:, 0] - found.scores_by_scorer_bwk[:, 0, names.index(SAMPLING)]


@dataclass(frozen=True)
class _EncodedRecogniser(nn.Recogniser):
    """A recogniser whose batch is encoded already."""

    begun: Start | None = None

    def start(self, batch: Batch) -> Start:
        del batch
        assert self.begun is not None
        return self.begun


def _teacher_forced(
    recogniser: nn.Recogniser,
    start: Start,
    tokens_bu: Int[Array, "b u"],
    lengths_b: Int[Array, " b"],
    *,
    attention: bool,
) -> tuple[Float[Array, "b u"], Float[Array, " b"], Float[Array, "b u s"]]:
    """Returns the log probability of each token given those before it, that of the end behind them, and the attention.

    The attention has s = 0 if it is not wanted.
    """
    b, u = tokens_bu.shape
    tokens_bk = jnp.pad(tokens_bu, ((0, 0), (0, 1)), constant_values=END)  # k = u + 1
    state = start.state.with_capacity(u + 1) if isinstance(start.state, GrowableState) else start.state
    positions = step_shapes(recogniser, start).weights_bhs.shape[-1] if attention else 0

    def step(carry):
        i, state, log_probs_kb, weights_kbs = carry
        before_b = jnp.where(i > 0, tokens_bk[:, jnp.maximum(i - 1, 0)], END)
        out = recogniser.step(start.memory, state, before_b)
        inside_b = i < lengths_b
        target_b = jnp.where(inside_b, tokens_bk[:, i], END)
        target_log_probs_b = jnp.take_along_axis(out.log_probs_bv, target_b[:, None], axis=1)[:, 0]
        weights_bs = jnp.sum(out.weights_bhs.astype(jnp.float32), axis=1)[:, :positions]
        return (
            i + 1,
            out.state,
            log_probs_kb.at[i].set(target_log_probs_b.astype(jnp.float32)),
            weights_kbs.at[i].set(jnp.where(inside_b[:, None], weights_bs, 0.0)),
        )

    begun = (jnp.int32(0), state, jnp.zeros((u + 1, b)), jnp.zeros((u + 1, b, positions)))
    _, _, log_probs_kb, weights_kbs = jax.lax.while_loop(lambda carry: carry[0] <= jnp.max(lengths_b), step, begun)
    end_b = jnp.take_along_axis(log_probs_kb, lengths_b[None], axis=0)[0]
    tokens_valid_bu = masks.valid_from_lengths(lengths_b, u)
    return jnp.where(tokens_valid_bu, log_probs_kb[:u].T, 0.0), end_b, jnp.moveaxis(weights_kbs[:u], 0, 1)
