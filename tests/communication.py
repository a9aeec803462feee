"""Sums of collectives for tests of the communication volume."""

from collections import Counter
from collections.abc import Sequence

from jaxasr.cost.collectives import Collective


def total_bytes(collectives: Sequence[Collective]) -> Counter[tuple[str, str]]:
    """Returns the bytes of one execution by kind and axes ("data", "data+fsdp")."""
    totals: Counter[tuple[str, str]] = Counter()
    for collective in collectives:
        totals[collective.kind, "+".join(collective.axes)] += collective.bytes * collective.times
    return totals
