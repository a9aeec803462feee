"""Decodes a split with a model: errors, perplexity, tuning of a search, language models."""

from jaxasr.evaluation.evaluate_run import check_data_ready as check_data_ready
from jaxasr.evaluation.evaluate_run import evaluate_run as evaluate_run
from jaxasr.evaluation.evaluate_run import select_splits as select_splits
from jaxasr.evaluation.language_models import check_lms_used as check_lms_used
from jaxasr.evaluation.ngram import NGramFile as NGramFile
from jaxasr.evaluation.ngram import estimate_ngram as estimate_ngram
from jaxasr.evaluation.ngram import read_ngram as read_ngram
from jaxasr.evaluation.searches import search_for_files as search_for_files
from jaxasr.evaluation.searches import select_search as select_search
from jaxasr.evaluation.searches import tuned_changes as tuned_changes
from jaxasr.evaluation.tune import tune as tune
