"""The frontend, from waves to normalised log-mel frames inside the compiled step, and its augmentation in training."""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.module import Module, check_choices
from jaxasr.ops.audio import features, noise, specaugment, vocal_tract
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.records import Batch, Training
from jaxasr.tree import check_numbers
from jaxasr.units import samples_from_ms

Normalization = Literal["utterance", "global", "peak", "none"]


class LogMel(Module):
    """A frontend that computes log-mel energies, normalised over valid frames.

    `normalize`: "utterance" uses mean and variance of each bin over the utterance. "global" uses those of the training data,
    which are in the collection "statistics" and are computed before the first step. "peak" limits the range below the loudest
    energy of the utterance (features.normalize_peak). "none" does not normalise.

    `pad_s` pads every utterance with silence to one duration, and the silence counts as real frames. A longer one is an
    error. Whisper's frontend is LogMel(low_hz=0.0, high_hz=8_000.0, normalize="peak", mel_scale="slaney", fft="window",
    edges="reflect", floor=1e-10, pad_s=30.0).
    """

    bins: int = 80
    rate_hz: int = 16_000
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 20.0
    high_hz: float = 7_600.0
    normalize: Normalization = "utterance"
    vocal_tract: float = (
        0.0  # in training, frequencies are scaled by a factor in [1 - this, 1 + this], one an utterance
    )
    mel_scale: features.MelScale = "htk"
    fft: features.FftSize = "power_of_two"
    edges: features.Edges = "inside"
    floor: float = features.QUANTIZATION  # energies below it count as it
    pad_s: float = 0.0  # the duration to which every utterance is padded; 0: none is

    def __post_init__(self):
        check_numbers(
            self, positive=("bins", "rate_hz", "window_ms", "hop_ms", "floor"), not_negative=("low_hz", "pad_s")
        )
        check_choices(
            self,
            normalize=Normalization,
            mel_scale=features.MelScale,
            fft=features.FftSize,
            edges=features.Edges,
        )
        if not self.low_hz < self.high_hz <= self.rate_hz / 2:
            raise ValueError(
                f"LogMel has low_hz={self.low_hz:g} and high_hz={self.high_hz:g} at rate_hz={self.rate_hz}; it needs "
                f"0 <= low_hz < high_hz <= {self.rate_hz / 2:g}"
            )
        if not 0.0 <= self.vocal_tract < 0.5:
            raise ValueError(f"LogMel.vocal_tract is {self.vocal_tract}; it must be in [0, 0.5), usually 0.1")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        wave_bn: Float[Array, "b n"],
        sample_lengths_b: Int[Array, " b"],
        training: Training | None = None,
    ) -> features.MelFilterbank:
        """Returns frames and their lengths. The vocal tract is perturbed only if `training` is given."""
        frames_btf, lengths_b = self.energies(wave_bn, sample_lengths_b)
        if self.vocal_tract and training is not None:
            ids_b = jnp.asarray(training.ids_b)
            key = self.make_rng("augment")
            factor_b = vocal_tract.warp_factors(share=self.vocal_tract, ids_b=ids_b, key=key)
            frames_btf = vocal_tract.warp_frequencies(frames_btf, factor_b, low_hz=self.low_hz, high_hz=self.high_hz)
        if self.normalize == "global":
            mean_f = self.variable("statistics", "mean", jnp.zeros, (self.bins,)).value
            deviation_f = self.variable("statistics", "deviation", jnp.ones, (self.bins,)).value
            frames_btf = features.normalize_global(frames_btf, lengths_b, mean_f=mean_f, deviation_f=deviation_f)
        elif self.normalize == "utterance":
            frames_btf = features.normalize_utterance(frames_btf, lengths_b)
        elif self.normalize == "peak":
            frames_btf = features.normalize_peak(frames_btf, lengths_b)
        return features.MelFilterbank(frames_btf, lengths_b)

    def energies(self, wave_bn: Float[Array, "b n"], sample_lengths_b: Int[Array, " b"]) -> features.MelFilterbank:
        """Returns log-mel energies without normalisation."""
        wave_bn, sample_lengths_b = self._padded(wave_bn, sample_lengths_b)
        return features.log_mel(
            wave_bn,
            sample_lengths_b,
            rate_hz=self.rate_hz,
            window_ms=self.window_ms,
            hop_ms=self.hop_ms,
            bins=self.bins,
            low_hz=self.low_hz,
            high_hz=self.high_hz,
            mel_scale=self.mel_scale,
            fft=self.fft,
            edges=self.edges,
            floor=self.floor,
        )

    @nn.nowrap
    def frame_lengths(self, samples: features.Count) -> features.Count:
        """Returns the number of frames of utterances of so many samples, padding to `pad_s` included."""
        if self.pad_s:
            samples = (samples > 0) * self._pad_samples  # pyright: ignore[reportAssignmentType]
        return features.frame_lengths(
            samples,
            window_samples=samples_from_ms(self.window_ms, self.rate_hz),
            hop_samples=samples_from_ms(self.hop_ms, self.rate_hz),
            edges=self.edges,
        )

    @property
    def first_frame_s(self) -> float:
        """The time at which the hop of the first frame begins, in seconds; the hop is in the middle of the window."""
        if self.edges == "reflect":
            return -self.hop_ms / 2000
        return (self.window_ms - self.hop_ms) / 2000

    @property
    def _pad_samples(self) -> int:
        return samples_from_ms(1000 * self.pad_s, self.rate_hz)

    def _padded(
        self, wave_bn: Float[Array, "b n"], sample_lengths_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b _"], Int[Array, " b"]]:
        """Returns waves with silence up to `pad_s`, and their lengths with it; an utterance without samples stays empty.

        Raises:
            ValueError: the shape of the batch has room for a longer utterance.
        """
        if not self.pad_s:
            return wave_bn, sample_lengths_b
        n = wave_bn.shape[1]
        if n > self._pad_samples:
            raise ValueError(
                f"a batch has room for {n / self.rate_hz:g} s and the frontend takes utterances of at most "
                f"LogMel.pad_s={self.pad_s:g} s: leave longer ones out (data.KeepSeconds), or transcribe them, which cuts "
                "windows"
            )
        wave_bn = zero_padding(wave_bn[..., None], valid_from_lengths(sample_lengths_b, n))[..., 0]
        lengths_b = jnp.where(sample_lengths_b > 0, self._pad_samples, 0).astype(sample_lengths_b.dtype)
        return jnp.pad(wave_bn, ((0, 0), (0, self._pad_samples - n))), lengths_b


class SpecAugment(Module):
    """A SpecAugment layer: masks and time warps of frames in training, keyed by example.

    Source: Park et al. 2019, arXiv:1904.08779, section 2.
    """

    freq_masks: int = 0
    freq_bins: int = 27  # F: a mask covers 0 to F bins
    time_masks: int = 0
    time_frames: int = 100  # T: a mask covers 0 to T frames
    time_share: float = 1.0  # p: and at most this share of the utterance
    warp_frames: int = 0  # W: the control point moves by up to W frames

    def __post_init__(self):
        counts = ("freq_masks", "freq_bins", "time_masks", "time_frames", "warp_frames")
        if min(getattr(self, name) for name in counts) < 0 or not 0.0 <= self.time_share <= 1.0:
            values = ", ".join(f"{name} {getattr(self, name)}" for name in (*counts, "time_share"))
            raise ValueError(f"SpecAugment has {values}; none may be below 0, and the share at most 1")
        super().__post_init__()

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], batch: Batch
    ) -> Float[Array, "b t f"]:
        return specaugment.specaugment(
            frames_btf,
            lengths_b,
            ids_b=batch.ids_b,
            key=self.make_rng("augment"),
            freq_masks=self.freq_masks,
            freq_bins=self.freq_bins,
            time_masks=self.time_masks,
            time_frames=self.time_frames,
            time_share=self.time_share,
            warp_frames=self.warp_frames,
        )


class AddNoise(Module):
    """A layer that adds noise to a share of the training utterances, at an SNR drawn from [low_db, high_db]."""

    share: float
    low_db: float
    high_db: float

    def __post_init__(self):
        if not (0.0 <= self.share <= 1.0 and self.low_db <= self.high_db):
            raise ValueError(
                f"AddNoise has share {self.share} and decibels {self.low_db} to {self.high_db}; "
                "the share must be in [0, 1] and low_db not above high_db"
            )
        super().__post_init__()

    def __call__(self, wave_bn: Float[Array, "b n"], batch: Batch) -> Float[Array, "b n"]:
        return noise.add_noise(
            wave_bn,
            batch.sample_lengths_b,
            ids_b=batch.ids_b,
            key=self.make_rng("augment"),
            share=self.share,
            low_db=self.low_db,
            high_db=self.high_db,
        )
