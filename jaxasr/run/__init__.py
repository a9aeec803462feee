"""The training loop and its parts."""

from jaxasr.run.dry_run import dry_run as dry_run
from jaxasr.run.faults import FaultAfterSteps as FaultAfterSteps
from jaxasr.run.faults import faults_after_steps as faults_after_steps
from jaxasr.run.interrupt import EvaluationInterrupt as EvaluationInterrupt
from jaxasr.run.interrupt import TrainingInterrupt as TrainingInterrupt
from jaxasr.run.interrupt import stoppable_evaluation as stoppable_evaluation
from jaxasr.run.loop import train as train
from jaxasr.run.metric_accumulator import DivergenceError as DivergenceError
