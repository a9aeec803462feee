"""Runs as portable programs: StableHLO by `jax.export`, which other processes run with jax alone."""

from jaxasr.stablehlo.folder import ProgramOptions as ProgramOptions
from jaxasr.stablehlo.folder import export_programs as export_programs
from jaxasr.stablehlo.programs import programs_of as programs_of
