"""Many runs of one experiment file, and the table of their results."""

from jaxasr.sweep.sweep import Swept as Swept
from jaxasr.sweep.sweep import sweep as sweep
from jaxasr.sweep.table import table as table
