"""A check that all processes of a job make the same run: the same experiment, the same data, the same first step."""

import socket

import jax

from jaxasr import tree
from jaxasr.data import BoundPipeline
from jaxasr.experiment.experiment import Experiment
from jaxasr.scale.hosts import broadcast_from_primary, process


def check_same_run_on_all_hosts(experiment: Experiment, data: BoundPipeline, done: int) -> None:
    """Compares this process's run with that of process 0. Every process of the job calls it.

    Processes with different runs would compile different programs, and wait for each other without end or train on a mixture.

    Args:
        experiment: the experiment of this process.
        data: the training data of this process.
        done: steps of the last checkpoint that this process sees.

    Raises:
        ValueError: the runs differ; the message lists every line that differs.
    """
    own = f"{tree.render(experiment)}\ndata = {data.hash}\nsteps in the workdir = {done}\njax = {jax.__version__}"
    lines = tree.difference(broadcast_from_primary("run", own), own)
    if lines:
        number, count = process()
        raise ValueError(
            f"process {number} of {count}, on {socket.gethostname()}, is about to make another run than process 0. From "
            "there -> to here:\n  " + "\n  ".join(lines) + "\nGive all of them the same checkout, prepared data and "
            "workdir (a folder that they share)."
        )
