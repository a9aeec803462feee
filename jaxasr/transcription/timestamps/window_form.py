"""The kinds of windows of transcription, and the model and search of each: Whisper's are asked for timestamps."""

from dataclasses import dataclass, replace
from typing import Literal

from jaxasr.decode import Beam, Greedy, Search, SuppressTokens
from jaxasr.decode.whisper.timestamps import TimestampRules
from jaxasr.experiment.experiment import Experiment, recogniser_of
from jaxasr.nn import Seq2Seq
from jaxasr.nn.decoders.transformer import TransformerDecoder
from jaxasr.text import ByteLevelBpe
from jaxasr.transcription.decode import Times
from jaxasr.transcription.segments import Windows
from jaxasr.transcription.timestamps.time_tokens import STEP_S, TimeTokens

WindowKind = Literal["pauses", "timestamps"]
WINDOW_S = 30.0  # of Whisper
_FIRST_MOST_S = 1.0  # the latest beginning of the first segment (Radford et al. 2022, section 4.5)
_WITHOUT = "<|notimestamps|>"  # the last token of a prompt for text without times


@dataclass(frozen=True)
class WindowForm:
    """The model, the search and the times of words for one kind of windows."""

    model: Seq2Seq
    search: Search
    times: Times
    tokens: TimeTokens | None = None  # of the decoder's own times, if it writes them
    longest_s: float | None = None  # a limit of the windows, which the times cover; None: there is none

    def limited(self, window_s: float | None) -> Windows | None:
        """Returns windows of at most `longest_s`, shorter ones where `window_s` is; None: the model has no such limit."""
        return None if self.longest_s is None else Windows(min(window_s or self.longest_s, self.longest_s))


def window_form(experiment: Experiment, search: Search, windows: WindowKind, times: Times) -> WindowForm:
    """Returns the experiment's model and search, for "timestamps" with a prompt and rules that ask for them.

    Args:
        experiment: the experiment.
        search: the search for windows that are cut in pauses.
        windows: "pauses": a file is cut in pauses. "timestamps": a window begins where the times that a Whisper writes say
            that the one before ended; as many files as a batch has rows are decoded together.
        times: the source of word times; with timestamps it is the attention.

    Raises:
        ValueError: the model was not trained with timestamps, or the search is no beam.
    """
    model = recogniser_of(experiment)
    if windows == "pauses":
        return WindowForm(model, search, times)
    decoder = model.decoder
    tokenizer = experiment.tokenizer
    without = tokenizer.specials.get(_WITHOUT) if isinstance(tokenizer, ByteLevelBpe) else None
    if not (isinstance(tokenizer, ByteLevelBpe) and isinstance(decoder, TransformerDecoder) and without is not None):
        raise ValueError(
            f"windows by timestamps need a decoder with the tokens of times of a Whisper, beside {_WITHOUT}; this is a "
            f"{type(decoder).__name__} with {type(tokenizer).__name__}: take windows that are cut in pauses"
        )
    none = tokenizer.token(without)
    if decoder.prompt[-1:] != (none,):
        raise ValueError(
            f"the prompt of the decoder is {decoder.prompt}; windows by timestamps need one that ends with {_WITHOUT}, "
            f"{none}, which is then left out"
        )
    zero = none + 1
    tokens = TimeTokens(zero, min(round(WINDOW_S / STEP_S) + 1, decoder.vocab - zero))
    asking: Seq2Seq = model.clone(decoder=decoder.clone(prompt=decoder.prompt[:-1]))
    longest_s = min(tokens.longest_s, model.frontend.pad_s or WINDOW_S)
    return WindowForm(asking, _with_rules(search, tokens, none), "attention", tokens, longest_s)


def _with_rules(search: Search, tokens: TimeTokens, none: int) -> Beam:
    """Returns a beam with the rules of timestamps, which take the place of suppressed tokens."""
    beam = Beam(1, max_tokens=search.max_tokens) if isinstance(search, Greedy) else search
    if not isinstance(beam, Beam):
        raise ValueError(
            f"windows by timestamps need a greedy search or a beam, and the search is {type(search).__name__}: take "
            "another, such as --search greedy"
        )
    suppressed = [scorer for scorer in beam.scorers if isinstance(scorer, SuppressTokens)]
    never = SuppressTokens(tuple(sorted({none}.union(*(scorer.tokens for scorer in suppressed)))))
    most = round(_FIRST_MOST_S / STEP_S)
    rules = TimestampRules(tokens.zero, tokens.count, never, first_most=min(most, tokens.count - 1))
    return replace(beam, scorers=(rules, *(scorer for scorer in beam.scorers if scorer not in suppressed)))
