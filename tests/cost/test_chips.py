"""The table of chips: found by JAX's names, consistent with itself and with JAX's own table."""

import importlib
from dataclasses import dataclass, replace

import jax
import pytest

from jaxasr.cost.chips import CHIPS, H100, chip_of, chips_among

TABLE = "jax._src.pallas.mosaic.tpu_info"  # of jax 0.10 and 0.12


@dataclass(frozen=True)
class Core:
    id: int
    coords: tuple[int, ...]
    slice_index: int = 0


def test_a_chip_is_found_by_what_jax_calls_it_and_only_so():
    assert chip_of("TPU v5 lite") is CHIPS["v5e"]
    assert chip_of("TPU v5") is CHIPS["v5p"]
    assert chip_of("NVIDIA H100 80GB HBM3") is H100
    for other in ("cpu", "NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "TPU v3"):
        assert chip_of(other) is None
    assert chip_of(jax.devices()[0].device_kind) is None


def test_no_name_means_two_chips_and_all_have_a_source():
    kinds = [kind for chip in CHIPS.values() for kind in chip.kinds]
    assert len(set(kinds)) == len(kinds)
    assert all(chip.source and chip.flops_float32 <= chip.flops_bf16 for chip in CHIPS.values())


@pytest.mark.parametrize("name", ["v4", "v5e", "v5p", "v6e", "tpu7x"])
def test_tpus_agree_with_the_table_of_jax(name):
    table = importlib.import_module(TABLE)
    version = {"v4": "TPU_V4", "v5e": "TPU_V5E", "v5p": "TPU_V5P", "v6e": "TPU_V6E", "tpu7x": "TPU_7X"}[name]
    version = getattr(table.ChipVersion, version)
    info = table.get_tpu_info_for_chip(version, 1)  # of one core
    cores = version.num_physical_tensor_cores_per_chip
    chip = CHIPS[name]
    assert chip.flops_bf16 == pytest.approx(cores * info.bf16_ops_per_second, rel=0.01)
    assert chip.memory_bytes == pytest.approx(cores * info.hbm_capacity_bytes, rel=0.02)
    assert chip.memory_bandwidth == pytest.approx(cores * info.mem_bw_bytes_per_second, rel=0.13)  # they differ on v5p


def test_mfu_is_the_share_of_the_peak_of_all_chips():
    assert H100.mfu(989.5e12 / 2) == 0.5
    assert H100.mfu(989.5e12, chips=8) == 0.125


def test_a_chip_of_ones_own_needs_what_it_can_do():
    mine = replace(H100, name="mine", kinds=("cpu",), flops_bf16=1e11, flops_float32=1e11)
    assert mine.mfu(5e10) == 0.5
    with pytest.raises(ValueError, match=r"Chip\.memory_bandwidth is 0.*mine"):
        replace(mine, memory_bandwidth=0.0)


def test_two_cores_of_one_chip_are_one_chip():
    cores = [Core(0, (0, 0, 0)), Core(1, (0, 0, 0)), Core(2, (1, 0, 0)), Core(3, (0, 0, 0), slice_index=1)]
    assert chips_among(cores) == 3
    assert chips_among(jax.devices()) == jax.device_count()
