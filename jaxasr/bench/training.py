"""Whole training steps (forward, backward, clipping, Adam) on the CPU, beside PyTorch in the same process."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import util
from statistics import median
from typing import Any

from jaxasr import scale
from jaxasr.bench.models import MODELS, BenchBatch, Spec, BenchStep, jaxasr_step
from jaxasr.bench.processes import CallTime, in_subprocess, available_cores, median_ratio, timed

SLOW_S = 30.0  # of processor time: after a step that takes longer there is no other round


@dataclass(frozen=True)
class StepTimes:
    """What steps of one model took, round by round; PyTorch's are empty where it is not installed."""

    equal: bool  # lengths
    jaxasr: tuple[CallTime, ...]
    pytorch: tuple[CallTime, ...]

    def line(self) -> str:
        """For people: medians, and the medians of the rounds' ratios."""
        line = f"  {'equal' if self.equal else 'unequal'} lengths".ljust(18) + f"jaxasr  {_medians(self.jaxasr)}"
        if not self.pytorch:
            return line
        wall = median_ratio([each.wall_s for each in self.jaxasr], [each.wall_s for each in self.pytorch])
        cpu = median_ratio([each.cpu_s for each in self.jaxasr], [each.cpu_s for each in self.pytorch])
        rounds = len(self.jaxasr)
        counted = f"{rounds} round{'s' * (rounds > 1)}"
        return f"{line}   PyTorch {_medians(self.pytorch)}   ratio {wall:.2f} (CPU {cpu:.2f}), {counted}"


def bench_training(
    *, benchmarks: Sequence[str] = (), threads: Sequence[int] = (1,), rounds: int = 5, sizes: BenchBatch = BenchBatch()
) -> Iterator[str]:
    """Times every model, or those of these names, each in a process bound to so many cores.

    Both sides train in turn in one process, under one malloc that keeps what it is given back. Beside the clock stands the
    processor time, which other work on the machine hardly changes.

    Raises:
        ValueError: no model of that name.
        RuntimeError: a measuring process failed; what it said is on stderr.
    """
    if unknown := [name for name in benchmarks if name not in MODELS]:
        raise ValueError(f"there is no model {', '.join(unknown)} to train; there are {', '.join(MODELS)}")
    yield (
        f"training steps on {sizes.examples} utterances of {sizes.frames} frames, {sizes.tokens} tokens, {sizes.vocab} words, "
        f"float32; medians of up to {rounds} rounds, seconds by the clock and of the processor"
    )
    if util.find_spec("torch") is None:
        yield "PyTorch is not installed: jaxasr alone is measured (pip install torch, to compare)"
    here = available_cores()
    for count in threads:
        if count > len(here):
            yield f"{count} threads: this process has {len(here)} core{'s' * (len(here) > 1)}"
            continue
        for name in benchmarks or MODELS:
            arguments = {"name": name, "sizes": asdict(sizes), "rounds": rounds}
            yield from in_subprocess(f"{__name__}:{_lines.__name__}", arguments, cores=here[:count])


def measure_training(spec: Spec, sizes: BenchBatch, *, rounds: int) -> tuple[tuple[int, ...], tuple[StepTimes, ...]]:
    """Parameters of each side, and what steps take here, at equal lengths and at unequal ones.

    jaxasr's first step compiles and is not counted, nor is PyTorch's first. At unequal lengths a step of PyTorch's may take
    a minute (the backward pass of a packed sequence): then one round is all there is.
    """
    scale.keep_freed_memory()
    sides = _implementations(spec, sizes)
    for side in sides:
        side.step(True)
    return tuple(side.parameters for side in sides), tuple(_time_rounds(sides, rounds, equal=each) for each in (True, False))


def _time_rounds(sides: Sequence[BenchStep], rounds: int, *, equal: bool) -> StepTimes:
    taken: list[list[CallTime]] = []
    while len(taken) < rounds and not (taken and taken[-1][-1].cpu_s > SLOW_S):
        taken.append([timed(partial(side.step, equal)) for side in sides])
    ours, *theirs = (tuple(side) for side in zip(*taken, strict=True))
    return StepTimes(equal, ours, theirs[0] if theirs else ())


def _implementations(spec: Spec, sizes: BenchBatch) -> list[BenchStep]:
    ours = jaxasr_step(spec, sizes)
    try:
        from jaxasr.bench.pytorch import pytorch_step
    except ModuleNotFoundError as missing:
        if missing.name != "torch":
            raise
        return [ours]
    return [ours, pytorch_step(spec, sizes, threads=len(available_cores()))]


def _lines(name: str, sizes: dict[str, Any], rounds: int) -> list[str]:
    parameters, times = measure_training(MODELS[name], BenchBatch(**sizes), rounds=rounds)
    said = [f"{side} {count:,}" for side, count in zip(("jaxasr", "PyTorch"), parameters, strict=False)]
    count = len(available_cores())
    threads = f"{count} thread{'s' * (count > 1)}"
    return [f"{name}, {threads}; parameters: {', '.join(said)}", *(each.line() for each in times)]


def _medians(taken: Sequence[CallTime]) -> str:
    return f"{median(each.wall_s for each in taken):7.3f} s (CPU {median(each.cpu_s for each in taken):7.3f} s)"
