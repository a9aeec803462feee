"""Where the wings meet: experiments, the training loop, evaluation, transcription, benchmarks."""

from jaxasr.run.bench import BENCHMARKS as BENCHMARKS
from jaxasr.run.experiment import Experiment as Experiment
from jaxasr.run.experiment import Split as Split
from jaxasr.run.experiment import load as load
from jaxasr.run.final import evaluate_run as evaluate_run
from jaxasr.run.interrupt import Interrupted as Interrupted
from jaxasr.run.log import Diverged as Diverged
from jaxasr.run.loop import train as train
from jaxasr.run.machine import Machine as Machine
from jaxasr.run.transcribe import Refusal as Refusal
from jaxasr.run.transcribe import Transcript as Transcript
from jaxasr.run.transcribe import transcribe as transcribe
from jaxasr.run.workdir import Workdir as Workdir
