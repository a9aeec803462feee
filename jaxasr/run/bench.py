"""Benchmarks of parts, each beside an independent witness in the same run: what counts is the ratio of the two."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import util

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr import data, nn, scale


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
        line = f"{self.threads} thread{'s' * (self.threads > 1)}, {lengths:15}  jaxasr {_median(self.jaxasr_s):7.3f} s"
        if not self.pytorch_s:
            return line
        ratio = _median([a / b for a, b in zip(self.jaxasr_s, self.pytorch_s, strict=True)])
        return f"{line}   PyTorch {_median(self.pytorch_s):7.3f} s   ratio {ratio:.2f}"


def bench_data() -> Iterator[str]:
    """The loader on synthetic FLAC, beside soundfile alone."""
    with data.synthetic_speech() as opened:
        yield from data.bench_loader(opened).lines()


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
    cores = _cores()
    for count in threads:
        if count > len(cores):
            yield f"{count} threads: this process has {len(cores)} core{'s' * (len(cores) > 1)}"
            continue
        for equal in (True, False):
            yield _measured_elsewhere(shape, cores[:count], equal=equal, rounds=rounds).line()


def measure_lstm(shape: LstmShape, *, equal: bool, rounds: int) -> LstmTimes:
    """Times both here, with the threads that this process has; PyTorch's unequal lengths in a single round.

    A backward pass of PyTorch's packed sequence takes many times as long as of a padded one.
    """
    scale.keep_freed_memory()
    ours, theirs = _ours(shape, equal=equal), _pytorch(shape, equal=equal)
    pairs = []
    for _ in range(rounds if equal or theirs is None else 1):
        pairs.append((_seconds(ours), _seconds(theirs) if theirs else None))
    ours_s, theirs_s = zip(*pairs, strict=True)
    return LstmTimes(len(_cores()), equal, ours_s, tuple(second for second in theirs_s if second is not None))


BENCHMARKS: dict[str, Callable[[], Iterator[str]]] = {"data": bench_data, "lstm": bench_lstm}

_MEASURE = """
import json, os, sys
given = json.loads(sys.argv[1])
if given["cores"] and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, given["cores"])
from jaxasr.run import bench
times = bench.measure_lstm(bench.LstmShape(**given["shape"]), equal=given["equal"], rounds=given["rounds"])
print(json.dumps(vars(times)))
"""


def _measured_elsewhere(shape: LstmShape, cores: list[int], *, equal: bool, rounds: int) -> LstmTimes:
    given = {"shape": asdict(shape), "cores": cores, "equal": equal, "rounds": rounds}
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(len(cores))}
    command = [sys.executable, "-c", _MEASURE, json.dumps(given)]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise RuntimeError(f"the process that measures the LSTM ended with status {ended.returncode}")
    said = json.loads(ended.stdout.splitlines()[-1])
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
    torch.set_num_threads(len(_cores()))
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


def _cores() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _median(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)
