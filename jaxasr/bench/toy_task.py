"""The task that every mechanism must solve: strings of tones, learned in a minute, then read far past the training length.

A `Lesson` is a model and how it is taught; `solve` teaches it and says how often it errs, in its training form, in its
decode form, and in its decode form on strings of ever more symbols. See experiments/alignable.
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
from jaxasr.experiment.experiment import function_of
from jaxasr.records import Batch, Outputs
from jaxasr.report import pictures
from jaxasr.report.progress import Progress
from jaxasr.report.results import append, provenance, read
from jaxasr.report.tables import markdown
from jaxasr.run.initial_state import training_form
from jaxasr.training import Objective, Optimizer, TrainState, make_step, new_state

TEST_SEED = 1_000_000  # of the test strings; those of training have the lesson's seed


@dataclass(frozen=True)
class Lesson:
    """A model, and all that decides how well it learns the task."""

    model: nn.Seq2Seq
    objective: Objective
    optimizer: Optimizer
    tones: Tones = Tones()
    steps: int = 1_200
    examples: int = 16  # a batch
    lengths: tuple[int, ...] = (2, 5, 10, 20, 40)  # symbols of strings that it is tested on, a batch each
    test_examples: int = 64
    seed: int = 0


@dataclass(frozen=True)
class Solved:
    """How a lesson ended. Errors are shares of the reference's symbols (the end included in the training form)."""

    name: str
    lesson: str  # fingerprint
    parameters: int
    train_form: float  # wrong symbols, teacher-forced, in the form that training sees
    decode_form: float  # symbol error rate of greedy search, on strings as long as those of training
    by_length: Mapping[int, float]  # the same by the symbols of a string
    seconds: float  # of training, compilation included

    def row(self) -> dict[str, object]:
        """For results.jsonl."""
        errors = {f"errors_at_{length}": round(error, 4) for length, error in self.by_length.items()}
        return {
            "name": self.name,
            "lesson": self.lesson,
            "parameters": self.parameters,
            "train_form": round(self.train_form, 4),
            "decode_form": round(self.decode_form, 4),
            **errors,
            "seconds": round(self.seconds, 1),
        }


def solve(name: str, lesson: Lesson, *, advance: Callable[..., None] = lambda steps, **_: None) -> Solved:
    """Teaches the lesson and examines it; `advance(steps, lesson=, accuracy=)` is told now and then what has been done."""
    begun = time.perf_counter()
    state = _taught(lesson, functools.partial(advance, lesson=name))
    seconds = time.perf_counter() - begun
    variables = {"params": state.average, **state.statistics}
    recogniser = nn.Recogniser(lesson.model, variables)
    search = jax.jit(functools.partial(decode.Greedy(), recogniser))
    in_length, *errors = (_symbol_errors(search, _test_batch(lesson, length)) for length in (None, *lesson.lengths))
    by_length = dict(zip(lesson.lengths, errors, strict=True))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    train_form = _wrong_when_forced(lesson, variables)
    return Solved(name, tree.fingerprint(lesson), parameters, train_form, in_length, by_length, seconds)


def examine(reference: str, results: Path) -> Iterator[str]:
    """Solves the lessons that "FILE.py:generator" yields and `results` has no row of yet; says what is found, then
    the table, and draws GENERATOR.png beside the results.

    The first lesson is what the others' time a step is relative to, measured in turn with it.

    Raises:
        FileNotFoundError, ValueError: no such generator, or what it yields is not (name, Lesson) with names of their own.
    """
    lessons = _lessons(reference)
    done = {(row["name"], row["lesson"]): row for row in (read(results) if results.is_file() else [])}
    first = next(iter(lessons.values()))
    left = {name: lesson for name, lesson in lessons.items() if (name, tree.fingerprint(lesson)) not in done}
    with Progress(sum(lesson.steps for lesson in left.values()), "alignable", "steps") as bar:
        for name, lesson in left.items():
            solved = solve(name, lesson, advance=bar.advance)
            row = solved.row() | {"step_to_first": round(_step_ratio(lesson, first), 2)}
            done[name, solved.lesson] = row | provenance(Path(reference.partition(":")[0]).parent)
            append(results, done[name, solved.lesson])
            yield json.dumps(row)
    rows = [done[name, tree.fingerprint(lesson)] | {"steps": lesson.steps} for name, lesson in lessons.items()]
    picture = results.with_name(f"{reference.rpartition(':')[2]}.png")
    draw(rows, picture)
    yield table(rows)
    yield f"picture: {picture}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows in Markdown, errors in percent."""
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
    """The errors of the rows by the length of the strings, as a picture."""
    lengths = _lengths(rows)
    errors = np.array([[row["decode_form"], *(row[f"errors_at_{n}"] for n in lengths)] for row in rows])
    columns = ["as trained", *map(str, lengths)]
    title = "symbol errors in percent, by the symbols of a string"
    pictures.error_table(errors, rows=[row["name"] for row in rows], columns=columns, path=path, title=title)


def _lengths(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({int(key.rpartition("_")[2]) for row in rows for key in row if key.startswith("errors_at_")})


def first_state(lesson: Lesson) -> TrainState:
    """The state before the first step."""
    batch = lesson.tones.batch(0, examples=lesson.examples, seed=lesson.seed)
    key = jax.random.key(lesson.seed)

    def make(key: jax.Array, batch: Batch) -> TrainState:
        variables: Any = lesson.model.init(key, batch, step=None)
        return new_state(variables, lesson.optimizer.build(), key)

    return jax.jit(make)(key, batch)


def compiled_step(lesson: Lesson) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Any]]]:
    """One step of training, the state donated."""
    step = make_step(training_form(lesson.model), lesson.objective, lesson.optimizer.build(), ema_decay=0.98)
    return jax.jit(step, donate_argnums=0)


def _taught(lesson: Lesson, advance: Callable[..., None]) -> TrainState:
    state, step = first_state(lesson), compiled_step(lesson)
    every = math.gcd(lesson.steps, 50)
    for number in range(1, lesson.steps + 1):
        state, metrics = step(state, lesson.tones.batch(number, examples=lesson.examples, seed=lesson.seed))
        if number % every == 0:
            advance(every, accuracy=metrics["accuracy"].mean)
    return state


def _test_batch(lesson: Lesson, length: int | None) -> Batch:
    """Strings of so many symbols; None: as in training. All in the shape of the longest, so that one program reads them."""
    tones = lesson.tones if length is None else replace(lesson.tones, shortest=length, longest=length)
    batch = tones.batch(0, examples=lesson.test_examples, seed=TEST_SEED + lesson.seed)
    largest = replace(lesson.tones, longest=max(lesson.tones.longest, *lesson.lengths))
    samples, tokens = largest.samples - tones.samples, largest.longest - tones.longest
    return replace(
        batch,
        wave_bn=np.pad(batch.wave_bn, ((0, 0), (0, samples))),
        tokens_bu=np.pad(batch.tokens_bu, ((0, 0), (0, tokens))),
    )


def _symbol_errors(search: Callable[[Batch], Any], batch: Batch) -> float:
    found = jax.device_get(search(batch))
    references = [_spelt(tokens_u[:u]) for tokens_u, u in zip(batch.tokens_bu, batch.token_lengths_b, strict=True)]
    lengths_b = found.token_lengths_bw[:, 0]
    hypotheses = [_spelt(tokens_u[:u]) for tokens_u, u in zip(found.tokens_bwu[:, 0], lengths_b, strict=True)]
    return score.total(score.count_words(references, hypotheses)).rate


def _spelt(tokens_u: np.ndarray) -> str:
    return " ".join(map(str, tokens_u))


def _wrong_when_forced(lesson: Lesson, variables: Any) -> float:
    batch = lesson.tones.batch(0, examples=lesson.test_examples, seed=TEST_SEED + lesson.seed)
    streams = {name: jax.random.key(k) for k, name in enumerate(("augment", "dropout", "draw"))}

    def wrong(variables: Any, batch: Batch) -> jax.Array:
        outputs: Outputs = training_form(lesson.model)(variables, batch, jnp.asarray(lesson.steps), streams)
        accuracy = lesson.objective(outputs, batch)["accuracy"]
        return 1.0 - accuracy.value / accuracy.weight

    return float(jax.jit(wrong)(variables, jax.tree.map(jnp.asarray, batch)))


def _lessons(reference: str) -> dict[str, Lesson]:
    file, _, generator = reference.partition(":")
    if not generator:
        raise ValueError(f"{reference} names no generator; write {file}:GENERATOR, one that yields (name, Lesson)")
    lessons: dict[str, Lesson] = {}
    for pair in function_of(reference)():
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Lesson)):
            raise ValueError(f"{reference} yields {pair!r}; it must yield pairs of a name and a Lesson")
        name, lesson = pair
        if name in lessons:
            raise ValueError(f"{reference} yields {name!r} twice; every lesson needs a name of its own")
        lessons[name] = lesson
    if not lessons:
        raise ValueError(f"{reference} yields nothing; it must yield pairs of a name and a Lesson")
    several = dict.fromkeys(lesson.lengths for lesson in lessons.values())
    if len(several) > 1:
        raise ValueError(
            f"{reference} yields lessons of other lengths: {', '.join(map(str, several))}; one table has the same for all"
        )
    return lessons


def _step_ratio(lesson: Lesson, other: Lesson, *, rounds: int = 7, steps: int = 5) -> float:
    """How long a training step of the lesson takes, as a multiple of the other's: median over rounds in turn."""
    timers = [_timer(each, steps) for each in (lesson, other)]
    for timer in timers:
        timer()
    return statistics.median(timers[0]() / timers[1]() for _ in range(rounds))


def _timer(lesson: Lesson, steps: int) -> Callable[[], float]:
    batch = jax.tree.map(jnp.asarray, lesson.tones.batch(0, examples=lesson.examples, seed=lesson.seed))
    step, kept = compiled_step(lesson), [first_state(lesson)]

    def timed() -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            kept[0], _ = step(kept[0], batch)
        jax.block_until_ready(kept[0])
        return time.perf_counter() - begun

    return timed


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
