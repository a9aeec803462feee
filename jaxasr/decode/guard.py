"""The repetition guard of transcription: any search with a limit on how often a phrase may follow itself."""

from dataclasses import replace

from jaxasr.decode.beam import Beam
from jaxasr.decode.constraints import NoRepeatNgram
from jaxasr.decode.greedy import Greedy
from jaxasr.decode.rescore import Rescoring
from jaxasr.decode.search import Search

# eight in a row, since people repeat digits: "one million" read by digits has six times "zero"
REPETITION_GUARD = NoRepeatNgram(longest=24, times=8, name="repetition guard")


def with_repetition_guard(search: Search, guard: NoRepeatNgram = REPETITION_GUARD) -> Search:
    """Returns the search with the guard among its scorers.

    A beam that has a `NoRepeatNgram` keeps its own. `Greedy` becomes the beam of width 1, to which it is equal. `CtcGreedy`
    needs no guard, because CTC has no memory of what it wrote and at most one token per encoder position.
    """
    if isinstance(search, Greedy):
        return with_repetition_guard(Beam(1, max_tokens=search.max_tokens), guard)
    if isinstance(search, Rescoring):
        first = with_repetition_guard(search.first, guard)
        assert isinstance(first, Beam)
        return replace(search, first=first)
    if not isinstance(search, Beam) or any(isinstance(scorer, NoRepeatNgram) for scorer in search.scorers):
        return search
    return replace(search, scorers=(*search.scorers, guard))
