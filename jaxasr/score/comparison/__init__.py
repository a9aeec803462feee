"""Comparison of recognisers on one test set: paired tests, spread over seeds, slices, and a report."""

from jaxasr.score.comparison.paired_tests import holm as holm
from jaxasr.score.comparison.report import as_json as as_json
from jaxasr.score.comparison.report import as_markdown as as_markdown
from jaxasr.score.comparison.seeds import TTest as TTest
from jaxasr.score.comparison.seeds import t_test as t_test
from jaxasr.score.comparison.seeds import welch_test as welch_test
from jaxasr.score.comparison.systems import System as System
from jaxasr.score.comparison.systems import SystemComparison as SystemComparison
from jaxasr.score.comparison.systems import compare_hypotheses as compare_hypotheses
from jaxasr.score.comparison.systems import compare_systems as compare_systems
from jaxasr.score.comparison.transcripts import first_words_are_ids as first_words_are_ids
from jaxasr.score.comparison.transcripts import read_line_pair as read_line_pair
from jaxasr.score.comparison.transcripts import read_pair as read_pair
from jaxasr.score.comparison.transcripts import read_transcripts as read_transcripts
