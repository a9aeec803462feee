"""A recogniser small enough for brute force: an attending RNN with random parameters, and batches for it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.decode import Search
from jaxasr.records import Batch, Hypotheses, Start, Step, pytree

SAMPLES_PER_POSITION = 4
WIDTH = 6


@pytree
@dataclass(frozen=True)
class Toy:
    """Parameters are leaves, so that one compiled search serves every seed."""

    weights: dict[str, jax.Array]
    readout_bias_v: jax.Array  # -inf: a token that is impossible
    lms: dict[str, Any] = field(default_factory=dict)

    @property
    def vocab(self) -> int:
        return self.readout_bias_v.shape[0]

    def start(self, batch: Batch) -> Start:
        wave_bn = jnp.asarray(batch.wave_bn, jnp.float32) / 2**15
        frames = wave_bn.reshape(wave_bn.shape[0], -1, SAMPLES_PER_POSITION)
        hidden_bsd = jnp.tanh(2 * frames @ self.weights["listen"])
        lengths_b = jnp.asarray(batch.sample_lengths_b) // SAMPLES_PER_POSITION
        valid_bs = jnp.arange(hidden_bsd.shape[1])[None, :] < lengths_b[:, None]
        ctc = jax.nn.log_softmax(3 * hidden_bsd @ self.weights["ctc"])
        state = {"h_bd": jnp.zeros(hidden_bsd[:, 0].shape)}
        return Start({"hidden": hidden_bsd, "valid": valid_bs}, state, lengths_b, ctc)

    def step(self, memory: Any, state: Any, tokens_b: jax.Array) -> Step:
        scores_bs = jnp.einsum("bd,bsd->bs", state["h_bd"] @ self.weights["ask"], memory["hidden"])
        weights_bs = jax.nn.softmax(jnp.where(memory["valid"], scores_bs, -jnp.inf))
        context_bd = jnp.einsum("bs,bsd->bd", weights_bs, memory["hidden"])
        mixed = jnp.concatenate([state["h_bd"], context_bd], axis=-1) @ self.weights["mix"]
        h_bd = jnp.tanh(mixed + self.weights["embed"][tokens_b])
        logits_bv = h_bd @ self.weights["read"] + self.readout_bias_v[None, :]
        # where all is padding a softmax over nothing is NaN; of the sign that sorts before every number
        log_probs_bv = jnp.where(memory["valid"][:, :1], jax.nn.log_softmax(logits_bv), jnp.nan)
        return Step(log_probs_bv, weights_bs[:, None, :], {"h_bd": h_bd})


class Silent(Toy):
    """A toy without a CTC head."""

    def start(self, batch: Batch) -> Start:
        return replace(super().start(batch), ctc_log_probs_bsv=None)


def toy(vocab: int, *, seed: int = 0, sharpness: float = 1.0, forbidden: tuple[int, ...] = ()) -> Toy:
    """A random toy. `sharpness` scales its logits (0: uniform), `forbidden` tokens have probability 0."""
    rng = np.random.default_rng(seed)
    shapes = {
        "listen": (SAMPLES_PER_POSITION, WIDTH),
        "ctc": (WIDTH, vocab),
        "ask": (WIDTH, WIDTH),
        "mix": (2 * WIDTH, WIDTH),
        "embed": (vocab, WIDTH),
        "read": (WIDTH, vocab),
    }
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["read"] *= sharpness
    bias_v = np.where(np.isin(np.arange(vocab), forbidden), -np.inf, 0.0).astype(np.float32)
    return Toy(jax.tree.map(jnp.asarray, weights), jnp.asarray(bias_v))


@pytree
@dataclass(frozen=True)
class Scripted:
    """Says what it is told: `log_probs_uv[i]` at step i whatever came before, the last row ever after."""

    log_probs_uv: jax.Array
    lms: dict[str, Any] = field(default_factory=dict)

    @property
    def vocab(self) -> int:
        return self.log_probs_uv.shape[1]

    def start(self, batch: Batch) -> Start:
        lengths_b = jnp.asarray(batch.sample_lengths_b) // SAMPLES_PER_POSITION
        positions = batch.wave_bn.shape[1] // SAMPLES_PER_POSITION
        return Start(jnp.zeros((len(lengths_b), positions)), jnp.zeros(len(lengths_b), jnp.int32), lengths_b, None)

    def step(self, memory: Any, state: Any, tokens_b: jax.Array) -> Step:
        log_probs_bv = self.log_probs_uv[jnp.minimum(state, len(self.log_probs_uv) - 1)]
        weights_bhs = jax.nn.one_hot(jnp.minimum(state, memory.shape[1] - 1), memory.shape[1])[:, None, :]
        return Step(log_probs_bv, weights_bhs, state + 1)


def batch_of(rng: np.random.Generator, *positions: int, pad_to: int | None = None, padding_rows: int = 0) -> Batch:
    """A batch of random waves with this many encoder positions each; samples behind the length are noise as well."""
    rows = len(positions) + padding_rows
    length = pad_to or max(positions)
    wave_bn = rng.integers(-(2**15), 2**15, size=(rows, length * SAMPLES_PER_POSITION), dtype=np.int16)
    # a padding row is told by `valid_b` alone: its length may say anything
    lengths = np.array([*positions, *range(padding_rows)], np.int32) * SAMPLES_PER_POSITION
    return Batch(
        wave_bn=wave_bn,
        sample_lengths_b=lengths,
        tokens_bu=np.zeros((rows, 1), np.int32),
        token_lengths_b=np.zeros(rows, np.int32),
        ids_b=np.arange(rows, dtype=np.uint32),
        valid_b=np.arange(rows) < len(positions),
    )


def row(batch: Batch, i: int, *, pad_to: int | None = None) -> Batch:
    """One example of a batch, cut to this many positions; without padding if it is None."""
    alone = jax.tree.map(lambda leaf: leaf[i : i + 1], batch)
    positions = pad_to or int(alone.sample_lengths_b[0]) // SAMPLES_PER_POSITION or 1
    return replace(alone, wave_bn=alone.wave_bn[:, : positions * SAMPLES_PER_POSITION])


def search(how: Search, model: Toy | Scripted, batch: Batch) -> Hypotheses:
    """The compiled search, its arrays on the host."""
    return jax.tree.map(np.asarray, _search(how, model, batch))


_search = jax.jit(lambda how, model, batch: how(model, batch), static_argnums=0)
_start = jax.jit(lambda model, batch: model.start(batch))
_step = jax.jit(lambda model, memory, state, tokens_b: model.step(memory, state, tokens_b))


class Heard(NamedTuple):
    """One step for one prefix."""

    log_probs_v: np.ndarray
    weights_s: np.ndarray
    state: Any


def next_steps(model: Any, batch: Batch, *, start: Start | None = None) -> Callable[[tuple[int, ...]], Heard]:
    """A function of a prefix, for the first example of a batch: what the slow twins search over."""
    start = start or _start(model, row(batch, 0))
    seen: dict[tuple[int, ...], Heard] = {}

    def after(prefix: tuple[int, ...]) -> Heard:
        if prefix not in seen:
            state = after(prefix[:-1]).state if prefix else start.state
            previous = jnp.full(1, prefix[-1] if prefix else 0, jnp.int32)
            out = _step(model, start.memory, state, previous)
            log_probs_v, weights_s = np.asarray(out.log_probs_bv[0], np.float64), np.asarray(out.weights_bhs[0, 0])
            seen[prefix] = Heard(log_probs_v, weights_s, out.state)
        return seen[prefix]

    return after


def next_log_probs(model: Any, batch: Batch) -> Callable[[tuple[int, ...]], np.ndarray]:
    """The log probabilities alone."""
    after = next_steps(model, batch)
    return lambda prefix: after(prefix).log_probs_v
