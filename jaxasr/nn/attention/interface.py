"""What every attention is: a way to weigh the positions of a memory, step by step.

A mechanism prepares the memory once an utterance and then weighs it for each query; what is read is the mean of the values
under the weights. A decoder holds an `Attention` and does not know which one. Weights always come back, one row a head,
so that alignments can be watched for every mechanism.

A mechanism may have two forms. The memory of a training step says whose it is (`Memory.training`), and then `weigh` gives the
training form: expected, noisy or drawn. Without it `weigh` gives the decode form, the one that a search uses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxasr.ops import random
from jaxasr.ops.attention.energies import read
from jaxasr.ops.recurrent.scan import Linear, scan
from jaxasr.records import Draws, Training, pytree
from jaxasr.shapes import PRNGKey

Mixing = Literal["sum", "max"]  # over positions, of probability times what the decoder would say there


@pytree
@dataclass(frozen=True)
class Randomness:
    """What a mechanism draws from in training, and how far the run is."""

    key_b2: UInt32[Array, "b 2"]  # a threefry key for each example
    step: Int[Array, ""]  # batches trained on so far

    def uniform(self, position_b: Int[Array, " b"], shape: tuple[int, ...]) -> Float[Array, "b ..."]:
        """Numbers in [0, 1) for each example at this position of its transcript; axis 1 may be padded at will."""
        return self._draw(jax.random.uniform, position_b, shape)

    def normal(self, position_b: Int[Array, " b"], shape: tuple[int, ...]) -> Float[Array, "b ..."]:
        """The same, of mean 0 and variance 1."""
        return self._draw(jax.random.normal, position_b, shape)

    def _draw(self, sample: Callable[..., Array], position_b: Array, shape: tuple[int, ...]) -> Float[Array, "b ..."]:
        def draw(key_2: Array, position: Array) -> Array:
            return sample(jax.random.fold_in(jax.random.wrap_key_data(key_2), position), shape)

        return jax.vmap(draw)(self.key_b2, position_b)


@pytree
@dataclass(frozen=True)
class Memory:
    """An encoded utterance as an attention wants it; made once, never changed. In a search each leaf begins with b."""

    keys: Any  # as the mechanism wants them: most often [b, s, d]
    values_bse: Float[Array, "b s e"]
    valid_bs: Bool[Array, "b s"]
    training: Randomness | None = None
    focus: Any = ()  # what `Focus.prepare` gave


@pytree
@dataclass(frozen=True)
class Mixture:
    """The w likeliest positions to read, likeliest first, for a decoder that mixes what it would say to each."""

    positions_bw: Int[Array, "b w"]
    valid_bw: Bool[Array, "b w"]  # False: there are not so many positions
    log_probs_bw: Float[Array, "b w"]  # renormalised over the w; anything finite where not valid


@pytree
@dataclass(frozen=True)
class Weighed:
    """What a mechanism says to one query. Weights are zero at padding; those of a head sum to at most 1."""

    weights_bhs: Float[Array, "b h s"]
    state: Any
    draw: Draws | None = None  # of this one position, u = 1, where the weights were drawn
    mixture: Mixture | None = None  # where the mechanism has `mixing`


@pytree
@dataclass(frozen=True)
class WeighedAll:
    """What a mechanism says to the queries of a whole transcript."""

    weights_buhs: Float[Array, "b u h s"]
    draws: Draws | None = None


@pytree
@dataclass(frozen=True)
class Read:
    """One whole step: what was read, under which weights, and what the mechanism carries on."""

    context_be: Float[Array, "b e"]
    weights_bhs: Float[Array, "b h s"]
    state: Any


class Attention(nn.Module):
    """The interface. A mechanism overrides `prepare`, `initial_state` and `weigh`; its state is any pytree over b.

    One with several heads or samples has a property of that name, or a field written `heads: int = dataclasses.field()`.
    """

    # without annotations, or Flax would put a subclass's fields of these names before all others
    heads = 1  # rows of weights; each reads its own share of the values' columns
    samples = 1  # how often a decoder repeats each example in training, because what is read is drawn

    @property
    def mixing(self) -> Mixing | None:
        """How a decoder mixes the positions of `Weighed.mixture`; None: there is none."""
        return None

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        """Projects the encoder's output once for the whole utterance."""
        raise TypeError(f"{type(self).__name__} is an Attention without prepare()")

    def initial_state(self, memory: Memory) -> Any:
        """What the mechanism carries from step to step, before the first one."""
        raise TypeError(f"{type(self).__name__} is an Attention without initial_state()")

    def weigh(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> Weighed:
        """How much each position matters to the query."""
        raise TypeError(f"{type(self).__name__} is an Attention without weigh()")

    def summary(self, memory: Memory) -> Float[Array, "b e"] | None:
        """What the decoder's own state begins with; None: with zeros."""
        return None

    def weigh_all(self, queries_bud: Float[Array, "b u d"], memory: Memory) -> WeighedAll:
        """`weigh` for query after query, from the initial state. One without a state does it in one product.

        Raises:
            ValueError: the mechanism has `mixing`, for which a decoder has to step.
        """
        if self.mixing is not None:
            raise ValueError(
                f"{type(self).__name__} gives a mixture of positions, which this decoder can't read; give it to a Speller, "
                "or take another focus than Latent"
            )
        state = self.initial_state(memory)
        if self.is_initializing():
            self.weigh(queries_bud[:, 0], memory, state)
        module, variables = self.unbind()

        def step(_: Linear, constants: Any, state: Any, query_bd: Array) -> tuple[Any, tuple[Array, Draws | None]]:
            variables, memory = constants
            weighed: Weighed = module.apply(variables, query_bd, memory, state, method="weigh")  # pyright: ignore
            return weighed.state, (weighed.weights_bhs, weighed.draw)

        _, (weights_ubhs, draws) = scan(step, {}, (variables, memory), state, queries_bud.swapaxes(0, 1))
        return WeighedAll(weights_ubhs.swapaxes(0, 1), along_time(draws))

    def __call__(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> Read:
        """Weighs and reads."""
        weighed = self.weigh(query_bd, memory, state)
        return Read(read(weighed.weights_bhs, memory.values_bse), weighed.weights_bhs, weighed.state)

    @property
    def lookback(self) -> int:
        """Positions before that of the last stop which the decode form may still read; those behind it, it may all read.

        Raises:
            ValueError: it reads on from no stop, so it can't attend to a stream; the message says what can.
        """
        raise ValueError(
            f"{type(self).__name__} weighs positions of the whole utterance; a stream needs AdditiveAttention or "
            "ProductAttention with a focus that is Monotonic or Chunkwise (MoChA)"
        )

    def stopped(self, state: Any) -> Int[Array, " b"]:
        """The position of the last stop, at which the decode form reads on. Errors as `lookback`."""
        raise TypeError(f"{type(self).__name__} is an Attention without stopped(): {self.lookback}")

    def moved(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """The decode form's state where the memory begins so many positions later; never before its first one."""
        raise TypeError(f"{type(self).__name__} is an Attention without moved(): {self.lookback}")

    def randomness(self, training: Training | None) -> Randomness | None:
        """What `prepare` puts into the memory, from the random stream "draw"."""
        return None if training is None else randomness_of(self.make_rng("draw"), training)


def randomness_of(key: PRNGKey, training: Training) -> Randomness:
    """What each of these examples draws from, under this key."""
    keys_b = random.example_keys(key, jax.numpy.asarray(training.ids_b))
    return Randomness(jax.random.key_data(keys_b), jax.numpy.asarray(training.step))


def along_time(draws: Draws | None) -> Draws | None:
    """The draws of steps stacked in front, u of [u, b, 1], as those of a transcript [b, u]."""
    return jax.tree.map(lambda leaf: leaf[..., 0].swapaxes(0, 1), draws)
