"""The models of `jaxasr bench training` and `jaxasr bench search`, their batch, and the training step of jaxasr."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxasr import nn, scale, training
from jaxasr.ops.audio import features
from jaxasr.records import Batch, Training
from jaxasr.run.initial_state import make_apply_fn

CLIP_NORM = 5.0
LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class BenchBatch:
    """The sizes of the batch on which both implementations train."""

    examples: int = 16
    frames: int = 800
    bins: int = 80
    tokens: int = 40
    vocab: int = 500  # the end token included

    def lengths(self, *, equal: bool) -> list[int]:
        """Returns equal lengths, or lengths that fall by a 160th of the frames: 800, 795, 790 ..."""
        step = 0 if equal else max(1, self.frames // 160)
        return [max(1, self.frames - step * row) for row in range(self.examples)]

    def frames_btf(self) -> Float[np.ndarray, "b t f"]:
        """Returns noise in [-1, 1), quantised like 16-bit samples."""
        draw = np.random.default_rng(0).integers(-(2**15), 2**15, (self.examples, self.frames, self.bins))
        return (draw / 2**15).astype(np.float32)

    def tokens_bu(self) -> Int[np.ndarray, "b u"]:
        """Returns random tokens without the end token."""
        return np.random.default_rng(1).integers(1, self.vocab, (self.examples, self.tokens))


@dataclass(frozen=True)
class RecurrentSpec:
    """A projected bidirectional encoder (ESPnet's BLSTMP or BGRUP) and a speller with location-aware attention."""

    cell: Literal["lstm", "gru"] = "lstm"
    channels: tuple[int, ...] = ()  # of VGG blocks; each halves time and frequency
    time_reduction: tuple[int, ...] = (1, 2, 2, 1)  # before each layer, one of so many positions is kept
    width: int = 320  # of one direction, of a projection and of the attention
    decoder_width: int = 300  # of the speller and of its embedding
    filters: int = 10
    kernel_size: int = 201
    ctc_weight: float = 0.5

    def model(self, batch: BenchBatch) -> nn.Seq2Seq:
        """Builds the recogniser."""
        halves = (2,) * len(self.channels)
        front = nn.VggSubsampling(self.channels, halves, halves) if self.channels else None
        listener = nn.Listener(
            self.width,
            self.time_reduction,
            front,
            cell=self.cell,
            pooling="skip",
            projection=self.width,
            projected="every",
        )
        attention = nn.LocationAttention(self.width, filters=self.filters, kernel_size=self.kernel_size)
        speller = nn.Speller(1, self.decoder_width, attention, self.decoder_width, cell=self.cell, vocab=batch.vocab)
        return nn.Seq2Seq(PrecomputedFeatures(batch.bins), listener, speller, ctc=nn.CtcHead(batch.vocab))


@dataclass(frozen=True)
class SelfAttentiveSpec:
    """A self-attentive encoder after convolutions that each halve time and frequency, and a Transformer decoder."""

    kind: Literal["conformer", "transformer"]
    channels: tuple[int, ...] = (256, 256)
    depth: int = 4
    width: int = 256
    heads: int = 4
    expansion: int = 4
    kernel_size: int = 31  # of the Conformer's convolution
    decoder_depth: int = 2
    ctc_weight: float = 0.3  # 0: no CTC head

    def model(self, batch: BenchBatch) -> nn.Seq2Seq:
        """Builds the recogniser."""
        own = {"kernel_size": self.kernel_size} if self.kind == "conformer" else {}
        kind: Any = nn.Conformer if self.kind == "conformer" else nn.TransformerEncoder
        front = nn.ConvSubsampling(self.channels)
        encoder = kind(self.depth, self.width, self.heads, front, expansion=self.expansion, **own)
        decoder = nn.TransformerDecoder(
            self.decoder_depth,
            self.width,
            self.heads,
            nn.DotAttention(self.width, heads=self.heads),
            expansion=self.expansion,
            vocab=batch.vocab,
        )
        ctc = nn.CtcHead(batch.vocab) if self.ctc_weight else None
        return nn.Seq2Seq(PrecomputedFeatures(batch.bins), encoder, decoder, ctc=ctc)


Spec = RecurrentSpec | SelfAttentiveSpec

MODELS: dict[str, Spec] = {
    "blstmp": RecurrentSpec(),
    "bgrup": RecurrentSpec("gru"),
    "vgg-blstmp": RecurrentSpec(channels=(64, 128), time_reduction=(1, 1, 1, 1)),
    "conformer": SelfAttentiveSpec("conformer"),
    "transformer": SelfAttentiveSpec("transformer", (32, 32), expansion=8, ctc_weight=0.0),
}


class PrecomputedFeatures(nn.LogMel):
    """A frontend without computation: each `bins` samples of an utterance are one of its frames."""

    def __call__(
        self, wave_bn: Float[Array, "b n"], sample_lengths_b: Int[Array, " b"], training: Training | None = None
    ) -> features.MelFilterbank:
        frames_btf = wave_bn.reshape(wave_bn.shape[0], -1, self.bins)
        return features.MelFilterbank(frames_btf, sample_lengths_b // self.bins)


@dataclass(frozen=True)
class BenchStep:
    """A training step that can be repeated, of one implementation of a model."""

    step: Callable[
        [bool], float
    ]  # on equal lengths (True) or not; blocks until done and returns the loss before the step
    parameters: int  # the number of parameters


def jaxasr_step(spec: Spec, sizes: BenchBatch) -> BenchStep:
    """Returns the training step of jaxasr, compiled as in a run: model, loss, clipping and Adam. Its state is donated."""
    model = spec.model(sizes)
    batches = {equal: make_batch(sizes, equal=equal) for equal in (True, False)}
    optimizer = training.Adam(training.Constant(LEARNING_RATE), clip_norm=CLIP_NORM).build()

    def begin(key: jax.Array, batch: Batch) -> training.TrainState:
        variables: Any = model.init(key, batch, step=None)
        return training.new_state(variables, optimizer, key)

    made = training.make_step(
        make_apply_fn(model), training.Objective(ctc_weight=spec.ctc_weight), optimizer, ema_decay=0.0
    )
    compiled = scale.compile_step(made, "jit")
    state = compiled.place_state(jax.jit(begin)(jax.random.key(0), batches[True]))
    placed = {equal: compiled.place(batch) for equal, batch in batches.items()}
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))

    def step(equal: bool) -> float:
        nonlocal state
        state, sums = jax.block_until_ready(compiled(state, placed[equal]))
        return sums["loss"].mean

    return BenchStep(step, parameters)


def make_batch(sizes: BenchBatch, *, equal: bool = True) -> Batch:
    """Returns the batch. Its samples are frames for `PrecomputedFeatures`."""
    b = sizes.examples
    pcm_btf = np.round(sizes.frames_btf() * 2**15).astype(np.int16)
    return Batch(
        wave_bn=pcm_btf.reshape(b, -1),
        sample_lengths_b=np.asarray(sizes.lengths(equal=equal), np.int32) * sizes.bins,
        tokens_bu=sizes.tokens_bu().astype(np.int32),
        token_lengths_b=np.full(b, sizes.tokens, np.int32),
        ids_b=np.arange(b, dtype=np.uint32),
        valid_b=np.ones(b, bool),
    )
