"""What `jaxasr bench training` trains: a batch, models by name, and a whole training step of each with jaxasr's own parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxasr import nn, scale, training
from jaxasr.ops.audio import features
from jaxasr.records import Batch, Training
from jaxasr.run.initial_state import training_form

CLIP_NORM, LEARNING_RATE = 5.0, 1e-4


@dataclass(frozen=True)
class Load:
    """The batch that both sides train on."""

    examples: int = 16
    frames: int = 800
    bins: int = 80
    tokens: int = 40
    vocab: int = 500  # the end included

    def lengths(self, *, equal: bool) -> list[int]:
        """All whole, or each a little shorter than the one before: 800, 795, 790 ..."""
        less = 0 if equal else max(1, self.frames // 160)
        return [max(1, self.frames - less * row) for row in range(self.examples)]

    def frames_btf(self) -> Float[np.ndarray, "b t f"]:
        """Noise in [-1, 1), in steps that a sample of 16 bits can have."""
        draw = np.random.default_rng(0).integers(-(2**15), 2**15, (self.examples, self.frames, self.bins))
        return (draw / 2**15).astype(np.float32)

    def tokens_bu(self) -> Int[np.ndarray, "b u"]:
        """Any tokens but the end."""
        return np.random.default_rng(1).integers(1, self.vocab, (self.examples, self.tokens))


@dataclass(frozen=True)
class Recurrent:
    """Bidirectional layers, each projected, and a speller with location-aware attention: ESPnet's BLSTMP or BGRUP."""

    cell: Literal["lstm", "gru"] = "lstm"
    channels: tuple[int, ...] = ()  # of VGG blocks in front, each of which halves time and frequency
    pools: tuple[int, ...] = (1, 2, 2, 1)  # of which every so many positions are kept before each layer
    width: int = 320  # of one direction, of a projection and of the energy
    spell: int = 300  # width of the speller and of its embedding
    filters: int = 10
    taps: int = 201
    ctc_weight: float = 0.5

    def model(self, load: Load) -> nn.Seq2Seq:
        """The recogniser."""
        halves = (2,) * len(self.channels)
        front = nn.VggFront(self.channels, halves, halves) if self.channels else None
        listener = nn.Listener(
            self.width, self.pools, front, cell=self.cell, pooling="skip", projection=self.width, projected="every"
        )
        attention = nn.LocationAttention(self.width, filters=self.filters, taps=self.taps)
        speller = nn.Speller(1, self.spell, attention, self.spell, cell=self.cell, vocab=load.vocab)
        return nn.Seq2Seq(Fed(load.bins), listener, speller, ctc=nn.CtcHead(load.vocab))


@dataclass(frozen=True)
class SelfAttentive:
    """Two convolutions that each halve time and frequency, self-attentive layers, and a Transformer decoder."""

    kind: Literal["conformer", "transformer"]
    channels: tuple[int, ...] = (256, 256)
    depth: int = 4
    width: int = 256
    heads: int = 4
    expansion: int = 4
    taps: int = 31  # of the Conformer's convolution
    decoder_depth: int = 2
    ctc_weight: float = 0.3  # 0: no CTC head

    def model(self, load: Load) -> nn.Seq2Seq:
        """The recogniser."""
        own = {"taps": self.taps} if self.kind == "conformer" else {}
        kind: Any = nn.Conformer if self.kind == "conformer" else nn.TransformerEncoder
        front = nn.ConvFront(self.channels)
        encoder = kind(self.depth, self.width, self.heads, front, expansion=self.expansion, **own)
        decoder = nn.TransformerDecoder(
            self.decoder_depth,
            self.width,
            self.heads,
            nn.DotAttention(self.width, heads=self.heads),
            expansion=self.expansion,
            vocab=load.vocab,
        )
        return nn.Seq2Seq(Fed(load.bins), encoder, decoder, ctc=nn.CtcHead(load.vocab) if self.ctc_weight else None)


Spec = Recurrent | SelfAttentive

MODELS: dict[str, Spec] = {
    "blstmp": Recurrent(),
    "bgrup": Recurrent("gru"),
    "vgg-blstmp": Recurrent(channels=(64, 128), pools=(1, 1, 1, 1)),
    "conformer": SelfAttentive("conformer"),
    "transformer": SelfAttentive("transformer", (32, 32), expansion=8, ctc_weight=0.0),
}


class Fed(nn.LogMel):
    """No frontend: the samples of an utterance are its frames, `bins` numbers each."""

    def __call__(
        self, wave_bn: Float[Array, "b n"], sample_lengths_b: Int[Array, " b"], training: Training | None = None
    ) -> features.LogMel:
        frames_btf = wave_bn.reshape(wave_bn.shape[0], -1, self.bins)
        return features.LogMel(frames_btf, sample_lengths_b // self.bins)


@dataclass(frozen=True)
class Trained:
    """A model that can be trained a step further, again and again."""

    step: Callable[[bool], float]  # on equal lengths, or not; waits for the end, and gives the loss before it
    parameters: int


def jaxasr_step(spec: Spec, load: Load) -> Trained:
    """jaxasr's own step: model, objective, clipping and Adam, compiled as a run compiles it; the state is donated."""
    model, batches = spec.model(load), {equal: whole_batch(load, equal=equal) for equal in (True, False)}
    optimizer = training.Adam(training.Constant(LEARNING_RATE), clip_norm=CLIP_NORM).build()

    def begin(key: jax.Array, batch: Batch) -> training.TrainState:
        variables: Any = model.init(key, batch, step=None)
        return training.new_state(variables, optimizer, key)

    made = training.make_step(
        training_form(model), training.Objective(ctc_weight=spec.ctc_weight), optimizer, ema_decay=0.0
    )
    compiled = scale.compile_step(made, "jit")
    state = compiled.place_state(jax.jit(begin)(jax.random.key(0), batches[True]))
    placed = {equal: compiled.place(batch) for equal, batch in batches.items()}
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))

    def step(equal: bool) -> float:
        nonlocal state
        state, sums = jax.block_until_ready(compiled(state, placed[equal]))
        return sums["loss"].mean

    return Trained(step, parameters)


def whole_batch(load: Load, *, equal: bool = True) -> Batch:
    """The batch, whose samples are frames (`Fed`)."""
    b = load.examples
    pcm_btf = np.round(load.frames_btf() * 2**15).astype(np.int16)
    return Batch(
        wave_bn=pcm_btf.reshape(b, -1),
        sample_lengths_b=np.asarray(load.lengths(equal=equal), np.int32) * load.bins,
        tokens_bu=load.tokens_bu().astype(np.int32),
        token_lengths_b=np.full(b, load.tokens, np.int32),
        ids_b=np.arange(b, dtype=np.uint32),
        valid_b=np.ones(b, bool),
    )
