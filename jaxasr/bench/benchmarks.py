"""Benchmarks of parts, each beside an independent witness in the same run: what counts is the ratio of the two."""

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
from jaxasr.bench.processes import apart, cores, ratio, spent
from jaxasr.bench.search import bench_search
from jaxasr.bench.training import bench_training


@dataclass(frozen=True)
class LstmShape:
    """A stack of bidirectional layers and what goes through it."""

    depth: int = 4
    width: int = 320  # of one direction, and of the input
    examples: int = 16
    frames: int = 200

    def lengths(self, *, equal: bool) -> list[int]:
        """All whole, or each a fortieth of the frames shorter than the one before: 200, 195, 190 ..."""
        less = 0 if equal else max(1, self.frames // 40)
        return [max(1, self.frames - less * row) for row in range(self.examples)]


@dataclass(frozen=True)
class LstmTimes:
    """Seconds of one forward and backward pass, round by round; PyTorch's are empty where it is not installed."""

    threads: int
    equal: bool  # lengths
    jaxasr_s: tuple[float, ...]
    pytorch_s: tuple[float, ...]

    def line(self) -> str:
        """For people: medians, and the median of the rounds' ratios."""
        lengths = "equal lengths" if self.equal else "unequal lengths"
        line = f"{self.threads} thread{'s' * (self.threads > 1)}, {lengths:15}  jaxasr {median(self.jaxasr_s):7.3f} s"
        if not self.pytorch_s:
            return line
        times = ratio(self.jaxasr_s, self.pytorch_s)
        return f"{line}   PyTorch {median(self.pytorch_s):7.3f} s   ratio {times:.2f}"


def bench_data() -> Iterator[str]:
    """The loader on synthetic FLAC, beside soundfile alone."""
    with bench.synthetic_speech() as opened:
        yield from bench.bench_loader(opened).lines()


def bench_lstm(
    *,
    shape: LstmShape = LstmShape(),
    threads: Sequence[int] = (1, 2),
    rounds: int = 7,
) -> Iterator[str]:
    """Forward and backward of a bidirectional LSTM on the CPU, beside PyTorch's where that is installed.

    Both run in turn in one process, under one malloc that keeps what it is given back. XLA fixes its threads when a
    process starts, so each number of them is measured in a process of its own, bound to as many cores.

    Raises:
        RuntimeError: a measuring process failed; what it said is on stderr.
    """
    yield (
        f"{shape.depth} bidirectional LSTM layers of {shape.width}, {shape.examples} x {shape.frames} frames, forward and "
        f"backward, float32; medians of {rounds} rounds"
    )
    if util.find_spec("torch") is None:
        yield "PyTorch is not installed: jaxasr alone is measured (pip install torch, to compare)"
    here = cores()
    for count in threads:
        if count > len(here):
            yield f"{count} threads: this process has {len(here)} core{'s' * (len(here) > 1)}"
            continue
        for equal in (True, False):
            yield _measured_elsewhere(shape, here[:count], equal=equal, rounds=rounds).line()


def measure_lstm(shape: LstmShape, *, equal: bool, rounds: int) -> LstmTimes:
    """Times both here, with the threads that this process has; PyTorch's unequal lengths in a single round.

    A backward pass of PyTorch's packed sequence takes many times as long as of a padded one.
    """
    scale.keep_freed_memory()
    ours, theirs = _ours(shape, equal=equal), _pytorch(shape, equal=equal)
    pairs = []
    for _ in range(rounds if equal or theirs is None else 1):
        pairs.append((spent(ours).wall_s, spent(theirs).wall_s if theirs else None))
    ours_s, theirs_s = zip(*pairs, strict=True)
    return LstmTimes(len(cores()), equal, ours_s, tuple(second for second in theirs_s if second is not None))


BENCHMARKS: dict[str, Callable[..., Iterator[str]]] = {
    "data": bench_data,
    "lstm": bench_lstm,
    "search": bench_search,
    "training": bench_training,
}


def benchmark(what: str, **options: Any) -> Iterator[str]:
    """What a benchmark says, line by line. An option that is None is the benchmark's own choice.

    Raises:
        ValueError: a benchmark that has no such option.
    """
    call = BENCHMARKS[what]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - inspect.signature(call).parameters.keys():
        raise ValueError(f"bench {what} has no option --{name.replace('_', '-')}")
    return call(**given)


def _measured(shape: dict[str, int], equal: bool, rounds: int) -> dict[str, Any]:
    return vars(measure_lstm(LstmShape(**shape), equal=equal, rounds=rounds))


def _measured_elsewhere(shape: LstmShape, bound: list[int], *, equal: bool, rounds: int) -> LstmTimes:
    given = {"shape": asdict(shape), "equal": equal, "rounds": rounds}
    said = apart(f"{__name__}:{_measured.__name__}", given, bound=bound)
    return LstmTimes(said["threads"], said["equal"], tuple(said["jaxasr_s"]), tuple(said["pytorch_s"]))


def _ours(shape: LstmShape, *, equal: bool) -> Callable[[], object]:
    listener = nn.Listener(shape.width, pools=(1,) * shape.depth)
    x_btf = jax.random.normal(jax.random.key(1), (shape.examples, shape.frames, shape.width))
    lengths_b = jnp.asarray(shape.lengths(equal=equal))
    variables = jax.jit(lambda: listener.init(jax.random.key(0), x_btf, lengths_b, training=None))()

    def loss(variables, x_btf):
        hidden_bsd, _ = listener.apply(variables, x_btf, lengths_b, training=None)  # pyright: ignore[reportGeneralTypeIssues]
        return jnp.sum(jnp.square(hidden_bsd))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    jax.block_until_ready(gradient(variables, x_btf))
    return lambda: jax.block_until_ready(gradient(variables, x_btf))


def _pytorch(shape: LstmShape, *, equal: bool) -> Callable[[], object] | None:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    torch.set_num_threads(len(cores()))
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
