"""The whole recogniser: frontend, encoder, attention decoder, and an optional CTC head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.decoders.interface import Decoder
from jaxasr.nn.encoders.interface import Encoder
from jaxasr.nn.frontend import AddNoise, LogMel, SpecAugment
from jaxasr.nn.layers import Dense
from jaxasr.nn.low_rank import LowRank, adapted
from jaxasr.nn.module import Module
from jaxasr.nn.precision import Compute, check_compute, in_precision
from jaxasr.ops.audio import features
from jaxasr.ops.masks import zero_tokens
from jaxasr.records import Batch, LanguageModel, Outputs, Start, Step, Training


class CtcHead(Module):
    """A linear layer over the encoder's output; token 0 is the blank (Kim et al. 2017, 1609.06773)."""

    vocab: int  # tokens, the blank included

    def __post_init__(self):
        if not self.vocab >= 2:
            raise ValueError(f"CtcHead.vocab is {self.vocab}; it must be 2 or more: the blank and a token")
        super().__post_init__()

    @nn.compact
    def __call__(self, hidden_bsd: Float[Array, "b s d"]) -> Float[Array, "b s v"]:
        return Dense(self.vocab, result="float32", name="readout")(hidden_bsd)


class Seq2Seq(Module):
    """A sequence-to-sequence recogniser.

    `__call__` is for training (teacher-forced), `start` and `step` are for searches. Randomness comes from the streams
    "augment", "dropout" and "draw" and is keyed by example. Without a `step` of training nothing is random.

    Variables are always float32. `compute` applies in training, evaluation, search and streams (nn/precision.py).
    """

    frontend: LogMel
    encoder: Encoder
    decoder: Decoder
    augment: SpecAugment | None = None
    noise: AddNoise | None = None
    ctc: CtcHead | None = None
    compute: Compute = "float32"
    adapters: LowRank | None = None  # of its linear layers; `training.Freeze` keeps the others as they are

    def __post_init__(self):
        check_compute("Seq2Seq", self.compute)
        super().__post_init__()

    @nn.nowrap
    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """Applies the module with its parameters in the precision of `compute`, and with its adapters."""
        with adapted(self.adapters):
            return super().apply(in_precision(variables, self.compute), *args, **kwargs)

    @nn.nowrap
    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Initialises the module with its adapters.

        Raises:
            ValueError: a pattern of the adapters finds no linear layer.
        """
        with adapted(self.adapters):
            variables = super().init(*args, **kwargs)
        if self.adapters is not None:
            self.adapters.check(variables["params"])
        return variables

    def __call__(self, batch: Batch, *, step: Int[Array, ""] | None) -> Outputs:
        """Returns teacher-forced outputs at this step of training; None: in evaluation, with the attention's decode form.

        Tokens and samples behind their lengths are not read.
        """
        training = None if step is None else Training(batch.ids_b, step, jnp.asarray(batch.token_lengths_b))
        hidden_bsd, lengths_b = self.encode(batch, training)
        tokens_bu = zero_tokens(jnp.asarray(batch.tokens_bu), jnp.asarray(batch.token_lengths_b))
        decoded = self.decoder(hidden_bsd, lengths_b, tokens_bu, training=training)
        return Outputs(
            decoded.logits_bkv,
            self._ctc_logits(hidden_bsd),
            lengths_b,
            decoded.weights_bkhs,
            decoded.draws,
            counts_bh=decoded.counts_bh,
        )

    def teacher_forced_logits(
        self, batch: Batch, tokens_bwu: Int[Array, "b w u"], *, step: Int[Array, ""] | None
    ) -> Float[Array, "x k v"]:
        """Returns logits of w transcripts an utterance, encoded once; x = b * w, k = u + 1. `step` is as in `__call__`."""
        w, u = tokens_bwu.shape[1:]
        training = None if step is None else Training(batch.ids_b, step)
        hidden_bsd, lengths_b = self.encode(batch, training)
        hidden_xsd, lengths_x, ids_x = (
            jnp.repeat(jnp.asarray(leaf), w, axis=0) for leaf in (hidden_bsd, lengths_b, batch.ids_b)
        )
        training = None if step is None else Training(ids_x, step)
        return self.decoder(hidden_xsd, lengths_x, tokens_bwu.reshape(-1, u), training=training).logits_bkv

    def start(self, batch: Batch) -> Start:
        """Encodes the batch and returns the initial state of a search."""
        return self.init_decode_state(*self.encode(batch, None))

    def init_decode_state(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> Start:
        """Returns the initial state of a search for an encoded batch."""
        memory, state = self.decoder.start(hidden_bsd, lengths_b)
        logits_bsv = self._ctc_logits(hidden_bsd)
        ctc = None if logits_bsv is None else jax.nn.log_softmax(logits_bsv.astype(jnp.float32))
        return Start(memory, state, lengths_b, ctc)

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        """Returns the decoder's step after `tokens_b`."""
        logits_bv, weights_bhs, state = self.decoder.step(memory, state, tokens_b)
        return Step(jax.nn.log_softmax(logits_bv.astype(jnp.float32)), weights_bhs, state)

    def encode(self, batch: Batch, training: Training | None) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Returns hidden states and their lengths."""
        wave_bn = features.amplitude(batch.wave_bn)
        if training is not None and self.noise is not None:
            wave_bn = self.noise(wave_bn, batch)
        frames_btf, lengths_b = self.frontend(wave_bn, batch.sample_lengths_b, training)
        if training is not None and self.augment is not None:
            frames_btf = self.augment(frames_btf, lengths_b, batch)
        return self.encoder(self.cast_features(frames_btf), lengths_b, training=training)

    def cast_features(self, frames_btf: Float[Array, "b t f"]) -> Float[Array, "b t f"]:
        """Returns the features in the precision of the encoder; at initialisation they stay float32."""
        return frames_btf if self.is_initializing() else frames_btf.astype(self.compute)

    def feature_sums(self, batch: Batch) -> features.FeatureSums:
        """Returns the sums over valid, unnormalised frames of the batch that global normalisation needs."""
        frames_btf, lengths_b = self.frontend.energies(features.amplitude(batch.wave_bn), batch.sample_lengths_b)
        return features.feature_sums(frames_btf, lengths_b)

    def _ctc_logits(self, hidden_bsd: Float[Array, "b s d"]) -> Float[Array, "b s v"] | None:
        return None if self.ctc is None else self.ctc(hidden_bsd)


@dataclass(frozen=True)
class Recogniser:
    """A model with its variables, for searches (records.Decodable)."""

    model: Seq2Seq
    variables: Any
    lms: Mapping[str, LanguageModel] = field(default_factory=dict)

    def __post_init__(self):
        # once, not at every step
        object.__setattr__(self, "variables", in_precision(self.variables, self.model.compute))

    @property
    def vocab(self) -> int:
        """The number of tokens, the end included."""
        return self.model.decoder.vocab

    def start(self, batch: Batch) -> Start:
        """Encodes the batch and returns the initial state of a search."""
        return self.model.apply(self.variables, batch, method="start")

    def without_audio(self, batch: Batch) -> Start:
        """Returns the initial state of a search with one encoder position of zeros an utterance (decode.InternalLm)."""
        encoded: Any = jax.eval_shape(lambda: self.model.apply(self.variables, batch, None, method="encode"))
        hidden_b1d = jnp.zeros((encoded[0].shape[0], 1, encoded[0].shape[2]), encoded[0].dtype)
        one_b = jnp.ones(hidden_b1d.shape[0], jnp.int32)
        return self.model.apply(self.variables, hidden_b1d, one_b, method="init_decode_state")

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        """Returns the decoder's step after `tokens_b`."""
        return self.model.apply(self.variables, memory, state, tokens_b, method="step")
