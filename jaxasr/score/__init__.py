"""From hypotheses to numbers: error rates, how sure they are, and files that lay hypotheses beside references."""

from jaxasr.score.alignment import Counts as Counts
from jaxasr.score.alignment import Edit as Edit
from jaxasr.score.alignment import align_words as align_words
from jaxasr.score.alignment import count_words as count_words
from jaxasr.score.alignment import total as total
from jaxasr.score.comparison import compare_hypotheses as compare_hypotheses
from jaxasr.score.estimates import Estimate as Estimate
from jaxasr.score.estimates import estimates as estimates
from jaxasr.score.evaluate import Candidate as Candidate
from jaxasr.score.evaluate import EvalOutput as EvalOutput
from jaxasr.score.evaluate import Utterance as Utterance
from jaxasr.score.evaluate import evaluate as evaluate
from jaxasr.score.files import write_hypotheses as write_hypotheses
from jaxasr.score.files import write_texts as write_texts
from jaxasr.score.metrics import Scores as Scores
from jaxasr.score.metrics import measure as measure
from jaxasr.score.perplexity import PerplexityResult as PerplexityResult
from jaxasr.score.perplexity import TextScore as TextScore
from jaxasr.score.perplexity import score_texts as score_texts
from jaxasr.score.repetition import repetitions as repetitions
from jaxasr.score.significance import Comparison as Comparison
from jaxasr.score.significance import Interval as Interval
from jaxasr.score.significance import compare as compare
from jaxasr.score.significance import mean_interval as mean_interval
from jaxasr.score.significance import rate_interval as rate_interval
