"""From a step function to hypotheses: searches over any `Decodable`, each one frozen value and one compiled loop."""

from jaxasr.decode.beam import Beam as Beam
from jaxasr.decode.ctc_greedy import CtcGreedy as CtcGreedy
from jaxasr.decode.greedy import Greedy as Greedy
from jaxasr.decode.search import MaxTokens as MaxTokens
from jaxasr.decode.search import Search as Search
