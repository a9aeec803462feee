import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.audio import specaugment
from tests.reference import specaugment as reference

KEY = jax.random.key(5)
IDS = jnp.arange(100, 164, dtype=jnp.uint32)
EXAMPLES = len(IDS)


def augmented(function, **policy):
    """The op with its policy bound, compiled."""
    return jax.jit(functools.partial(function, key=KEY, **policy))


warp = augmented(specaugment.time_warp, warp_frames=4)
everything = augmented(
    specaugment.specaugment,
    warp_frames=3,
    freq_masks=2,
    freq_bins=3,
    time_masks=2,
    time_frames=5,
    time_share=0.4,
)


def test_warp_moves_one_frame_and_is_linear_beside_it(rng):
    lengths = rng.integers(11, 26, size=EXAMPLES)
    ramp_btf = jnp.broadcast_to(jnp.arange(25.0)[None, :, None], (EXAMPLES, 25, 1))
    warped_bt = np.asarray(warp(ramp_btf, jnp.asarray(lengths), ids_b=IDS))[..., 0]
    pairs = set()
    for row, length in enumerate(lengths):
        pair = next(
            (source, target)
            for source in range(5, length - 5)
            for target in range(source - 4, source + 5)
            if np.allclose(
                warped_bt[row], reference.warped(np.arange(25.0)[:, None], length, source, target)[:, 0], atol=1e-4
            )
        )
        pairs.add(pair[1] - pair[0])
        np.testing.assert_allclose(warped_bt[row, [0, length - 1]], [0, length - 1], atol=1e-5)
    assert pairs >= {-4, -2, 0, 2, 4}


def test_warp_leaves_the_short_alone_and_interpolates_the_rest(rng):
    frames_btf = jnp.asarray(rng.normal(size=(EXAMPLES, 14, 2)), jnp.float32)
    lengths_b = jnp.where(jnp.arange(EXAMPLES) % 2, 10, 14)
    warped_btf = warp(frames_btf, lengths_b, ids_b=IDS)
    np.testing.assert_array_equal(warped_btf[1::2], frames_btf[1::2])
    moved_b = np.any(np.asarray(warped_btf != frames_btf)[::2], axis=(1, 2))
    assert moved_b.mean() > 0.7
    assert np.max(np.abs(warped_btf)) <= np.max(np.abs(frames_btf)) + 1e-5
    assert specaugment.time_warp(frames_btf, lengths_b, warp_frames=0, ids_b=IDS, key=KEY) is frames_btf


def test_one_frequency_mask_is_one_band_for_all_time():
    mask = augmented(specaugment.mask_frequencies, freq_masks=1, freq_bins=4)
    zero_btf = np.asarray(mask(jnp.ones((EXAMPLES, 3, 9)), ids_b=IDS)) == 0
    np.testing.assert_array_equal(zero_btf, np.broadcast_to(zero_btf[:, :1], zero_btf.shape))
    bands = [reference.runs(zero_f) for zero_f in zero_btf[:, 0]]
    assert all(len(band) <= 1 for band in bands)
    assert {band[0][1] if band else 0 for band in bands} == {0, 1, 2, 3, 4}
    assert {start for band in bands for start, _ in band} == set(range(9))


def test_time_masks_stay_inside_the_utterance_and_its_share():
    mask = augmented(specaugment.mask_times, time_masks=1, time_frames=6, time_share=0.25)
    lengths = np.where(np.arange(EXAMPLES) % 2, 12, 40)
    zero_bt = np.asarray(mask(jnp.ones((EXAMPLES, 40, 1)), jnp.asarray(lengths), ids_b=IDS))[..., 0] == 0
    for parity, length, widest in ((0, 40, 6), (1, 12, 3)):
        stretches = [reference.runs(zero_t) for zero_t in zero_bt[parity::2]]
        assert {stretch[0][1] if stretch else 0 for stretch in stretches} == set(range(widest + 1))
        assert max(start + width for stretch in stretches for start, width in stretch) <= length


def test_many_masks_cover_their_expected_share():
    mask = augmented(specaugment.mask_times, time_masks=10, time_frames=1_000, time_share=0.05)
    lengths_b = jnp.full(EXAMPLES, 200)
    share = np.mean(np.asarray(mask(jnp.ones((EXAMPLES, 200, 1)), lengths_b, ids_b=IDS)) == 0)
    assert abs(share - (1 - (1 - 0.025) ** 10)) < 0.03


def test_the_width_may_be_the_whole_and_lengths_may_be_zero():
    mask = augmented(specaugment.mask_times, time_masks=2, time_frames=100, time_share=1.0)
    masked_btf = mask(jnp.ones((EXAMPLES, 4, 1)), jnp.where(jnp.arange(EXAMPLES) < 32, 0, 4), ids_b=IDS)
    np.testing.assert_array_equal(masked_btf[:32], 1)
    assert np.any(np.all(np.asarray(masked_btf[32:]) == 0, axis=1))
    frames_btf = everything(jnp.ones((EXAMPLES, 20, 6)), jnp.zeros(EXAMPLES, int), ids_b=IDS)
    assert np.isfinite(frames_btf).all()


def test_too_wide_bands_are_refused():
    with pytest.raises(ValueError, match="freq_bins=10 but frames have 9 bins"):
        specaugment.mask_frequencies(jnp.ones((64, 2, 9)), freq_masks=1, freq_bins=10, ids_b=IDS, key=KEY)


def test_padding_and_row_change_nothing_to_the_bit(rng):
    lengths = rng.integers(1, 21, size=EXAMPLES)
    valid_bt1 = (np.arange(20) < lengths[:, None])[..., None]
    frames_btf = np.where(valid_bt1, rng.normal(size=(EXAMPLES, 20, 6)), 0).astype(np.float32)
    short_btf = everything(jnp.asarray(frames_btf), jnp.asarray(lengths), ids_b=IDS)
    turned_btf = jnp.asarray(np.pad(frames_btf, ((0, 0), (0, 17), (0, 0)))[::-1].copy())
    long_btf = everything(turned_btf, jnp.asarray(lengths[::-1].copy()), ids_b=IDS[::-1])
    np.testing.assert_array_equal(np.asarray(long_btf[::-1])[:, :20] * valid_bt1, short_btf * valid_bt1)
    assert not np.any(long_btf[:, 20:])


def test_the_key_matters_and_a_policy_of_zeros_is_nothing(rng):
    frames_btf, lengths_b = jnp.asarray(rng.normal(size=(EXAMPLES, 20, 6)), jnp.float32), jnp.full(EXAMPLES, 20)
    policy = {"warp_frames": 3, "freq_masks": 1, "freq_bins": 3, "time_masks": 1, "time_frames": 5, "time_share": 1.0}
    keyed = jax.jit(functools.partial(specaugment.specaugment, **policy))
    one_btf, two_btf = (keyed(frames_btf, lengths_b, ids_b=IDS, key=jax.random.key(seed)) for seed in (0, 1))
    assert np.any(np.asarray(one_btf != two_btf), axis=(1, 2)).mean() > 0.9
    off = policy | {"warp_frames": 0, "freq_masks": 0, "time_masks": 0}
    assert specaugment.specaugment(frames_btf, lengths_b, **off, ids_b=IDS, key=KEY) is frames_btf
