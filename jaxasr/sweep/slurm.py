"""A sweep as an array of Slurm jobs, each of which runs the variants that no other one has taken."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

SCRIPT = Path("launch/slurm.sh")
_OPTIONS = ("--slurm-array", "--slurm-script", "--sbatch")


def submit_array(arguments: Sequence[str], *, elements: int, script: Path, options: Sequence[str]) -> str:
    """Submits `jaxasr ARGUMENTS` as an array and returns what sbatch prints.

    Args:
        arguments: of `jaxasr sweep`, as they were given; options of this module are left out.
        elements: of the array: jobs at once.
        script: the job script, launch/slurm.sh of this project.
        options: of sbatch, such as --gpus=1.

    Raises:
        FileNotFoundError: there is no such script, or no sbatch.
        RuntimeError: sbatch has failed; the message has its last line.
    """
    if not script.is_file():
        raise FileNotFoundError(f"no job script {script}: give the path of launch/slurm.sh with --slurm-script")
    command = [
        "sbatch",
        f"--array=0-{elements - 1}",
        "--ntasks=1",
        *options,
        str(script),
        "jaxasr",
        *_without(arguments),
    ]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except FileNotFoundError as error:
        raise FileNotFoundError("there is no sbatch here: start the command on a login node of the cluster") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise RuntimeError(f"sbatch ended with status {done.returncode}: {last}; the command was {' '.join(command)}")
    return done.stdout.strip()


def _without(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments without the options of submission and their values."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in _OPTIONS:
            next(words, None)
        elif not word.startswith(tuple(f"{option}=" for option in _OPTIONS)):
            kept.append(word)
    return kept
