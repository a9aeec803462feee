"""SpecAugment on normalised frames: time warp, frequency masks, time masks, filled with zero (the mean).

What an utterance gets depends on the key, its id and its true length; never on its row or the padding behind it.

Source: Park et al. 2019, arXiv:1904.08779, section 2. Masks that grow with the utterance: Park et al. 2020,
arXiv:1912.05533, section 2, as in the Conformer (Gulati et al. 2020, arXiv:2005.08100, section 3.1).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxasr.ops import masks, random
from jaxasr.shapes import Frames, Ids, Lengths, PRNGKey


def specaugment(
    frames_btf: Frames,
    frame_lengths_b: Lengths,
    *,
    warp_frames: int,
    freq_masks: int,
    freq_bins: int,
    time_masks: int,
    time_frames: int,
    time_share: float,
    ids_b: Ids,
    key: PRNGKey,
) -> Frames:
    """Warps time, then masks bins, then frames, each with draws of its own; the paper's names are W, m_F, F, m_T, T, p.

    LibriSpeech "LD" is W = 80, m_F = 2, F = 27, m_T = 2, T = 100, p = 1. The Conformer's ten masks of at most a
    twentieth of the utterance are m_T = 10, p = 0.05 and a T as long as any utterance. A count of 0 (W = 0) switches
    its part off.
    """
    warp_key, freq_key, time_key = jax.random.split(key, 3)
    frames_btf = time_warp(frames_btf, frame_lengths_b, warp_frames=warp_frames, ids_b=ids_b, key=warp_key)
    frames_btf = mask_frequencies(frames_btf, freq_masks=freq_masks, freq_bins=freq_bins, ids_b=ids_b, key=freq_key)
    return mask_times(
        frames_btf,
        frame_lengths_b,
        time_masks=time_masks,
        time_frames=time_frames,
        time_share=time_share,
        ids_b=ids_b,
        key=time_key,
    )


def time_warp(frames_btf: Frames, frame_lengths_b: Lengths, *, warp_frames: int, ids_b: Ids, key: PRNGKey) -> Frames:
    """Moves one frame, drawn at least W + 1 from either end, by up to W = `warp_frames`; stretches what is around it.

    First and last frame and the length stay. Time between the three fixed points is resampled linearly (the paper
    warps by a thin-plate spline with six fixed points). Shorter than 2 W + 3 frames: unchanged.
    """
    if warp_frames == 0:
        return frames_btf
    draws_b2 = _uniform(random.example_keys(key, ids_b), (2,))
    length_b = frame_lengths_b
    margin = warp_frames + 1
    from_b = margin + _below(draws_b2[:, 0], length_b - 2 * margin)
    to_b = from_b - warp_frames + _below(draws_b2[:, 1], 2 * warp_frames + 1)
    warped_btf = jax.vmap(_resampled)(frames_btf, length_b, from_b, to_b)
    changed_bt = masks.valid_from_lengths(jnp.where(length_b > 2 * margin, length_b, 0), frames_btf.shape[1])
    return jnp.where(changed_bt[..., None], warped_btf, frames_btf)


def mask_frequencies(frames_btf: Frames, *, freq_masks: int, freq_bins: int, ids_b: Ids, key: PRNGKey) -> Frames:
    """Zeroes `freq_masks` bands of 0 to `freq_bins` neighbouring bins, over the whole utterance; bands may overlap.

    Raises:
        ValueError: bands wider than the frames have bins.
    """
    batch, _, bins = frames_btf.shape
    if freq_masks == 0:
        return frames_btf
    if freq_bins > bins:
        raise ValueError(f"freq_bins={freq_bins} but frames have {bins} bins; freq_bins must not exceed them")
    covered_bf = _covered(
        random.example_keys(key, ids_b),
        count=freq_masks,
        widest_b=jnp.full(batch, freq_bins),
        extent_b=jnp.full(batch, bins),
        positions=bins,
    )
    return jnp.where(covered_bf[:, None, :], jnp.zeros((), frames_btf.dtype), frames_btf)


def mask_times(
    frames_btf: Frames,
    frame_lengths_b: Lengths,
    *,
    time_masks: int,
    time_frames: int,
    time_share: float,
    ids_b: Ids,
    key: PRNGKey,
) -> Frames:
    """Zeroes `time_masks` stretches of 0 to `time_frames` frames, none above `time_share` of the real length.

    Stretches may overlap.
    """
    if time_masks == 0:
        return frames_btf
    share_b = jnp.floor(frame_lengths_b.astype(jnp.float32) * time_share).astype(frame_lengths_b.dtype)
    covered_bt = _covered(
        random.example_keys(key, ids_b),
        count=time_masks,
        widest_b=jnp.minimum(share_b, time_frames),
        extent_b=frame_lengths_b,
        positions=frames_btf.shape[1],
    )
    return jnp.where(covered_bt[..., None], jnp.zeros((), frames_btf.dtype), frames_btf)


def _covered(
    keys_b: Key[Array, " b"],
    *,
    count: int,
    widest_b: Int[Array, " b"],
    extent_b: Int[Array, " b"],
    positions: int,
) -> Bool[Array, "b {positions}"]:
    """Returns True inside any of `count` intervals: widths uniform on 0..widest, then starts uniform on 0..extent - width."""
    draws_bm2 = _uniform(keys_b, (count, 2))
    width_bm = _below(draws_bm2[..., 0], widest_b[:, None] + 1)
    start_bm = _below(draws_bm2[..., 1], extent_b[:, None] - width_bm + 1)
    at = jnp.arange(positions)[None, None, :]
    return jnp.any((at >= start_bm[..., None]) & (at < (start_bm + width_bm)[..., None]), axis=1)


def _uniform(keys_b: Key[Array, " b"], shape: tuple[int, ...]) -> Float[Array, "b ..."]:
    return jax.vmap(lambda key: jax.random.uniform(key, shape))(keys_b)


def _below(uniform: Float[Array, "*any"], bound: Int[Array, "*#any"] | int) -> Int[Array, "*any"]:
    """Draws uniform integers from 0 to bound - 1; 0 where bound < 1."""
    return jnp.clip(jnp.floor(uniform * bound).astype(jnp.int32), 0, jnp.maximum(bound - 1, 0))


def _resampled(
    frames_tf: Float[Array, "t f"], length: Int[Array, ""], source: Int[Array, ""], target: Int[Array, ""]
) -> Float[Array, "t f"]:
    """Returns one utterance whose frame `source` now stands at `target`, with frames 0 and length - 1 where they were."""
    at_t = jnp.arange(frames_tf.shape[0])
    last = length - 1
    before_t = at_t * (source / jnp.maximum(target, 1))
    after_t = source + (at_t - target) * ((last - source) / jnp.maximum(last - target, 1))
    from_t = jnp.clip(jnp.where(at_t <= target, before_t, after_t), 0, jnp.maximum(last, 0))
    low_t = jnp.floor(from_t).astype(jnp.int32)
    high_t = jnp.minimum(low_t + 1, jnp.maximum(last, 0))
    part_t1 = (from_t - low_t)[:, None].astype(frames_tf.dtype)
    return frames_tf[low_t] * (1 - part_t1) + frames_tf[high_t] * part_t1
