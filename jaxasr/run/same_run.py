"""The processes of a job make one run, or none: the same experiment, on the same data, from the same step."""

import socket

import jax

from jaxasr import tree
from jaxasr.data import OpenPipeline
from jaxasr.experiment.experiment import Experiment
from jaxasr.scale.hosts import of_first, process


def refuse_another(experiment: Experiment, data: OpenPipeline, done: int) -> None:
    """Finds that the first process is about to make the same steps. Every process of the job calls it.

    They would compile other programs, and wait for each other for ever, or train on a mixture without a word.

    Args:
        done: steps, of the last checkpoint that this process sees.

    Raises:
        ValueError: it is not; every line that differs is listed.
    """
    own = f"{tree.render(experiment)}\ndata = {data.hash}\nsteps in the workdir = {done}\njax = {jax.__version__}"
    lines = tree.difference(of_first("run", own), own)
    if lines:
        number, count = process()
        raise ValueError(
            f"process {number} of {count}, on {socket.gethostname()}, is about to make another run than process 0. From "
            "there -> to here:\n  " + "\n  ".join(lines) + "\nGive all of them the same checkout, prepared data and "
            "workdir (a folder that they share)."
        )
