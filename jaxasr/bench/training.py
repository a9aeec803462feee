"""The benchmark of whole training steps (forward, backward, clipping, Adam) on the CPU, beside PyTorch in one process."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import util
from statistics import median
from typing import Any

from jaxasr import scale
from jaxasr.bench.models import MODELS, BenchBatch, BenchStep, Spec, jaxasr_step
from jaxasr.bench.processes import CallTime, available_cores, in_subprocess, median_ratio, timed

SLOW_S = 30.0  # CPU time; there is no further round after a step that takes longer


@dataclass(frozen=True)
class StepTimes:
    """The time of training steps of one model in each round. `pytorch` is empty if PyTorch is not installed."""

    equal: bool  # whether all lengths are equal
    jaxasr: tuple[CallTime, ...]
    pytorch: tuple[CallTime, ...]

    def line(self) -> str:
        """Returns a line with the medians, and the medians of the ratios of the rounds."""
        line = f"  {'equal' if self.equal else 'unequal'} lengths".ljust(18) + f"jaxasr  {_medians(self.jaxasr)}"
        if not self.pytorch:
            return line
        wall = median_ratio([step.wall_s for step in self.jaxasr], [step.wall_s for step in self.pytorch])
        cpu = median_ratio([step.cpu_s for step in self.jaxasr], [step.cpu_s for step in self.pytorch])
        rounds = len(self.jaxasr)
        counted = f"{rounds} round{'s' * (rounds > 1)}"
        return f"{line}   PyTorch {_medians(self.pytorch)}   ratio {wall:.2f} (CPU {cpu:.2f}), {counted}"


def bench_training(
    *, benchmarks: Sequence[str] = (), threads: Sequence[int] = (1,), rounds: int = 5, sizes: BenchBatch = BenchBatch()
) -> Iterator[str]:
    """Times a training step of every model, each in a process that is bound to as many cores as there are threads.

    Both implementations train alternately in one process, with a malloc that keeps freed memory. Beside the wall time stands
    the CPU time, which other work on the machine hardly changes.

    Args:
        benchmarks: the names of the models; empty: all.

    Raises:
        ValueError: there is no model of that name.
        RuntimeError: a measuring process failed; its output is on stderr.
    """
    if unknown := [name for name in benchmarks if name not in MODELS]:
        raise ValueError(f"there is no model {', '.join(unknown)} to train; there are {', '.join(MODELS)}")
    yield (
        f"training steps on {sizes.examples} utterances of {sizes.frames} frames, {sizes.tokens} tokens, "
        f"{sizes.vocab} words, float32; medians of up to {rounds} rounds, seconds by the clock and of the processor"
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
    """Returns the parameters of each implementation, and the times of its steps at equal and at unequal lengths.

    The first step of each implementation is not counted, because jaxasr compiles it. At unequal lengths a step of PyTorch
    may take a minute (the backward pass of a packed sequence). In that case there is only one round.
    """
    scale.keep_freed_memory()
    sides = _implementations(spec, sizes)
    for side in sides:
        side.step(True)
    times = tuple(_time_rounds(sides, rounds, equal=equal) for equal in (True, False))
    return tuple(side.parameters for side in sides), times


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
    shown = [f"{side} {count:,}" for side, count in zip(("jaxasr", "PyTorch"), parameters, strict=False)]
    count = len(available_cores())
    threads = f"{count} thread{'s' * (count > 1)}"
    return [f"{name}, {threads}; parameters: {', '.join(shown)}", *(steps.line() for steps in times)]


def _medians(taken: Sequence[CallTime]) -> str:
    return f"{median(step.wall_s for step in taken):7.3f} s (CPU {median(step.cpu_s for step in taken):7.3f} s)"
