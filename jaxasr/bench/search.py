"""What a search takes on the CPU: 8 s of features through encoder, attention, CTC and language model, exactly 40 steps.

One line a search: by width, batch, length and by what is weighed in, so that growth can be read off. Parameters are random
and no hypothesis may end, so every search takes the same steps, whatever the parameters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxasr import decode, nn, scale
from jaxasr.bench.models import Load, Recurrent, SelfAttentive, whole_batch
from jaxasr.bench.processes import Spent, apart, cores, spent
from jaxasr.decode.scorers import Heard, Opened
from jaxasr.decode.search import Encoded
from jaxasr.records import END, Batch

STEPS = 40
HOP_S = 0.01  # seconds of a frame
LM_WIDTH = 650


@dataclass(frozen=True)
class Case:
    """One search."""

    examples: int = 1
    width: int = 10  # 0: the encoder alone
    ctc_weight: float = 0.3
    lm: bool = False
    frames: int = 800
    model: str = "blstmp"

    def line(self, taken: Sequence[Spent]) -> str:
        """For people."""
        what = "" if self.model == "blstmp" else f"{self.model}: "
        what += f"beam {self.width}" if self.width else "encoder alone"
        what += f", CTC {self.ctc_weight:g}" if self.ctc_weight and self.width else ""
        what += ", LSTM language model" if self.lm else ""
        wall, cpu = (median(getattr(each, kind) for each in taken) / self.examples for kind in ("wall_s", "cpu_s"))
        seconds = self.frames * HOP_S
        return (
            f"  batch {self.examples:3}  {seconds:4.0f} s  {what:40} {wall:7.3f} s an utterance (CPU {cpu:7.3f} s), "
            f"{seconds / wall:6.1f} audio-s/s"
        )


MODELS: Mapping[str, Recurrent | SelfAttentive] = {
    "blstmp": Recurrent(),
    "Whisper base": SelfAttentive("transformer", (32,), depth=6, width=512, heads=8, decoder_depth=6, ctc_weight=0.0),
}
VOCABULARIES = {"Whisper base": 51_865}  # else that of Load
PARTS = (Case(width=0), Case(width=1, ctc_weight=0.0), Case(ctc_weight=0.0), Case(), Case(lm=True))
CASES: Mapping[str, tuple[Case, ...]] = {
    "parts-1": PARTS,
    "parts-16": tuple(replace(case, examples=16) for case in PARTS),
    "width": tuple(Case(4, width) for width in (5, 10, 20, 40)),
    "batch": tuple(Case(examples) for examples in (1, 2, 4, 8, 16)),
    "whisper": tuple(Case(1, width, 0.0, frames=3000, model="Whisper base") for width in (0, 1, 5)),
    "length": tuple(Case(4, frames=frames) for frames in (400, 800, 1600, 3200)),
}


def bench_search(*, only: Sequence[str] = (), threads: Sequence[int] = (1,), rounds: int = 3) -> Iterator[str]:
    """Times every group of searches, or those of these names, in a process bound to so many cores.

    Raises:
        ValueError: no group of that name.
        RuntimeError: a measuring process failed; what it said is on stderr.
    """
    if unknown := [name for name in only if name not in CASES]:
        raise ValueError(f"there is no group {', '.join(unknown)} of searches; there are {', '.join(CASES)}")
    yield (
        f"4 x 320 BLSTM of stride 4, LSTM speller, 500 tokens (or as stated), {STEPS} steps, encoder included; medians of "
        f"{rounds} rounds"
    )
    here = cores()
    for count in threads:
        if count > len(here):
            yield f"{count} threads: this process has {len(here)} core{'s' * (len(here) > 1)}"
            continue
        for name in only or CASES:
            yield f"{name}, {count} thread{'s' * (count > 1)}"
            for case in CASES[name]:
                given = {"case": asdict(case), "rounds": rounds}
                yield apart(f"{__name__}:{_line.__name__}", given, bound=here[:count])


def measure_search(case: Case, *, rounds: int, spec: Recurrent | SelfAttentive | None = None) -> list[Spent]:
    """What the search took here, round by round; the first call, which compiles, is not counted."""
    scale.keep_freed_memory()
    load = Load(examples=case.examples, frames=case.frames, vocab=VOCABULARIES.get(case.model, Load.vocab))
    model, batch = (spec or MODELS[case.model]).model(load), whole_batch(load)
    variables: Any = jax.jit(lambda batch: model.init(jax.random.key(0), batch, step=None))(batch)
    call = _search(model, case)
    lms = {"lm": _language_model(load.vocab)} if case.lm else {}
    jax.block_until_ready(call(variables, lms, batch))
    return [spent(lambda: jax.block_until_ready(call(variables, lms, batch))) for _ in range(rounds)]


@dataclass(frozen=True)
class Endless:
    """Forbids the end."""

    name: str = "endless"

    def open(self, encoded: Encoded) -> Opened:
        """As in `decode.Scorer`."""

        def score(memory: Any, state: Any, heard: Heard) -> tuple[Array, Any]:
            return jnp.zeros_like(heard.log_probs_bv).at[:, END].set(-jnp.inf), state

        return Opened((), (), score)


def _search(model: nn.Seq2Seq, case: Case) -> Callable[..., Any]:
    if case.width == 0:
        return jax.jit(lambda variables, lms, batch: nn.Recogniser(model, variables).start(batch))
    scorers: tuple[decode.Scorer, ...] = (Endless(), *((decode.Lm("lm", 0.4),) if case.lm else ()))
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
    return Case(**case).line(measure_search(Case(**case), rounds=rounds))
