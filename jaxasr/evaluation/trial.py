"""A trial of one batch of an evaluation, from which the time of all evaluations of a run is estimated."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from jaxasr.data import BoundPipeline
from jaxasr.records import Batch
from jaxasr.scale.layout import HostShard


@dataclass(frozen=True)
class EvalTrial:
    """The times of the longest batch of a split."""

    compile_s: float  # tracing and compiling the search for one shape
    batch_s: float
    shapes: int  # of the split, each of which is compiled
    longest_batches: float  # the padded length of the split, in longest batches

    @property
    def first_s(self) -> float:
        """The time of all programs of the split, in seconds, if each takes as long as that of the longest batch."""
        return self.compile_s * self.shapes

    @property
    def each_s(self) -> float:
        """The time of one evaluation, in seconds, after all programs are compiled."""
        return self.batch_s * self.longest_batches


def try_longest_batch(data: BoundPipeline, decode: Callable[[Batch], Any], shard: HostShard, workers: int) -> EvalTrial:
    """Decodes the longest batch of a split twice.

    Args:
        data: the split.
        decode: returns arrays for a batch.
        shard: the rows of a batch that this process reads.
        workers: loader processes.
    """
    plan = data.eval_plan
    last = len(plan) - 1
    with data.eval_batches(workers=workers, host=shard.host, hosts=shard.hosts, start=last) as batches:
        batch = next(batches).batch
    first_s, batch_s = (seconds_of(lambda: decode(batch)) for _ in range(2))
    return EvalTrial(
        max(first_s - batch_s, 0.0),
        batch_s,
        len(set(plan.bucket_ids.tolist())),
        plan.padding.padded / plan.row(last).padding.padded,
    )


def seconds_of(compute: Callable[[], Any]) -> float:
    """Returns the time until all arrays that a function returns are computed."""
    started_s = time.perf_counter()
    jax.block_until_ready(compute())
    return time.perf_counter() - started_s
