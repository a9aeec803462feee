"""Benchmarks of parts, each beside an independent witness in the same run: what counts is the ratio of the two."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr import data
from jaxasr.ops.lstm import lstm_directions

LAYERS, WIDTH, BATCH, STEPS, ROUNDS = 4, 320, 16, 200, 7
EQUAL = [STEPS] * BATCH
UNEQUAL = [STEPS - 5 * i for i in range(BATCH)]
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def bench_data() -> Iterator[str]:
    """The loader on synthetic FLAC, beside soundfile alone."""
    with data.synthetic_speech() as opened:
        yield from data.bench_loader(opened).lines()


def bench_lstm() -> Iterator[str]:
    """Forward and backward of a bidirectional LSTM on one CPU thread, beside PyTorch's where that is installed.

    The number of threads is fixed when a process starts, so the measurement runs in one of its own.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} {_ONE_THREAD}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from jaxasr.run import bench; bench.print_lstm()"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        yield from (line.rstrip() for line in process.stdout or ())
    if process.returncode:
        raise RuntimeError(f"the benchmark ended with status {process.returncode}")


def print_lstm() -> None:
    """What the process of `bench_lstm` does."""
    for line in _measure_lstm():
        print(line, flush=True)


BENCHMARKS: dict[str, Callable[[], Iterator[str]]] = {"data": bench_data, "lstm": bench_lstm}


def _measure_lstm() -> Iterator[str]:
    """Rounds of ours and PyTorch's in turn: medians, and the median of the rounds' ratios."""
    yield f"{LAYERS} bidirectional LSTM layers of {WIDTH}, {BATCH} x {STEPS} steps, forward and backward, one thread"
    for name, lengths in {"equal lengths": EQUAL, "unequal lengths": UNEQUAL}.items():
        ours, theirs = _ours(lengths), _pytorch(lengths)
        rounds = [(ours(), theirs() if theirs else float("nan")) for _ in range(ROUNDS if lengths is EQUAL else 3)]
        line = f"{name:16} jaxasr {statistics.median(a for a, _ in rounds):6.2f} s"
        if theirs:
            ratio = statistics.median(a / b for a, b in rounds)
            line += f", PyTorch {statistics.median(b for _, b in rounds):6.2f} s, ratio {ratio:.2f}"
        else:
            line += ", PyTorch is not installed"
        yield line


def _ours(lengths: list[int]) -> Callable[[], float]:
    keys = iter(jax.random.split(jax.random.key(0), 6 * LAYERS))
    params = []
    for layer in range(LAYERS):
        inputs = WIDTH if layer == 0 else 2 * WIDTH
        shapes = [(inputs, 4 * WIDTH), (WIDTH, 4 * WIDTH)]
        params.append([[0.05 * jax.random.normal(next(keys), shape) for shape in shapes] for _ in range(2)])
    x_btd = jax.random.normal(jax.random.key(1), (BATCH, STEPS, WIDTH))
    lengths_b = jnp.asarray(lengths)

    @jax.jit
    def gradient(params, x_btd):
        def loss(params, x):
            for directions in params:
                gates, recurrents = zip(*((x @ w_in, w_rec) for w_in, w_rec in directions), strict=True)
                x = jnp.concatenate(lstm_directions(gates, recurrents, lengths_b, reverse=(False, True)), axis=-1)
            return jnp.sum(jnp.square(x))

        return jax.grad(loss, argnums=(0, 1))(params, x_btd)

    jax.block_until_ready(gradient(params, x_btd))
    return lambda: _seconds(lambda: jax.block_until_ready(gradient(params, x_btd)))


def _pytorch(lengths: list[int]) -> Callable[[], float] | None:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    torch.set_num_threads(1)
    lstm = torch.nn.LSTM(WIDTH, WIDTH, LAYERS, bidirectional=True, batch_first=True)
    x_btd = torch.from_numpy(np.random.default_rng(0).standard_normal((BATCH, STEPS, WIDTH), np.float32))

    def step() -> None:
        x = x_btd.clone().requires_grad_()
        equal = len(set(lengths)) == 1
        packed = x if equal else torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True)
        out, _ = lstm(packed)
        (out if equal else out.data).square().sum().backward()

    step()
    return lambda: _seconds(step)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
