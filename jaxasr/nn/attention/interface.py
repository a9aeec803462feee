"""The interface of attentions, for decoders and for authors of attentions, with the records that pass through it.

An attention prepares a memory once an utterance. Then it computes weights over the positions of the memory for each query,
step by step. The context is the mean of the values under the weights. Decoders use the interface alone, so any attention
fits any of them. Every attention returns its weights, one row a head, so that its alignments can be monitored.

An attention may have two forms. The memory of a training step holds `Memory.training`, and then `step` computes the training
form: expected, noisy or drawn weights. Without it `step` computes the decode form, which a search uses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxasr.nn.module import Module
from jaxasr.ops import random
from jaxasr.ops.attention.energies import read
from jaxasr.ops.recurrent.scan import Linear, scan
from jaxasr.records import Draws, Training, pytree
from jaxasr.shapes import PRNGKey

# over positions, of a position's probability times the decoder's token probabilities there
Marginalisation = Literal["sum", "max"]


@pytree
@dataclass(frozen=True)
class Randomness:
    """The random numbers of an attention in training, by example, and the step of the run."""

    key_b2: UInt32[Array, "b 2"]  # a threefry key for each example
    step: Int[Array, ""]  # batches trained on so far

    def uniform(self, position_b: Int[Array, " b"], shape: tuple[int, ...]) -> Float[Array, "b ..."]:
        """Returns numbers in [0, 1) for each example at this position of its transcript.

        Padding axis 1 to any length changes none of them.
        """
        return self._draw(jax.random.uniform, position_b, shape)

    def normal(self, position_b: Int[Array, " b"], shape: tuple[int, ...]) -> Float[Array, "b ..."]:
        """Returns normal numbers of mean 0 and variance 1, otherwise as `uniform`."""
        return self._draw(jax.random.normal, position_b, shape)

    def _draw(self, sample: Callable[..., Array], position_b: Array, shape: tuple[int, ...]) -> Float[Array, "b ..."]:
        def draw(key_2: Array, position: Array) -> Array:
            return sample(jax.random.fold_in(jax.random.wrap_key_data(key_2), position), shape)

        return jax.vmap(draw)(self.key_b2, position_b)


@pytree
@dataclass(frozen=True)
class Memory:
    """An encoded utterance prepared by an attention; it is constant over the steps. In a search each leaf begins with b."""

    keys: Any  # in the form of the attention, most often [b, s, d]
    values_bse: Float[Array, "b s e"]
    valid_bs: Bool[Array, "b s"]
    training: Randomness | None = None
    focus: Any = ()  # of `AlignmentFn.prepare`
    counts_bh: Float[Array, "b 1"] | None = None  # of tokens, where an attention counts them in training


@pytree
@dataclass(frozen=True)
class Mixture:
    """The w likeliest positions to read, likeliest first, for a decoder that mixes its token probabilities at each."""

    positions_bw: Int[Array, "b w"]
    valid_bw: Bool[Array, "b w"]  # False: the utterance has fewer positions
    log_probs_bw: Float[Array, "b w"]  # renormalised over the w; arbitrary but finite where not valid


@pytree
@dataclass(frozen=True)
class AttentionOutput:
    """The weights of an attention for one query, zero at padding, and its new state. A head's weights sum to at most 1."""

    weights_bhs: Float[Array, "b h s"]
    state: Any
    draw: Draws | None = None  # of this one position, u = 1, if the weights are drawn
    mixture: Mixture | None = None  # if the attention has `marginalisation`


@pytree
@dataclass(frozen=True)
class SequenceAttentionOutput:
    """The weights of an attention for the queries of a whole transcript."""

    weights_buhs: Float[Array, "b u h s"]
    draws: Draws | None = None


@pytree
@dataclass(frozen=True)
class ContextAndWeights:
    """The result of one whole step: the context that is read, its weights, and the attention's new state."""

    context_be: Float[Array, "b e"]
    weights_bhs: Float[Array, "b h s"]
    state: Any


class Attention(Module):
    """The interface of attentions. An attention overrides `prepare`, `initial_state` and `step`; its state is a pytree.

    An attention with several heads or samples has a property of that name, or a field `heads: int = dataclasses.field()`.
    """

    # without annotations, because Flax would put a subclass's fields of these names before all others
    heads = 1  # rows of weights; each reads its own share of the values' columns
    samples = 1  # draws of the context in training; a decoder repeats each example as often

    @property
    def marginalisation(self) -> Marginalisation | None:
        """The way a decoder mixes the positions of `AttentionOutput.mixture`; None: there is no mixture."""
        return None

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        """Projects the encoder's output once for the whole utterance."""
        raise TypeError(f"{type(self).__name__} is an Attention without prepare()")

    def initial_state(self, memory: Memory) -> Any:
        """Returns the state before the first step."""
        raise TypeError(f"{type(self).__name__} is an Attention without initial_state()")

    def step(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> AttentionOutput:
        """Returns the weights of the positions for the query, and the new state."""
        raise TypeError(f"{type(self).__name__} is an Attention without step()")

    def decoder_init(self, memory: Memory) -> Float[Array, "b e"] | None:
        """Returns the initial value of the decoder's own state; None: zeros."""
        return None

    def attend_sequence(self, queries_bud: Float[Array, "b u d"], memory: Memory) -> SequenceAttentionOutput:
        """Returns the weights for all queries, by `step` from the initial state. Stateless attentions override it.

        Raises:
            ValueError: the attention has `marginalisation`, for which a decoder has to step.
        """
        if self.marginalisation is not None:
            raise ValueError(
                f"{type(self).__name__} gives a mixture of positions, which this decoder can't read; give it to a Speller, "
                "or take another focus than LatentAttention"
            )
        state = self.initial_state(memory)
        if self.is_initializing():
            self.step(queries_bud[:, 0], memory, state)
        module, variables = self.unbind()

        def step(_: Linear, constants: Any, state: Any, query_bd: Array) -> tuple[Any, tuple[Array, Draws | None]]:
            variables, memory = constants
            output: AttentionOutput = module.apply(variables, query_bd, memory, state, method="step")  # pyright: ignore
            return output.state, (output.weights_bhs, output.draw)

        _, (weights_ubhs, draws) = scan(step, {}, (variables, memory), state, queries_bud.swapaxes(0, 1))
        return SequenceAttentionOutput(weights_ubhs.swapaxes(0, 1), along_time(draws))

    def __call__(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> ContextAndWeights:
        """Returns the context for a query with its weights."""
        output = self.step(query_bd, memory, state)
        return ContextAndWeights(read(output.weights_bhs, memory.values_bse), output.weights_bhs, output.state)

    def randomness(self, training: Training | None) -> Randomness | None:
        """Returns the random numbers that `prepare` puts into the memory, from the random stream "draw"."""
        return None if training is None else randomness_of(self.make_rng("draw"), training)


def randomness_of(key: PRNGKey, training: Training) -> Randomness:
    """Returns the random numbers of these examples under this key."""
    keys_b = random.example_keys(key, jax.numpy.asarray(training.ids_b))
    return Randomness(jax.random.key_data(keys_b), jax.numpy.asarray(training.step))


def along_time(draws: Draws | None) -> Draws | None:
    """Returns the draws of u stacked steps, [u, b, 1], as those of a transcript, [b, u]."""
    return jax.tree.map(lambda leaf: leaf[..., 0].swapaxes(0, 1), draws)
