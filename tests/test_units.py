import pytest

from jaxasr import units


@pytest.mark.parametrize(
    ("ms", "rate_hz", "samples"), [(25.0, 16_000, 400), (12.5, 16_000, 200), (0.1, 20_000, 2), (0.0, 8_000, 0)]
)
def test_whole_samples(ms, rate_hz, samples):
    assert units.samples_from_ms(ms, rate_hz) == samples


def test_a_fraction_of_a_sample_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"3.9 ms at 16000 Hz is 62.4 samples.*3.875 ms is 62"):
        units.samples_from_ms(3.9, 16_000)
