"""Exact CTC prefix scores for every token of the vocabulary at once, as a step function beside the decoder's.

The prefix probability of g c is the sum over frames t of phi(t) p(c | t), where phi(t) is the probability that the
frames before t spell g. phi depends on c only where c repeats the last token of g. So the whole vocabulary is one
product [s] x [s, v] per hypothesis, after which the repeated token is corrected. The recursion over the frames runs only
for the tokens that the search has chosen.

Sources: Graves 2008, section 7.5; Watanabe et al. 2017, "Hybrid CTC/attention architecture", algorithm 2.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops import masks
from jaxasr.records import END, pytree


@pytree
@dataclass(frozen=True)
class CtcMemory:
    """The frames of the CTC head. Padding frames have log probability -inf for every label."""

    log_probs_bsv: Float[Array, "b s v"]
    probs_bsv: Float[Array, "b s v"]
    lengths_b: Int[Array, " b"]


@pytree
@dataclass(frozen=True)
class CtcState:
    """A prefix and the log probabilities of all paths that spell it, for every frame at which they may stand."""

    label_bs: Float[Array, "b s"]  # paths over the frames before this one that end in the prefix' last token
    blank_bs: Float[Array, "b s"]  # ... that end in a blank
    whole_b: Float[Array, " b"]  # paths over all frames: the transcript is the prefix
    prefix_b: Float[Array, " b"]  # the transcript starts with the prefix
    last_b: Int[Array, " b"]  # END: the prefix is empty


def begin(log_probs_bsv: Float[Array, "b s v"], lengths_b: Int[Array, " b"]) -> tuple[CtcMemory, CtcState]:
    """Returns the memory of the frames and the state of the empty prefix.

    Args:
        log_probs_bsv: log softmax of the CTC head; blank is token 0. Frames from the length on are not read.
        lengths_b: frames of each example.
    """
    valid_bs = masks.valid_from_lengths(lengths_b, log_probs_bsv.shape[1])
    log_probs_bsv = jnp.where(valid_bs[:, :, None], log_probs_bsv.astype(jnp.float32), -jnp.inf)
    blanks_bs = jnp.where(valid_bs, log_probs_bsv[:, :, END], 0.0)
    after_bs = jnp.cumsum(blanks_bs, axis=1)
    memory = CtcMemory(log_probs_bsv, jnp.exp(log_probs_bsv), lengths_b)
    state = CtcState(
        label_bs=jnp.full_like(blanks_bs, -jnp.inf),
        blank_bs=jnp.pad(after_bs[:, :-1], ((0, 0), (1, 0))),
        whole_b=after_bs[:, -1],
        prefix_b=jnp.zeros_like(after_bs[:, -1]),
        last_b=jnp.full_like(lengths_b, END),
    )
    return memory, state


def step(memory: CtcMemory, state: CtcState, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b v"], CtcState]:
    """Returns the log probability of every next token after the prefix has been extended by `tokens_b` (END: it stays empty).

    Summed along a hypothesis they are its log prefix probability and, with the end (token 0), the log probability of the
    transcript. A token that no path can spell has -inf. A continuation less likely than e-87 of the best alignment counts as
    impossible.
    """
    state = _extend(memory, state, tokens_b)
    spelt_bs = jnp.where(_valid(memory), jnp.logaddexp(state.label_bs, state.blank_bs), -jnp.inf)
    peak_b = jnp.max(spelt_bs, axis=1)
    peak_b = jnp.where(peak_b > -jnp.inf, peak_b, 0.0)
    mass_bs = jnp.exp(spelt_bs - peak_b[:, None])
    masses_bv = jnp.einsum("bs,bsv->bv", mass_bs, memory.probs_bsv, precision=jax.lax.Precision.HIGHEST)
    prefixes_bv = jnp.log(masses_bv) + peak_b[:, None]
    # a repeated token needs a blank before it
    again_b = jax.nn.logsumexp(state.blank_bs + _emissions(memory, tokens_b), axis=1)
    columns = jnp.arange(prefixes_bv.shape[1])[None, :]
    prefixes_bv = jnp.where(columns == tokens_b[:, None], again_b[:, None], prefixes_bv)
    prefixes_bv = jnp.where(columns == END, state.whole_b[:, None], prefixes_bv)
    possible_b = state.prefix_b > -jnp.inf
    follows_bv = prefixes_bv - jnp.where(possible_b, state.prefix_b, 0.0)[:, None]
    return jnp.where(possible_b[:, None], follows_bv, -jnp.inf), state


def _valid(memory: CtcMemory) -> Bool[Array, "b s"]:
    return masks.valid_from_lengths(memory.lengths_b, memory.log_probs_bsv.shape[1])


def _emissions(memory: CtcMemory, tokens_b: Int[Array, " b"]) -> Float[Array, "b s"]:
    """Returns the log probability of one token at each frame."""
    return jnp.take_along_axis(memory.log_probs_bsv, tokens_b[:, None, None], axis=2)[:, :, 0]


def _extend(memory: CtcMemory, state: CtcState, tokens_b: Int[Array, " b"]) -> CtcState:
    """Returns the state of the prefix with one more token; the same state where the token is END."""
    emissions_bs = _emissions(memory, tokens_b)
    repeats_b = tokens_b == state.last_b
    spelt_bs = jnp.where(repeats_b[:, None], state.blank_bs, jnp.logaddexp(state.label_bs, state.blank_bs))

    def frame(before, inputs):
        label_b, blank_b = before
        spelt_b, emission_b, silence_b, valid_b = inputs
        after = jnp.logaddexp(label_b, spelt_b) + emission_b, jnp.logaddexp(label_b, blank_b) + silence_b
        return tuple(jnp.where(valid_b, new, old) for new, old in zip(after, before, strict=True)), before

    nothing_b = jnp.full_like(state.prefix_b, -jnp.inf)
    frames = tuple(leaf.T for leaf in (spelt_bs, emissions_bs, memory.log_probs_bsv[:, :, END], _valid(memory)))
    (label_b, blank_b), (labels_sb, blanks_sb) = jax.lax.scan(frame, (nothing_b, nothing_b), frames)
    whole_b = jnp.logaddexp(label_b, blank_b)
    prefix_b = jax.nn.logsumexp(spelt_bs + emissions_bs, axis=1)
    extended = CtcState(labels_sb.T, blanks_sb.T, whole_b, prefix_b, tokens_b)
    return jax.tree.map(lambda old, new: jnp.where(_beside(tokens_b == END, new), old, new), state, extended)


def _beside(flags_b: Bool[Array, " b"], leaf: Array) -> Array:
    return flags_b.reshape(-1, *[1] * (leaf.ndim - 1))
