"""Decodes a split with a model: errors, perplexity, tuning of a search, language models."""

from jaxasr.evaluation.evaluate_run import chosen_splits as chosen_splits
from jaxasr.evaluation.evaluate_run import evaluate_run as evaluate_run
from jaxasr.evaluation.evaluate_run import refuse_unready as refuse_unready
from jaxasr.evaluation.language_models import refuse_unread as refuse_unread
from jaxasr.evaluation.ngram import NGramFile as NGramFile
from jaxasr.evaluation.ngram import estimate_ngram as estimate_ngram
from jaxasr.evaluation.ngram import read_ngram as read_ngram
from jaxasr.evaluation.searches import chosen_search as chosen_search
from jaxasr.evaluation.searches import search_for_files as search_for_files
from jaxasr.evaluation.searches import tuned_changes as tuned_changes
from jaxasr.evaluation.tune import tune as tune
