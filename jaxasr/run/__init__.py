"""The training loop and what it needs."""

from jaxasr.run.interrupt import Interrupted as Interrupted
from jaxasr.run.loop import train as train
from jaxasr.run.metric_log import Diverged as Diverged
