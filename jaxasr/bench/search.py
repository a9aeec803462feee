"""The benchmark of searches on the CPU: features through encoder, attention, CTC and language model, exactly 40 steps.

There is one line for each search. The searches vary in beam width, batch size, length and scorers, so that the lines show
how the time grows. Parameters are random and no hypothesis can end. Every search therefore takes the same number of steps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxasr import decode, nn, scale
from jaxasr.bench.models import BenchBatch, RecurrentSpec, SelfAttentiveSpec, make_batch
from jaxasr.bench.processes import CallTime, available_cores, in_subprocess, timed
from jaxasr.decode.scorers import DecoderOutput, ScorerState
from jaxasr.decode.search import EncodedBatch
from jaxasr.records import END, Batch

STEPS = 40
HOP_S = 0.01  # from one frame to the next
LM_WIDTH = 650


@dataclass(frozen=True)
class SearchCase:
    """One search that is timed."""

    examples: int = 1
    width: int = 10  # of the beam; 0: only the encoder runs
    ctc_weight: float = 0.3
    lm: bool = False
    frames: int = 800
    model: str = "blstmp"

    def line(self, taken: Sequence[CallTime]) -> str:
        """Returns a line with the medians."""
        what = "" if self.model == "blstmp" else f"{self.model}: "
        what += f"beam {self.width}" if self.width else "encoder alone"
        what += f", CTC {self.ctc_weight:g}" if self.ctc_weight and self.width else ""
        what += ", LSTM language model" if self.lm else ""
        wall = median(call.wall_s for call in taken) / self.examples
        cpu = median(call.cpu_s for call in taken) / self.examples
        seconds = self.frames * HOP_S
        return (
            f"  batch {self.examples:3}  {seconds:4.0f} s  {what:40} {wall:7.3f} s an utterance (CPU {cpu:7.3f} s), "
            f"{seconds / wall:6.1f} audio-s/s"
        )


MODELS: Mapping[str, RecurrentSpec | SelfAttentiveSpec] = {
    "blstmp": RecurrentSpec(),
    "Whisper base": SelfAttentiveSpec(
        "transformer", (32,), depth=6, width=512, heads=8, decoder_depth=6, ctc_weight=0.0
    ),
}
VOCABULARIES = {"Whisper base": 51_865}  # otherwise that of BenchBatch
PARTS = (
    SearchCase(width=0),
    SearchCase(width=1, ctc_weight=0.0),
    SearchCase(ctc_weight=0.0),
    SearchCase(),
    SearchCase(lm=True),
)
CASES: Mapping[str, tuple[SearchCase, ...]] = {
    "parts-1": PARTS,
    "parts-16": tuple(replace(case, examples=16) for case in PARTS),
    "width": tuple(SearchCase(4, width) for width in (5, 10, 20, 40)),
    "batch": tuple(SearchCase(examples) for examples in (1, 2, 4, 8, 16)),
    "whisper": tuple(SearchCase(1, width, 0.0, frames=3000, model="Whisper base") for width in (0, 1, 5)),
    "length": tuple(SearchCase(4, frames=frames) for frames in (400, 800, 1600, 3200)),
}


def bench_search(*, benchmarks: Sequence[str] = (), threads: Sequence[int] = (1,), rounds: int = 3) -> Iterator[str]:
    """Times groups of searches, each search in a process that is bound to as many cores as there are threads.

    Args:
        benchmarks: the names of the groups; empty: all.

    Raises:
        ValueError: there is no group of that name.
        RuntimeError: a measuring process failed; its output is on stderr.
    """
    if unknown := [name for name in benchmarks if name not in CASES]:
        raise ValueError(f"there is no group {', '.join(unknown)} of searches; there are {', '.join(CASES)}")
    yield (
        f"4 x 320 BLSTM of stride 4, LSTM speller, 500 tokens (or as stated), {STEPS} steps, encoder included; medians of "
        f"{rounds} rounds"
    )
    here = available_cores()
    for count in threads:
        if count > len(here):
            yield f"{count} threads: this process has {len(here)} core{'s' * (len(here) > 1)}"
            continue
        for name in benchmarks or CASES:
            yield f"{name}, {count} thread{'s' * (count > 1)}"
            for case in CASES[name]:
                given = {"case": asdict(case), "rounds": rounds}
                yield in_subprocess(f"{__name__}:{_line.__name__}", given, cores=here[:count])


def measure_search(
    case: SearchCase, *, rounds: int, spec: RecurrentSpec | SelfAttentiveSpec | None = None
) -> list[CallTime]:
    """Returns the time of the search in each round. The first call, which compiles, is not counted."""
    scale.keep_freed_memory()
    sizes = BenchBatch(examples=case.examples, frames=case.frames, vocab=VOCABULARIES.get(case.model, BenchBatch.vocab))
    model = (spec or MODELS[case.model]).model(sizes)
    batch = make_batch(sizes)
    variables: Any = jax.jit(lambda batch: model.init(jax.random.key(0), batch, step=None))(batch)
    call = _search(model, case)
    lms = {"lm": _language_model(sizes.vocab)} if case.lm else {}
    jax.block_until_ready(call(variables, lms, batch))
    return [timed(lambda: jax.block_until_ready(call(variables, lms, batch))) for _ in range(rounds)]


@dataclass(frozen=True)
class ForbidEnd:
    """A scorer that forbids the end token."""

    name: str = "no end"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns a state whose score of the end token is minus infinity (`decode.Scorer`)."""

        def score(memory: Any, state: Any, output: DecoderOutput) -> tuple[Array, Any]:
            return jnp.zeros_like(output.log_probs_bv).at[:, END].set(-jnp.inf), state

        return ScorerState((), (), score)


def _search(model: nn.Seq2Seq, case: SearchCase) -> Callable[..., Any]:
    if case.width == 0:
        return jax.jit(lambda variables, lms, batch: nn.Recogniser(model, variables).start(batch))
    scorers: tuple[decode.Scorer, ...] = (ForbidEnd(), *((decode.LmScorer("lm", 0.4),) if case.lm else ()))
    limit = decode.MaxTokens(0.0, STEPS)
    beam = decode.Beam(case.width, ctc_weight=case.ctc_weight, max_tokens=limit, scorers=scorers)

    def search(variables: Any, lms: Any, batch: Batch) -> Any:
        return beam(nn.Recogniser(model, variables, lms), batch)

    return jax.jit(search)


def _language_model(vocab: int) -> nn.BoundLm:
    module = nn.LstmLm(2, LM_WIDTH, vocab=vocab)
    tokens = jnp.zeros((1, 1), jnp.int32)
    one = jnp.ones(1, jnp.int32)
    variables: Any = jax.jit(lambda: module.init(jax.random.key(1), tokens, one, None, method="read"))()
    return nn.BoundLm(module, variables)


def _line(case: dict[str, Any], rounds: int) -> str:
    return SearchCase(**case).line(measure_search(SearchCase(**case), rounds=rounds))
