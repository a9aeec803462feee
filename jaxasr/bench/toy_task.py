"""The synthetic alignment task: models learn strings of tones within a minute, and are tested beyond the training length.

A `ToyTask` is a model with all parameters of its training. `train_and_test` trains it and returns its error rates in the
training form, in the decode form, and in the decode form on longer and longer strings. The directory experiments/alignable
has a task for every attention, encoder and decoder.
"""

import functools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr import decode, nn, score, tree
from jaxasr.data import Tones
from jaxasr.experiment.files import load_function
from jaxasr.records import Batch, Outputs
from jaxasr.report import Measurements, pictures
from jaxasr.report.progress import Progress
from jaxasr.report.results import append, provenance, read
from jaxasr.report.tables import markdown
from jaxasr.run.initial_state import make_apply_fn
from jaxasr.training import Objective, Optimizer, TrainState, make_step, new_state

TEST_SEED = 1_000_000  # the training strings have the seed of the task


@dataclass(frozen=True)
class ToyTask:
    """A model, and all parameters of its training and its test on the synthetic alignment task."""

    model: nn.Seq2Seq
    objective: Objective
    optimizer: Optimizer
    tones: Tones = Tones()
    steps: int = 1_200
    examples: int = 16  # in a batch
    lengths: tuple[int, ...] = (2, 5, 10, 20, 40)  # of the test strings, in symbols; one batch for each length
    test_examples: int = 64
    seed: int = 0


@dataclass(frozen=True)
class ToyResult:
    """The result of a `ToyTask`.

    Error rates are relative to the number of reference symbols. In the training form the end token counts as a symbol.
    """

    name: str
    task: str  # its fingerprint
    parameters: int
    train_form: float  # error rate with teacher forcing, in the training form of the model
    decode_form: float  # symbol error rate of greedy search, on strings of the training lengths
    by_length: Mapping[int, float]  # symbol error rate of greedy search, by the number of symbols in a string
    seconds: float  # training time, compilation included

    def row(self) -> dict[str, object]:
        """Returns the row for results.jsonl."""
        errors = {f"errors_at_{length}": round(error, 4) for length, error in self.by_length.items()}
        return {
            "name": self.name,
            "task": self.task,
            "parameters": self.parameters,
            "train_form": round(self.train_form, 4),
            "decode_form": round(self.decode_form, 4),
            **errors,
            "seconds": round(self.seconds, 1),
        }


def train_and_test(name: str, task: ToyTask, *, advance: Callable[..., None] = lambda steps, **_: None) -> ToyResult:
    """Trains the model of a task and tests it.

    Args:
        name: the name of the task in its row.
        advance: a progress callback. Training calls `advance(steps, task=name, accuracy=...)` after every few steps.
    """
    begun = time.perf_counter()
    state = _train(task, functools.partial(advance, task=name))
    seconds = time.perf_counter() - begun
    variables = {"params": state.ema_params, **state.statistics}
    recogniser = nn.Recogniser(task.model, variables)
    search = jax.jit(functools.partial(decode.Greedy(), recogniser))
    in_length, *errors = (_symbol_errors(search, _test_batch(task, length)) for length in (None, *task.lengths))
    by_length = dict(zip(task.lengths, errors, strict=True))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    train_form = _teacher_forced_error(task, variables)
    return ToyResult(name, tree.fingerprint(task), parameters, train_form, in_length, by_length, seconds)


def run_suite(reference: str, results: Path) -> Iterator[str]:
    """Runs the tasks that a generator yields and that have no row in `results`. Yields the new rows and the table.

    A picture, GENERATOR.png, is written beside the results. The time of a training step is relative to that of the first
    task. Both steps are timed alternately.

    Args:
        reference: the generator, as FILE.py:generator. It yields pairs of a name and a `ToyTask`.
        results: a file of rows, to which new rows are appended.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no such generator, or it yields something else, or a name twice.
    """
    tasks = _load_tasks(reference)
    done = {(row["name"], row["task"]): row for row in (read(results) if results.is_file() else [])}
    first = next(iter(tasks.values()))
    left = {name: task for name, task in tasks.items() if (name, tree.fingerprint(task)) not in done}
    with Progress(sum(task.steps for task in left.values()), "toy-task", "steps") as bar:
        for name, task in left.items():
            result = train_and_test(name, task, advance=bar.advance)
            row = result.row() | {"step_to_first": round(_step_ratio(task, first), 2)}
            done[name, result.task] = row | provenance(Path(reference.partition(":")[0]).parent)
            append(results, done[name, result.task])
            yield json.dumps(row)
    rows = [done[name, tree.fingerprint(task)] | {"steps": task.steps} for name, task in tasks.items()]
    picture = results.with_name(f"{reference.rpartition(':')[2]}.png")
    with Measurements().optional("the picture of the errors"):
        draw(rows, picture)
    yield table(rows)
    yield f"picture: {picture}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows as a Markdown table, with error rates in percent."""
    lengths = _lengths(rows)
    errors = ["train form %", "decode form %", *(f"{n} symbols %" for n in lengths)]
    header = ["mechanism", "parameters", "steps", *errors, "step"]
    return markdown(
        header,
        [
            [row["name"], f"{row['parameters']:,}", f"{row['steps']:,}"]
            + [_percent(row["train_form"]), _percent(row["decode_form"])]
            + [_percent(row[f"errors_at_{n}"]) for n in lengths]
            + [f"{row['step_to_first']:.2f}"]
            for row in rows
        ],
    )


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws the error rates of the rows by the length of the strings."""
    lengths = _lengths(rows)
    errors = np.array([[row["decode_form"], *(row[f"errors_at_{n}"] for n in lengths)] for row in rows])
    columns = ["as trained", *map(str, lengths)]
    title = "symbol errors in percent, by the symbols of a string"
    pictures.error_table(errors, rows=[row["name"] for row in rows], columns=columns, path=path, title=title)


def _lengths(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({int(key.rpartition("_")[2]) for row in rows for key in row if key.startswith("errors_at_")})


def init_state(task: ToyTask) -> TrainState:
    """Returns the training state before the first step."""
    batch = task.tones.batch(0, examples=task.examples, seed=task.seed)
    key = jax.random.key(task.seed)

    def make(key: jax.Array, batch: Batch) -> TrainState:
        variables: Any = task.model.init(key, batch, step=None)
        return new_state(variables, task.optimizer.build(), key, keeps_average=True)

    return jax.jit(make)(key, batch)


def compiled_step(task: ToyTask) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Any]]]:
    """Returns the compiled training step. It donates its state."""
    step = make_step(make_apply_fn(task.model), task.objective, task.optimizer.build(), ema_decay=0.98)
    return jax.jit(step, donate_argnums=0)


def _train(task: ToyTask, advance: Callable[..., None]) -> TrainState:
    state = init_state(task)
    step = compiled_step(task)
    every = math.gcd(task.steps, 50)
    for number in range(1, task.steps + 1):
        state, metrics = step(state, task.tones.batch(number, examples=task.examples, seed=task.seed))
        if number % every == 0:
            advance(every, accuracy=metrics["accuracy"].mean)
    return state


def _test_batch(task: ToyTask, length: int | None) -> Batch:
    """Returns test strings of `length` symbols, or of the training lengths if it is None.

    All batches are padded to the shape of the longest, so that one compiled search decodes them all.
    """
    tones = task.tones if length is None else replace(task.tones, shortest=length, longest=length)
    batch = tones.batch(0, examples=task.test_examples, seed=TEST_SEED + task.seed)
    largest = replace(task.tones, longest=max(task.tones.longest, *task.lengths))
    return replace(
        batch,
        wave_bn=np.pad(batch.wave_bn, ((0, 0), (0, largest.samples - tones.samples))),
        tokens_bu=np.pad(batch.tokens_bu, ((0, 0), (0, largest.longest - tones.longest))),
    )


def _symbol_errors(search: Callable[[Batch], Any], batch: Batch) -> float:
    found = jax.device_get(search(batch))
    references = [_token_text(tokens_u[:u]) for tokens_u, u in zip(batch.tokens_bu, batch.token_lengths_b, strict=True)]
    lengths_b = found.token_lengths_bw[:, 0]
    hypotheses = [_token_text(tokens_u[:u]) for tokens_u, u in zip(found.tokens_bwu[:, 0], lengths_b, strict=True)]
    return score.total(score.count_words(references, hypotheses)).rate


def _token_text(tokens_u: np.ndarray) -> str:
    return " ".join(map(str, tokens_u))


def _teacher_forced_error(task: ToyTask, variables: Any) -> float:
    batch = task.tones.batch(0, examples=task.test_examples, seed=TEST_SEED + task.seed)
    streams = {name: jax.random.key(k) for k, name in enumerate(("augment", "dropout", "draw"))}

    def wrong(variables: Any, batch: Batch) -> jax.Array:
        outputs: Outputs = make_apply_fn(task.model)(variables, batch, jnp.asarray(task.steps), streams)
        accuracy = task.objective(outputs, batch)["accuracy"]
        return 1.0 - accuracy.value / accuracy.weight

    return float(jax.jit(wrong)(variables, jax.tree.map(jnp.asarray, batch)))


def _load_tasks(reference: str) -> dict[str, ToyTask]:
    file, _, generator = reference.partition(":")
    if not generator:
        raise ValueError(f"{reference} names no generator; write {file}:GENERATOR, one that yields (name, ToyTask)")
    tasks: dict[str, ToyTask] = {}
    for pair in load_function(reference)():
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], ToyTask)):
            raise ValueError(f"{reference} yields {pair!r}; it must yield pairs of a name and a ToyTask")
        name, task = pair
        if name in tasks:
            raise ValueError(f"{reference} yields {name!r} twice; every task needs a name of its own")
        tasks[name] = task
    if not tasks:
        raise ValueError(f"{reference} yields nothing; it must yield pairs of a name and a ToyTask")
    several = dict.fromkeys(task.lengths for task in tasks.values())
    if len(several) > 1:
        raise ValueError(
            f"{reference} yields tasks of other lengths: {', '.join(map(str, several))}; one table has the same for all"
        )
    return tasks


def _step_ratio(task: ToyTask, other: ToyTask, *, rounds: int = 7, steps: int = 5) -> float:
    """Returns the time of a training step of one task over that of another: the median over alternating rounds."""
    timers = [_timer(timed_task, steps) for timed_task in (task, other)]
    for timer in timers:
        timer()
    return statistics.median(timers[0]() / timers[1]() for _ in range(rounds))


def _timer(task: ToyTask, steps: int) -> Callable[[], float]:
    batch = jax.tree.map(jnp.asarray, task.tones.batch(0, examples=task.examples, seed=task.seed))
    step = compiled_step(task)
    state = init_state(task)

    def run_steps() -> float:
        nonlocal state
        begun = time.perf_counter()
        for _ in range(steps):
            state, _ = step(state, batch)
        jax.block_until_ready(state)
        return time.perf_counter() - begun

    return run_steps


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"
