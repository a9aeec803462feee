"""How long a step takes on a chip, forecast from what it computes, moves and says. Every figure that is assumed is named.

    step = max(products / (share of peak), memory traffic / (share of bandwidth)) + kernels x latency
           + what of the collectives is not hidden
    a collective = bytes on the wire / (share of the link) + latency

Products alone are arithmetic here; everything elementwise is taken to be bound by memory. Kernels are what a recurrence pays
for: a loop of 600 trips runs its body's kernels 600 times, one after another, however small they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from jaxasr.cost.collectives import Collective


@dataclass(frozen=True)
class Limits:
    """What a device can do at most, by its maker's figures."""

    flops: float  # a second, in the type that products are computed in
    memory_bytes: int
    memory_bandwidth: float  # bytes a second
    link_bandwidth: float  # bytes a second that it sends over all its fast links
    network_bandwidth: float = 0.0  # bytes a second that it sends to other nodes; 0: there are none
    node_devices: int = 2**31  # that the fast links can connect at most


@dataclass(frozen=True)
class Assumptions:
    """What is not in a data sheet."""

    flops_share: float = 0.6  # of the peak that products reach
    memory_share: float = 0.8
    link_share: float = 0.8
    kernel_s: float = 1e-6  # from one kernel to the next
    collective_s: float = 10e-6  # of latency
    hidden_share: float = 0.0  # of the collectives' time, behind computing

    def __post_init__(self):
        for each in fields(self):
            value = getattr(self, each.name)
            low_enough = value < 1.0 if each.name == "hidden_share" else value <= 1.0
            if (
                not (0.0 if each.name.endswith("_s") or each.name == "hidden_share" else 1e-9) <= value
                or not low_enough
            ):
                raise ValueError(
                    f"{each.name}={value}; shares are in (0, 1], a hidden share in [0, 1), latencies 0 s or more"
                )


@dataclass(frozen=True)
class ProgramWork:
    """One step, on one device."""

    flops: float  # of products
    memory_bytes: float
    kernels: int
    collectives: tuple[Collective, ...]

    @property
    def intensity(self) -> float:
        """FLOPs for each byte of main memory's traffic."""
        return self.flops / max(self.memory_bytes, 1.0)


@dataclass(frozen=True)
class Forecast:
    """Seconds of a step, by what takes them."""

    compute_s: float
    memory_s: float
    kernels_s: float
    link_s: float  # of collectives, those that are hidden left out

    @property
    def step_s(self) -> float:
        """All together: computing and memory overlap, the rest follows."""
        return max(self.compute_s, self.memory_s) + self.kernels_s + self.link_s

    @property
    def bound(self) -> str:
        """What takes most of it."""
        return max(("compute", "memory", "kernels", "link"), key=lambda name: getattr(self, f"{name}_s"))


def forecast(work: ProgramWork, limits: Limits, assumed: Assumptions) -> Forecast:
    """The seconds of a step."""
    link_s = sum(collective_s(each, limits, assumed) * each.times for each in work.collectives)
    return Forecast(
        compute_s=work.flops / (limits.flops * assumed.flops_share),
        memory_s=work.memory_bytes / (limits.memory_bandwidth * assumed.memory_share),
        kernels_s=work.kernels * assumed.kernel_s,
        link_s=link_s * (1.0 - assumed.hidden_share),
    )


def collective_s(collective: Collective, limits: Limits, assumed: Assumptions) -> float:
    """The seconds of one collective, once.

    A ring over several nodes enters and leaves each node once for every member it has there, each over its own network card;
    so a group goes as fast as the slower of the links and of its members' cards in one node together.
    """
    bandwidth = limits.link_bandwidth
    if collective.nodes > 1 and limits.network_bandwidth:
        members = -(-collective.group // collective.nodes)
        bandwidth = min(bandwidth, members * limits.network_bandwidth)
    return collective.wire_bytes / (bandwidth * assumed.link_share) + assumed.collective_s


def over(collectives: Sequence[Collective], devices: int, *, was: int, node_devices: int) -> tuple[Collective, ...]:
    """The same collectives where those that spread over the data axis do so over another number of devices."""

    def spread(each: Collective) -> Collective:
        group = max(2, round(each.group * devices / was))
        return replace(each, group=group, nodes=min(group, -(-devices // node_devices)))

    return tuple(spread(each) if "data" in each.axes else each for each in collectives)
