"""The records that packages exchange: corpus -> Batch -> Outputs -> Hypotheses -> errors -> result.

Every record is a frozen dataclass, and records that enter a compiled step are pytrees. Token 0 is the end symbol. It also
starts the decoder and is the blank of CTC, so transcripts use v - 1 tokens of a vocabulary of v.
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
    AnyArray = Any  # batches hold NumPy arrays in the loader and JAX arrays in the step, without casts on either side
else:
    AnyArray = Array | np.ndarray

T = TypeVar("T")
STATIC: Mapping[str, Any] = {"static": True}  # metadata of a field of a record that is no leaf (`pytree`)


def pytree(cls: type[T]) -> type[T]:
    """Registers a frozen dataclass as a pytree.

    Shapes are checked when a program constructs a record. JAX rebuilds records without these checks. A field with
    `metadata=STATIC` is no leaf: it is part of the tree's structure, so a compiled function can branch on it.
    """
    every = fields(cls)  # pyright: ignore[reportArgumentType]
    names = tuple(field.name for field in every if not field.metadata.get("static"))
    static = tuple(field.name for field in every if field.metadata.get("static"))

    def flatten(node: T):
        children = [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in names]
        return children, tuple(getattr(node, name) for name in static)

    def unflatten(values: tuple[Any, ...], leaves: Iterable[Any]) -> T:
        node = object.__new__(cls)
        for name, leaf in zip((*static, *names), (*values, *leaves), strict=True):
            object.__setattr__(node, name, leaf)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)  # pyright: ignore[reportUnknownMemberType] - JAX's stub
    return cls


@runtime_checkable
class BatchShape(Protocol):
    """The static shape of a batch."""

    @property
    def examples(self) -> int:
        """The number of rows."""
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
    """A batch of utterances padded to a static shape.

    Padding is zero. A row with `valid_b` False is padding as a whole.
    """

    wave_bn: Int16[AnyArray, "b n"]  # PCM, 16 bits
    sample_lengths_b: Int[AnyArray, " b"]
    tokens_bu: Int[AnyArray, "b u"]  # without the end symbol
    token_lengths_b: Int[AnyArray, " b"]
    ids_b: UInt32[AnyArray, " b"]  # hash of the example and its speed, independent of the row
    valid_b: Bool[AnyArray, " b"]

    def repeated(self, times: int) -> "Batch":
        """Repeats each example `times` times in adjacent rows, whose ids differ, as in `Training.repeated`."""
        rows = {field.name: jnp.repeat(getattr(self, field.name), times, axis=0) for field in fields(self)}
        return Batch(**(rows | {"ids_b": _ids_of_copies(self.ids_b, times)}))

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
    """The example ids and the step, as inputs of layers in training. Layers get None instead in evaluation."""

    ids_b: UInt32[AnyArray, " b"]  # Batch.ids_b: hash of the example and its speed
    step: Int[AnyArray, ""]  # number of batches trained on so far
    token_lengths_b: Int[AnyArray, " b"] | None = None  # of the transcripts, without the end; None: not known

    def repeated(self, times: int) -> "Training":
        """Repeats each example in adjacent rows. The first copy has its random numbers, the others have different ones."""
        lengths_b = None if self.token_lengths_b is None else jnp.repeat(self.token_lengths_b, times)
        return Training(_ids_of_copies(self.ids_b, times), self.step, lengths_b)


def _ids_of_copies(ids_b: AnyArray, times: int) -> UInt32[Array, " _"]:
    """Returns the ids of adjacent copies of each example; that of the first copy is the example's own."""
    return (ids_b[:, None] + jax.lax.iota(jnp.uint32, times)[None] * jnp.uint32(0x9E3779B9)).reshape(-1)


@pytree
@dataclass(frozen=True)
class Draws:
    """The samples of a stochastic attention, position by position: the inputs of a score-function gradient."""

    log_probs_bu: Float[Array, "b u"]  # of the sampled positions
    baselines_bu: Float[Array, "b u"]  # expected reward, learned from the query alone
    entropies_bu: Float[Array, "b u"]  # of the sampled distributions


@pytree
@dataclass(frozen=True)
class NBest:
    """The n best hypotheses of the model's own search, with their log probabilities in the training form."""

    tokens_bwu: Int[Array, "b w u"]  # without the end, zero after the length
    token_lengths_bw: Int[Array, "b w"]
    log_probs_bw: Float[Array, "b w"]  # teacher-forced, the end included; differentiable
    valid_bw: Bool[Array, "b w"]  # False: the search found fewer hypotheses


@pytree
@dataclass(frozen=True)
class Outputs:
    """The outputs of the teacher-forced model. Position i of `u` predicts token i, the last position the end.

    If an attention draws m samples, `logits_buv`, `weights_buhs` and `draws` have m adjacent rows for each example.
    """

    logits_buv: Float[Array, "x u v"]  # u = tokens + 1, x = m * b
    ctc_logits_bsv: Float[Array, "b s v"] | None
    hidden_lengths_b: Int[Array, " b"]  # number of real encoder positions
    weights_buhs: Float[Array, "x u h s"]  # attention weights by head
    draws: Draws | None = None
    n_best: NBest | None = None  # computed only if the objective needs it
    teacher_logits_buv: Float[Array, "b u v"] | None = None  # logits of a frozen teacher for the same tokens
    counts_bh: Float[Array, "x h"] | None = None  # of tokens, the end included, by an attention that counts them


@pytree
@dataclass(frozen=True)
class Sum:
    """A sum and its weight. Sums are added over devices, steps and batches, and divided by their weights at the end."""

    value: Float[Array, ""]
    weight: Float[Array, ""]

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.value + other.value, self.weight + other.weight)

    @property
    def mean(self) -> float:
        """The mean, as a number on the host; NaN if the weight is 0."""
        weight = float(self.weight)
        return float(self.value) / weight if weight else float("nan")


Sums = Mapping[str, Sum]


@pytree
@dataclass(frozen=True)
class Start:
    """The encoded batch, as input of a search. Every leaf of `memory` and `state` has the leading axis b."""

    memory: Any  # constant inputs of the decoder: keys, values, valid
    state: Any  # decoder state before the first token
    hidden_lengths_b: Int[Array, " b"]
    ctc_log_probs_bsv: Float[Array, "b s v"] | None


@pytree
@dataclass(frozen=True)
class Step:
    """The result of a decoder step for one token of each example."""

    log_probs_bv: Float[Array, "b v"]
    weights_bhs: Float[Array, "b h s"]
    state: Any


@runtime_checkable
class LanguageModel(Protocol):
    """The interface of a language model for search.

    Its parameters are bound. It is a pytree, so that the parameters are arguments of a compiled function.
    """

    @property
    def vocab(self) -> int:
        """The number of tokens, the end included."""
        ...

    def start(self, examples: int) -> Any:
        """Returns the state before the first token. Every leaf has the leading axis b."""
        ...

    def step(self, state: Any, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b v"], Any]:
        """Reads the previous token (END at first). Returns the log probabilities of the next token and the state."""
        ...


@runtime_checkable
class Decodable(Protocol):
    """The interface of a model for search. Its parameters are bound. `start` and `step` are pure and can be compiled."""

    @property
    def vocab(self) -> int:
        """The number of tokens, the end included."""
        ...

    @property
    def lms(self) -> Mapping[str, LanguageModel]:
        """The language models of the same vocabulary that a search may fuse, by name."""
        ...

    def start(self, batch: Batch) -> Start:
        """Encodes the batch."""
        ...

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        """Reads the previous token (END at first) and returns the log probabilities of the next one."""
        ...


@pytree
@dataclass(frozen=True)
class StreamState:
    """The state of streams in streaming recognition. Every leaf has the leading axis b and a constant size."""

    encoder: Any  # state of the encoder
    memory: Any  # the encoder positions that may still be read, as in `Start.memory`
    state: Any  # state of the decoder
    initial_state: Any  # state of the decoder before the first token
    dropped_b: Int[Array, " b"]  # number of encoded positions that left the memory
    encoded_b: Int[Array, " b"]  # number of encoded positions


@runtime_checkable
class Streamable(Protocol):
    """The interface of a model for streaming search: its attention moves only from left to right."""

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        """Performs a step as `Decodable.step`. If the attention did not stop in the memory, the weights are all zero."""
        ...

    def stop_position(self, state: Any) -> Int[Array, " b"]:
        """Returns the memory position where the attention stopped last. It never moves to an earlier one."""
        ...

    def shift(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """Returns the state for a memory that begins `by_b` positions later."""
        ...


@pytree
@dataclass(frozen=True)
class Hypotheses:
    """The n best hypotheses of each example, best first. An unused beam has score -inf and length 0."""

    tokens_bwu: Int[Array, "b w u"]  # without the end symbol, zero after the length
    token_lengths_bw: Int[Array, "b w"]
    scores_bw: Float[Array, "b w"]  # the scores of the ranking, after length normalisation
    log_probs_bw: Float[Array, "b w"]  # sums of log probabilities, the end included
    weights_buhs: Float[Array, "b u h s"]  # attention of the best hypothesis, zero after its length
    finished_bw: Bool[Array, "b w"]  # False: cut at the maximum length before the end
    scores_by_scorer_bwk: Float[Array, "b w k"] | None = None  # parts of log_probs_bw in the order of Beam.scorer_names


class Word(NamedTuple):
    """A transcribed word with its times, in seconds from the beginning of the file."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None  # estimated probability that the word is right; None: not computed
