"""A roofline forecast of the time of a step on a chip, from its FLOPs, memory traffic, kernels and collectives.

    step = max(products / (share of peak), memory traffic / (share of bandwidth)) + kernels x latency
           + the part of the collectives that is not hidden
    a collective = bytes on the wire / (share of the link) + latency

Only products count as arithmetic; elementwise operations are assumed to be bound by memory. The latency of kernels dominates
in recurrences: a loop of 600 trips runs the kernels of its body 600 times in sequence. `Assumptions` has all assumed figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from jaxasr.cost.collectives import Collective


@dataclass(frozen=True)
class Limits:
    """The peak figures of a device, from its maker's data sheet."""

    flops: float  # per second, in the type of the products
    memory_bytes: int
    memory_bandwidth: float  # bytes per second
    link_bandwidth: float  # bytes per second, sent over all fast links
    network_bandwidth: float = 0.0  # bytes per second, sent to other nodes; 0: there are none
    node_devices: int = 2**31  # maximum number of devices that fast links connect


@dataclass(frozen=True)
class Assumptions:
    """The assumed figures of a forecast, which no data sheet has."""

    flops_share: float = 0.6  # share of the peak FLOPs that products reach
    memory_share: float = 0.8  # share of the memory bandwidth
    link_share: float = 0.8  # share of the bandwidth of links and network
    kernel_s: float = 1e-6  # from one kernel to the next
    collective_s: float = 10e-6  # latency
    hidden_share: float = 0.0  # share of the collectives' time that overlaps with computing

    def __post_init__(self):
        for assumption in fields(self):
            name = assumption.name
            value = getattr(self, name)
            low_enough = value < 1.0 if name == "hidden_share" else value <= 1.0
            if not (0.0 if name.endswith("_s") or name == "hidden_share" else 1e-9) <= value or not low_enough:
                raise ValueError(
                    f"{name}={value}; shares are in (0, 1], a hidden share in [0, 1), latencies 0 s or more"
                )


@dataclass(frozen=True)
class ProgramWork:
    """The work of one step on one device."""

    flops: float  # of products
    memory_bytes: float
    kernels: int
    collectives: tuple[Collective, ...]

    @property
    def intensity(self) -> float:
        """The FLOPs for each byte of main memory traffic."""
        return self.flops / max(self.memory_bytes, 1.0)


@dataclass(frozen=True)
class Forecast:
    """The forecast parts of the time of a step."""

    compute_s: float
    memory_s: float
    kernels_s: float
    link_s: float  # of collectives, without the hidden share

    @property
    def step_s(self) -> float:
        """The time of a step. Computing and memory traffic overlap; kernel latency and collectives add to it."""
        return max(self.compute_s, self.memory_s) + self.kernels_s + self.link_s

    @property
    def bound(self) -> str:
        """The name of the largest part: compute, memory, kernels or link."""
        return max(("compute", "memory", "kernels", "link"), key=lambda name: getattr(self, f"{name}_s"))


def forecast(work: ProgramWork, limits: Limits, assumed: Assumptions) -> Forecast:
    """Returns the forecast parts of the time of a step."""
    link_s = sum(collective_s(collective, limits, assumed) * collective.times for collective in work.collectives)
    return Forecast(
        compute_s=work.flops / (limits.flops * assumed.flops_share),
        memory_s=work.memory_bytes / (limits.memory_bandwidth * assumed.memory_share),
        kernels_s=work.kernels * assumed.kernel_s,
        link_s=link_s * (1.0 - assumed.hidden_share),
    )


def collective_s(collective: Collective, limits: Limits, assumed: Assumptions) -> float:
    """Returns the seconds of one run of a collective.

    A ring over several nodes enters and leaves a node once for each member in the node, over the member's own network card.
    So the bandwidth of a group is the smaller one of two: the links, or the network cards of its members in one node.
    """
    bandwidth = limits.link_bandwidth
    if collective.nodes > 1 and limits.network_bandwidth:
        members = -(-collective.group // collective.nodes)
        bandwidth = min(bandwidth, members * limits.network_bandwidth)
    return collective.wire_bytes / (bandwidth * assumed.link_share) + assumed.collective_s


def over(collectives: Sequence[Collective], devices: int, *, was: int, node_devices: int) -> tuple[Collective, ...]:
    """Returns the collectives with the groups on the data axis scaled to another number of devices.

    Args:
        collectives: of a program for `was` devices.
        devices: the other number of devices.
        was: number of devices of the program.
        node_devices: number of devices in a node.
    """

    def rescaled(collective: Collective) -> Collective:
        if "data" not in collective.axes:
            return collective
        group = max(2, round(collective.group * devices / was))
        return replace(collective, group=group, nodes=min(group, -(-devices // node_devices)))

    return tuple(map(rescaled, collectives))
