"""Searches over any `Decodable`: each is a frozen value and one compiled loop from a batch to hypotheses."""

from jaxasr.decode.beam import Beam as Beam
from jaxasr.decode.constraints import AttentionStallRule as AttentionStallRule
from jaxasr.decode.constraints import NoRepeatNgram as NoRepeatNgram
from jaxasr.decode.constraints import SuppressTokens as SuppressTokens
from jaxasr.decode.ctc_greedy import CtcGreedy as CtcGreedy
from jaxasr.decode.fusion import InternalLm as InternalLm
from jaxasr.decode.fusion import LmScorer as LmScorer
from jaxasr.decode.greedy import Greedy as Greedy
from jaxasr.decode.guard import with_repetition_guard as with_repetition_guard
from jaxasr.decode.hotwords import Hotwords as Hotwords
from jaxasr.decode.rescore import Rescoring as Rescoring
from jaxasr.decode.rewards import Coverage as Coverage
from jaxasr.decode.rewards import LengthReward as LengthReward
from jaxasr.decode.scorers import Scorer as Scorer
from jaxasr.decode.search import MaxTokens as MaxTokens
from jaxasr.decode.search import Search as Search
from jaxasr.decode.stream import GreedyStream as GreedyStream
