"""The benchmarks of `jaxasr bench` that need no experiment, and the LSTM benchmark beside PyTorch.

Every benchmark measures a baseline in the same run. The ratio of the two times is the result.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import util
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr import bench, nn, scale
from jaxasr.bench.intervals import bench_intervals
from jaxasr.bench.opening import bench_opening
from jaxasr.bench.processes import available_cores, in_subprocess, median_ratio, timed
from jaxasr.bench.search import bench_search
from jaxasr.bench.trained_run.non_speech import bench_non_speech
from jaxasr.bench.trained_run.streaming import bench_streaming
from jaxasr.bench.training import bench_training


@dataclass(frozen=True)
class LstmShape:
    """A stack of bidirectional LSTM layers and the size of its input."""

    depth: int = 4
    width: int = 320  # of one direction and of the input
    examples: int = 16
    frames: int = 200

    def lengths(self, *, equal: bool) -> list[int]:
        """Returns equal lengths, or lengths that fall by a fortieth of the frames: 200, 195, 190 ..."""
        step = 0 if equal else max(1, self.frames // 40)
        return [max(1, self.frames - step * row) for row in range(self.examples)]


@dataclass(frozen=True)
class LstmTimes:
    """The seconds of a forward and backward pass in each round. `pytorch_s` is empty if PyTorch is not installed."""

    threads: int
    equal: bool  # whether all lengths are equal
    jaxasr_s: tuple[float, ...]
    pytorch_s: tuple[float, ...]

    def line(self) -> str:
        """Returns a line with the medians, and the median of the ratios of the rounds."""
        lengths = "equal lengths" if self.equal else "unequal lengths"
        line = f"{self.threads} thread{'s' * (self.threads > 1)}, {lengths:15}  jaxasr {median(self.jaxasr_s):7.3f} s"
        if not self.pytorch_s:
            return line
        times = median_ratio(self.jaxasr_s, self.pytorch_s)
        return f"{line}   PyTorch {median(self.pytorch_s):7.3f} s   ratio {times:.2f}"


def bench_data() -> Iterator[str]:
    """Measures the loader on synthetic FLAC files, beside soundfile alone."""
    with bench.synthetic_speech() as opened:
        yield from bench.bench_loader(opened).lines()


def bench_lstm(
    *,
    shape: LstmShape = LstmShape(),
    threads: Sequence[int] = (1, 2),
    rounds: int = 7,
) -> Iterator[str]:
    """Measures forward and backward passes of a bidirectional LSTM on the CPU, beside PyTorch if that is installed.

    The two implementations run alternately in one process, with a malloc that keeps freed memory. XLA fixes its number of
    threads when a process starts. Each number of threads is therefore measured in its own process, bound to as many cores.

    Raises:
        RuntimeError: a measuring process failed; its output is on stderr.
    """
    yield (
        f"{shape.depth} bidirectional LSTM layers of {shape.width}, {shape.examples} x {shape.frames} frames, forward and "
        f"backward, float32; medians of {rounds} rounds"
    )
    if util.find_spec("torch") is None:
        yield "PyTorch is not installed: jaxasr alone is measured (pip install torch, to compare)"
    here = available_cores()
    for count in threads:
        if count > len(here):
            yield f"{count} threads: this process has {len(here)} core{'s' * (len(here) > 1)}"
            continue
        for equal in (True, False):
            yield _measure_in_subprocess(shape, here[:count], equal=equal, rounds=rounds).line()


def measure_lstm(shape: LstmShape, *, equal: bool, rounds: int) -> LstmTimes:
    """Times both implementations in this process, with the threads that it has.

    With unequal lengths PyTorch is timed in one round only, because the backward pass of its packed sequences takes many
    times as long as that of padded ones.
    """
    scale.keep_freed_memory()
    ours = _jaxasr_gradient(shape, equal=equal)
    theirs = _pytorch_gradient(shape, equal=equal)
    pairs = []
    for _ in range(rounds if equal or theirs is None else 1):
        pairs.append((timed(ours).wall_s, timed(theirs).wall_s if theirs else None))
    ours_s, theirs_s = zip(*pairs, strict=True)
    return LstmTimes(len(available_cores()), equal, ours_s, tuple(second for second in theirs_s if second is not None))


BENCHMARKS: dict[str, Callable[..., Iterator[str]]] = {
    "data": bench_data,
    "intervals": bench_intervals,
    "lstm": bench_lstm,
    "non-speech": bench_non_speech,
    "opening": bench_opening,
    "search": bench_search,
    "streaming": bench_streaming,
    "training": bench_training,
}


def benchmark(name: str, **options: Any) -> Iterator[str]:
    """Runs a benchmark and yields its lines. An option that is None keeps the default of the benchmark.

    Raises:
        ValueError: the benchmark has no such option.
    """
    call = BENCHMARKS[name]
    given = {option: value for option, value in options.items() if value is not None}
    for option in given.keys() - inspect.signature(call).parameters.keys():
        raise ValueError(f"bench {name} has no option --{option.replace('_', '-')}")
    return call(**given)


def _measure_here(shape: dict[str, int], equal: bool, rounds: int) -> dict[str, Any]:
    return vars(measure_lstm(LstmShape(**shape), equal=equal, rounds=rounds))


def _measure_in_subprocess(shape: LstmShape, cores: list[int], *, equal: bool, rounds: int) -> LstmTimes:
    arguments = {"shape": asdict(shape), "equal": equal, "rounds": rounds}
    times = in_subprocess(f"{__name__}:{_measure_here.__name__}", arguments, cores=cores)
    return LstmTimes(times["threads"], times["equal"], tuple(times["jaxasr_s"]), tuple(times["pytorch_s"]))


def _jaxasr_gradient(shape: LstmShape, *, equal: bool) -> Callable[[], object]:
    listener = nn.Listener(shape.width, time_reduction=(1,) * shape.depth)
    x_btf = jax.random.normal(jax.random.key(1), (shape.examples, shape.frames, shape.width))
    lengths_b = jnp.asarray(shape.lengths(equal=equal))
    variables = jax.jit(lambda: listener.init(jax.random.key(0), x_btf, lengths_b, training=None))()

    def loss(variables, x_btf):
        hidden_bsd, _ = listener.apply(variables, x_btf, lengths_b, training=None)  # pyright: ignore[reportGeneralTypeIssues]
        return jnp.sum(jnp.square(hidden_bsd))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    jax.block_until_ready(gradient(variables, x_btf))
    return lambda: jax.block_until_ready(gradient(variables, x_btf))


def _pytorch_gradient(shape: LstmShape, *, equal: bool) -> Callable[[], object] | None:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    torch.set_num_threads(len(available_cores()))
    lstm = torch.nn.LSTM(shape.width, shape.width, shape.depth, bidirectional=True, batch_first=True)
    size = (shape.examples, shape.frames, shape.width)
    x_btf = torch.from_numpy(np.random.default_rng(0).standard_normal(size, np.float32))
    lengths_b = torch.tensor(shape.lengths(equal=equal))

    def step() -> None:
        lstm.zero_grad()
        x = x_btf.clone().requires_grad_()
        packed = x if equal else torch.nn.utils.rnn.pack_padded_sequence(x, lengths_b, batch_first=True)
        hidden, _ = lstm(packed)
        (hidden if equal else hidden.data).square().sum().backward()

    if equal:
        step()
    return step
