"""Experiments: their fields, how they are loaded, their workdirs, and the variables of trained runs."""

from jaxasr.experiment.experiment import Experiment as Experiment
from jaxasr.experiment.files import load_function as load_function
from jaxasr.experiment.restore import trained_variables as trained_variables
from jaxasr.experiment.runtime import RuntimeConfig as RuntimeConfig
from jaxasr.experiment.search_space import LogUniform as LogUniform
from jaxasr.experiment.search_space import OneOf as OneOf
from jaxasr.experiment.search_space import Uniform as Uniform
from jaxasr.experiment.search_space import WholeUniform as WholeUniform
from jaxasr.experiment.search_space import latin_hypercube as latin_hypercube
from jaxasr.experiment.search_space import random_search as random_search
from jaxasr.experiment.split import Split as Split
from jaxasr.experiment.stages import Stage as Stage
from jaxasr.experiment.variants import ExperimentRef as ExperimentRef
from jaxasr.experiment.variants import load as load
from jaxasr.experiment.variants import variants as variants
from jaxasr.experiment.workdir import Workdir as Workdir
