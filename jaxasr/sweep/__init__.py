"""Sweeps: many runs of one experiment file, and the tables of their results."""

from jaxasr.sweep.halving import Halving as Halving
from jaxasr.sweep.slurm import submit_array as submit_array
from jaxasr.sweep.status import SweepResult as SweepResult
from jaxasr.sweep.sweep import sweep as sweep
from jaxasr.sweep.table import TableFormat as TableFormat
from jaxasr.sweep.table import table as table
