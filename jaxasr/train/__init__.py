"""The train wing: from what a model says to better parameters. It knows no model."""

from jaxasr.train.average import average_checkpoints as average_checkpoints
from jaxasr.train.average import ema_update as ema_update
from jaxasr.train.checkpoint import Checkpoints as Checkpoints
from jaxasr.train.checkpoint import Metadata as Metadata
from jaxasr.train.checkpoint import Which as Which
from jaxasr.train.objective import Objective as Objective
from jaxasr.train.optimizer import Adam as Adam
from jaxasr.train.optimizer import Optimizer as Optimizer
from jaxasr.train.optimizer import Sgd as Sgd
from jaxasr.train.optimizer import accumulate as accumulate
from jaxasr.train.schedules import Constant as Constant
from jaxasr.train.schedules import Exponential as Exponential
from jaxasr.train.schedules import Noam as Noam
from jaxasr.train.schedules import RampHoldDecay as RampHoldDecay
from jaxasr.train.schedules import Schedule as Schedule
from jaxasr.train.schedules import WarmupCosine as WarmupCosine
from jaxasr.train.state import TrainState as TrainState
from jaxasr.train.state import new_state as new_state
from jaxasr.train.step import make_step as make_step
from jaxasr.train.writer import Writer as Writer
from jaxasr.train.writer import read_metrics as read_metrics
