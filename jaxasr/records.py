"""What flows down the river: corpus -> Batch -> Outputs -> Hypotheses -> errors -> result.

Every record is a frozen dataclass, and those that enter a compiled step are pytrees. Token 0 is the *end* symbol; it
also starts the speller and is the blank of CTC, so of a vocabulary of v tokens v - 1 can stand in a transcript.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int16, UInt32

END = 0  # end of sentence, start of sentence, and the blank of CTC

if TYPE_CHECKING:
    AnyArray = Any  # a batch is NumPy's in the loader and JAX's in the step; neither side should have to say so
else:
    AnyArray = Array | np.ndarray

T = TypeVar("T")


def pytree(cls: type[T]) -> type[T]:
    """Registers a frozen dataclass as a pytree. Shapes are checked at construction, not when JAX rebuilds a node."""
    names = tuple(field.name for field in fields(cls))  # pyright: ignore[reportArgumentType]

    def flatten(node: T):
        return [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in names], None

    def unflatten(_: None, leaves: Iterable[Any]) -> T:
        node = object.__new__(cls)
        for name, leaf in zip(names, leaves, strict=True):
            object.__setattr__(node, name, leaf)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls


@runtime_checkable
class BatchShape(Protocol):
    """The static shape of a batch."""

    @property
    def examples(self) -> int:
        """The rows."""
        ...

    @property
    def samples(self) -> int:
        """The samples of the longest waveform; 0 in batches of transcripts alone."""
        ...

    @property
    def tokens(self) -> int:
        """The tokens of the longest transcript, without the end symbol."""
        ...


@pytree
@dataclass(frozen=True)
class Batch:
    """Utterances padded to a static shape. Padding is zero; a row with `valid_b` False is padding as a whole."""

    wave_bn: Int16[AnyArray, "b n"]  # PCM, 16 bits
    sample_lengths_b: Int[AnyArray, " b"]
    tokens_bu: Int[AnyArray, "b u"]  # without the end symbol
    token_lengths_b: Int[AnyArray, " b"]
    ids_b: UInt32[AnyArray, " b"]  # hash of the example (and its speed), never its row
    valid_b: Bool[AnyArray, " b"]

    @classmethod
    def blank(cls, shape: BatchShape) -> "Batch":
        """Returns a batch of this shape that is padding as a whole, in NumPy arrays."""
        b = shape.examples
        return cls(
            wave_bn=np.zeros((b, shape.samples), np.int16),
            sample_lengths_b=np.zeros(b, np.int32),
            tokens_bu=np.zeros((b, shape.tokens), np.int32),
            token_lengths_b=np.zeros(b, np.int32),
            ids_b=np.zeros(b, np.uint32),
            valid_b=np.zeros(b, bool),
        )


@pytree
@dataclass(frozen=True)
class Training:
    """What a layer knows in training: whose examples these are and how far the run is. None instead: evaluation."""

    ids_b: UInt32[AnyArray, " b"]  # hash of the example, Batch.ids_b
    step: Int[AnyArray, ""]  # batches trained on so far

    def repeated(self, times: int) -> "Training":
        """Each example so many times, side by side; the first copy draws as the example itself, the others differ."""
        copy_m = jnp.arange(times, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)
        ids_bm = jnp.asarray(self.ids_b)[:, None] + copy_m[None, :]
        return Training(ids_bm.reshape(-1), self.step)


@pytree
@dataclass(frozen=True)
class Draws:
    """What a stochastic attention drew, position by position: what a score-function gradient is made of."""

    log_probs_bu: Float[Array, "b u"]  # of the positions drawn
    baselines_bu: Float[Array, "b u"]  # learned from the query alone: the reward to expect
    entropies_bu: Float[Array, "b u"]  # of what was drawn from


@pytree
@dataclass(frozen=True)
class NBest:
    """What the model itself would write, found by its own search, and how probable it is in the training form."""

    tokens_bwu: Int[Array, "b w u"]  # without the end, zero after the length
    token_lengths_bw: Int[Array, "b w"]
    log_probs_bw: Float[Array, "b w"]  # teacher-forced, the end included: gradients pass
    valid_bw: Bool[Array, "b w"]  # False: the search found no such hypothesis


@pytree
@dataclass(frozen=True)
class Outputs:
    """What the teacher-forced model says of a batch: position i of `u` predicts token i, the last one the end.

    Where an attention draws m samples, `logits_buv`, `weights_buhs` and `draws` have m rows an example, side by side.
    """

    logits_buv: Float[Array, "x u v"]  # u = tokens + 1, x = m * b
    ctc_logits_bsv: Float[Array, "b s v"] | None
    hidden_lengths_b: Int[Array, " b"]  # encoder positions that are real
    weights_buhs: Float[Array, "x u h s"]  # attention, by head
    draws: Draws | None = None
    n_best: NBest | None = None  # where the objective asks for it
    teacher_logits_buv: Float[Array, "b u v"] | None = None  # what a frozen teacher says to the same tokens


@pytree
@dataclass(frozen=True)
class Sum:
    """A sum and what it has to be divided by. Sums travel (over devices, steps, batches), means are made at the end."""

    value: Float[Array, ""]
    weight: Float[Array, ""]

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.value + other.value, self.weight + other.weight)

    @property
    def mean(self) -> float:
        """The mean, on the host; NaN if nothing was counted."""
        weight = float(self.weight)
        return float(self.value) / weight if weight else float("nan")


Sums = Mapping[str, Sum]


@pytree
@dataclass(frozen=True)
class Start:
    """The encoded batch, ready for search. Every leaf of `memory` and `state` has the leading axis b."""

    memory: Any  # what is read and never changes: keys, values, valid
    state: Any  # what a step carries on
    hidden_lengths_b: Int[Array, " b"]
    ctc_log_probs_bsv: Float[Array, "b s v"] | None


@pytree
@dataclass(frozen=True)
class Step:
    """One step of the decoder for one token an example."""

    log_probs_bv: Float[Array, "b v"]
    weights_bhs: Float[Array, "b h s"]
    state: Any


@runtime_checkable
class LanguageModel(Protocol):
    """What a search needs to know of a language model. Parameters are bound; it is a pytree, so that they are arguments."""

    @property
    def vocab(self) -> int:
        """Tokens, the end included."""
        ...

    def start(self, examples: int) -> Any:
        """The state before the first token. Every leaf has the leading axis b."""
        ...

    def step(self, state: Any, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b v"], Any]:
        """Reads the previous token (END at first): log probabilities of what follows, the end included, and the state."""
        ...


@runtime_checkable
class Decodable(Protocol):
    """What a search needs to know of a model: parameters are bound already, both functions are pure and jittable."""

    @property
    def vocab(self) -> int:
        """Tokens, the end included."""
        ...

    @property
    def lms(self) -> Mapping[str, LanguageModel]:
        """Language models of the same vocabulary that a search may fuse, by name."""
        ...

    def start(self, batch: Batch) -> Start:
        """Encodes the batch."""
        ...

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        """Reads the previous token (END at first) and says what may follow."""
        ...


@pytree
@dataclass(frozen=True)
class StreamState:
    """What is kept of streams that are still heard. Every leaf has the leading axis b; its size never changes."""

    encoder: Any  # where the encoder goes on
    memory: Any  # the encoder positions that may still be read, as `Start.memory`
    state: Any  # what a step carries on
    initial_state: Any  # the same before the first token
    dropped_b: Int[Array, " b"]  # positions that were heard and are no longer in the memory
    encoded_b: Int[Array, " b"]  # positions that were heard


@runtime_checkable
class Streamable(Protocol):
    """What a search needs to know of a model that reads from left to right, so that it can write while it listens."""

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        """As that of a `Decodable`; where it found nothing to read in the memory, the weights are all zero."""
        ...

    def stop_position(self, state: Any) -> Int[Array, " b"]:
        """The position of the memory that was read last. Reading goes on from there, never before."""
        ...

    def shift(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """The state where the memory begins so many positions later."""
        ...


@pytree
@dataclass(frozen=True)
class Hypotheses:
    """The n best of each example, best first. A beam that was never filled has score -inf and length 0."""

    tokens_bwu: Int[Array, "b w u"]  # without the end symbol, zero after the length
    token_lengths_bw: Int[Array, "b w"]
    scores_bw: Float[Array, "b w"]  # what the n best are ranked by (after length normalisation)
    log_probs_bw: Float[Array, "b w"]  # sum of log probabilities, the end included
    weights_buhs: Float[Array, "b u h s"]  # attention of the best hypothesis, zero after its length
    finished_bw: Bool[Array, "b w"]  # False: cut at the largest length, the end was not reached
    scores_by_scorer_bwk: Float[Array, "b w k"] | None = None  # of log_probs_bw, what each scorer added (Beam.scorer_names)


class Word(NamedTuple):
    """A transcribed word with its times, in seconds from the beginning of the file."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None  # estimated probability that the word is right; None: not computed
