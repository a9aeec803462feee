"""Where the wings meet: experiments, the training loop, evaluation, transcription, benchmarks."""

from jaxasr.run.alignable import Lesson as Lesson
from jaxasr.run.alignable import Solved as Solved
from jaxasr.run.alignable import examine as examine
from jaxasr.run.alignable import solve as solve
from jaxasr.run.bench import BENCHMARKS as BENCHMARKS
from jaxasr.run.bench import benchmark as benchmark
from jaxasr.run.experiment import Experiment as Experiment
from jaxasr.run.experiment import Split as Split
from jaxasr.run.final import evaluate_run as evaluate_run
from jaxasr.run.interrupt import Interrupted as Interrupted
from jaxasr.run.live import Delays as Delays
from jaxasr.run.live import stream as stream
from jaxasr.run.log import Diverged as Diverged
from jaxasr.run.loop import train as train
from jaxasr.run.machine import Machine as Machine
from jaxasr.run.stream import StableWord as StableWord
from jaxasr.run.stream import Streamer as Streamer
from jaxasr.run.sweep import Swept as Swept
from jaxasr.run.sweep import sweep as sweep
from jaxasr.run.table import table as table
from jaxasr.run.transcribe import Refusal as Refusal
from jaxasr.run.transcribe import Transcript as Transcript
from jaxasr.run.transcribe import transcribe as transcribe
from jaxasr.run.variants import load as load
from jaxasr.run.variants import variants as variants
from jaxasr.run.workdir import Workdir as Workdir
