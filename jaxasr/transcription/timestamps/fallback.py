"""Another try at a higher temperature for windows whose hypothesis repeats itself or is improbable.

Source: Radford et al. 2022 (2212.04356), section 4.5.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int16

from jaxasr.decode import Beam, Search
from jaxasr.transcription.batch_transcriber import BatchTranscriber, WindowTranscript
from jaxasr.transcription.decode import compile_sample_fn
from jaxasr.transcription.timestamps.window_form import WindowForm


@dataclass(frozen=True)
class Fallback:
    """The rule by which a window is decoded again, at one temperature after another, until its hypothesis passes.

    A hypothesis fails if its text is compressed by more than `most_compression`, which is a sign of repetition, or if the
    mean log probability of its tokens is below `least_log_prob`. The hypothesis of the last temperature is kept as it is.
    """

    temperatures: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    most_compression: float = 2.4
    least_log_prob: float = -1.0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip((0.0, *self.temperatures), self.temperatures, strict=False))
        if not self.temperatures or not rising or not self.temperatures[-1] < float("inf"):
            raise ValueError(f"Fallback has temperatures {self.temperatures}; numbers above 0 that rise are needed")
        if not self.most_compression > 0 or np.isnan(self.least_log_prob):
            raise ValueError(
                f"Fallback has most_compression {self.most_compression} and least_log_prob {self.least_log_prob}; a number "
                "above 0 and a log probability are needed"
            )

    def fails(self, found: WindowTranscript) -> bool:
        """Returns True if the window is to be decoded again."""
        return found.compression > self.most_compression or found.mean_log_prob < self.least_log_prob


def with_fallback(
    searched: BatchTranscriber, form: WindowForm, search: Search, rule: Fallback
) -> Callable[[Sequence[Int16[np.ndarray, " _"]]], list[WindowTranscript]]:
    """Returns a transcriber of windows that decodes those again whose hypotheses fail.

    Args:
        searched: the transcriber of the first try.
        form: the model.
        search: the search of the first try, whose scorers hold for the others.

    Raises:
        ValueError: the search is no beam.
    """
    if not isinstance(search, Beam):
        raise ValueError(
            f"a fallback to higher temperatures needs a beam, and the search is {type(search).__name__}: take another, such "
            "as --search beam, or no fallback"
        )
    sample = compile_sample_fn(form.model, search, times=form.times)

    def transcribe(waves: Sequence[Int16[np.ndarray, " _"]]) -> list[WindowTranscript]:
        found = searched(waves)
        for temperature in rule.temperatures:
            again = [place for place, transcript in enumerate(found) if rule.fails(transcript)]
            if not again:
                break
            drawing = replace(searched, decode_fn=functools.partial(sample, temperature))
            for place, transcript in zip(again, drawing([waves[place] for place in again]), strict=True):
                found[place] = replace(transcript, temperature=temperature)
        return found

    return transcribe
