"""Limits of devices by hand: links of slices, and the memory that JAX takes."""

import pytest

from jaxasr.cost.chips import CHIPS
from jaxasr.cost.collectives import Collective
from jaxasr.cost.roofline import Assumptions, collective_s
from jaxasr.cost.topology import topology
from jaxasr.plan.limits import MEM_FRACTION, limits_of

PERFECT = Assumptions(flops_share=1.0, memory_share=1.0, link_share=1.0, kernel_s=0.0, collective_s=0.0)


def test_an_all_reduce_over_four_v5e_has_two_links_a_chip():
    """A 2 x 2 slice has no links around its ends: each chip has two of its four links of 50 GB/s."""
    limits = limits_of(CHIPS["v5e"], topology("v5e:2x2"), "bfloat16")
    summed = Collective("all-reduce", ("data",), 4, 4_000_000, times=1)
    assert collective_s(summed, limits, PERFECT) == pytest.approx(2 * 3 / 4 * 4_000_000 / 100e9)


def test_a_device_of_a_chip_with_two_has_half_of_everything():
    limits = limits_of(CHIPS["tpu7x"], topology("tpu7x:4x4x4"), "bfloat16")
    assert limits.flops == 2_307e12 / 2
    assert limits.link_bandwidth == 300e9


@pytest.mark.parametrize(("fraction", "share"), [(None, 0.75), ("", 0.75), ("0.92", 0.92), ("1", 1.0), (".5", 0.5)])
def test_jax_takes_a_share_of_a_gpus_memory(monkeypatch: pytest.MonkeyPatch, fraction: str | None, share: float):
    monkeypatch.delenv(MEM_FRACTION, raising=False)
    if fraction is not None:
        monkeypatch.setenv(MEM_FRACTION, fraction)
    limits = limits_of(CHIPS["h100"], topology("h100x8:1"), "float32")
    assert limits.memory_bytes == pytest.approx(80e9 * share)


@pytest.mark.parametrize("fraction", ["0", "-0.5", "1.5", "nan", "inf", "75%"])
def test_what_is_no_share_is_refused(monkeypatch: pytest.MonkeyPatch, fraction: str):
    monkeypatch.setenv(MEM_FRACTION, fraction)
    with pytest.raises(ValueError, match=f"{MEM_FRACTION}={fraction}; a share"):
        limits_of(CHIPS["h100"], topology("h100x8:1"), "float32")


def test_a_v5e_keeps_a_quarter_of_a_gib_for_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(MEM_FRACTION, "0.5")  # of GPUs
    assert limits_of(CHIPS["v5e"], topology("v5e:4x4"), "float32").memory_bytes == 15.75 * 2**30
