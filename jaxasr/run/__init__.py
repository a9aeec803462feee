"""The training loop and its parts."""

from jaxasr.run.interrupt import TrainingInterrupt as TrainingInterrupt
from jaxasr.run.loop import train as train
from jaxasr.run.metric_accumulator import DivergenceError as DivergenceError
