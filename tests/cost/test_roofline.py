"""Tests of the roofline forecasts against calculations by hand."""

import pytest

from jaxasr.cost.collectives import Collective
from jaxasr.cost.roofline import Assumptions, Limits, ProgramWork, collective_s, forecast, over

LIMITS = Limits(
    flops=100e12, memory_bytes=16, memory_bandwidth=1e12, link_bandwidth=200e9, network_bandwidth=25e9, node_devices=8
)
PERFECT = Assumptions(flops_share=1.0, memory_share=1.0, link_share=1.0, kernel_s=0.0, collective_s=0.0)


def test_a_step_by_hand():
    summed = Collective("all-reduce", ("data",), 4, 4_000_000, times=10)
    work = ProgramWork(flops=50e9, memory_bytes=4e8, kernels=200, collectives=(summed,))
    assumed = Assumptions(
        flops_share=0.5, memory_share=0.8, link_share=0.5, kernel_s=1e-6, collective_s=10e-6, hidden_share=0.5
    )
    found = forecast(work, LIMITS, assumed)
    assert found.compute_s == pytest.approx(1e-3)
    assert found.memory_s == pytest.approx(5e-4)
    assert found.kernels_s == pytest.approx(2e-4)
    collective_time_s = 2 * 3 / 4 * 4_000_000 / 100e9 + 10e-6
    assert found.link_s == pytest.approx(10 * collective_time_s / 2)
    assert found.step_s == pytest.approx(1e-3 + 2e-4 + 5 * collective_time_s)
    assert found.bound == "compute"
    assert work.intensity == pytest.approx(125.0)


def test_several_nodes_go_as_fast_as_their_cards():
    alone = Collective("all-gather", ("fsdp",), 8, 8_000, times=1)
    assert collective_s(alone, LIMITS, PERFECT) == pytest.approx(7_000 / 200e9)
    one_a_node = Collective("all-gather", ("data",), 8, 8_000, times=1, nodes=8)
    assert collective_s(one_a_node, LIMITS, PERFECT) == pytest.approx(7_000 / 25e9)
    four_a_node = Collective("all-gather", ("data",), 8, 8_000, times=1, nodes=2)
    assert collective_s(four_a_node, LIMITS, PERFECT) == pytest.approx(7_000 / 100e9)
    sixteen_a_node = Collective("all-gather", ("data",), 32, 32_000, times=1, nodes=2)
    assert collective_s(sixteen_a_node, LIMITS, PERFECT) == pytest.approx(31_000 / 200e9)


def test_collectives_over_data_grow_with_it():
    kept, grown = over(
        (Collective("all-gather", ("fsdp",), 8, 8, 1), Collective("all-reduce", ("data",), 8, 8, 1, nodes=2)),
        256,
        was=64,
        node_devices=32,
    )
    assert (kept.group, kept.nodes) == (8, 1)
    assert (grown.group, grown.nodes) == (32, 8)


@pytest.mark.parametrize(
    "wrong", [{"flops_share": 0.0}, {"memory_share": 1.5}, {"hidden_share": 1.0}, {"kernel_s": -1e-6}]
)
def test_assumptions_out_of_reach_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Assumptions(**wrong)
