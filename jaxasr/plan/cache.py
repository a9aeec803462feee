"""Answers of the compiler that are kept: a process for each job, its answer under a key of all that decides it."""

import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jaxasr
from jaxasr import tree
from jaxasr.cost.topology import versions
from jaxasr.files import write_whole
from jaxasr.plan.compile import CompileJob, CompileReport, from_json, to_json

CACHE_VARIABLE = "JAXASR_PLANS"  # where answers are kept
_KEY_SOURCES = (  # files and folders that a compiled step, and what is read from it, come from
    *(
        "nn",
        "ops",
        "training",
        "records.py",
        "run/initial_state.py",
        "plan/compile.py",
        "evaluation/attention_metrics.py",
    ),
    *(f"scale/{each}.py" for each in ("compile", "gradient_reduction", "layout", "rules")),
    *(
        f"cost/{each}.py"
        for each in ("topology", "hlo", "collectives", "traffic", "flops", "flop_rules", "trips", "tally")
    ),
)


def compile_in_subprocess(job: CompileJob, log_fn: Callable[[str], None]) -> CompileReport:
    """The answer to a job: the one that is kept, or that of a process of its own, which is kept.

    Raises:
        RuntimeError: the process failed; the end of what it said is told.
    """
    path = cache_folder() / f"{key_of(job)}.json"
    if path.is_file():
        return from_json(path.read_text(encoding="utf-8"))
    source = str(Path(jaxasr.__file__).resolve().parent.parent)
    paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    ended = subprocess.run(
        [sys.executable, "-m", "jaxasr.plan.compile"],
        input=pickle.dumps(job),
        env={**os.environ, **job.topology.environment(), "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
    )
    about = f"{job.topology}, mesh {job.layout}, {job.shape}"
    if ended.returncode:
        told = _reason(ended.stderr.decode(errors="replace"))
        raise RuntimeError(
            f"no program for {about} (the compiling process ended with status {ended.returncode}): {told}"
        )
    found = from_json(ended.stdout.decode().splitlines()[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_json(found) + "\n")
    log_fn(f"compiled in {found.compile_s:.0f} s: {about}")
    return found


def _reason(stderr: str) -> str:
    """The last line that names an error, or else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["it said nothing"]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines)[-1][:600]


def key_of(job: CompileJob) -> str:
    """16 hex digits of all that decides an answer: experiment, shape, machine, mesh, versions, sources."""
    about = {
        "experiment": tree.fingerprint(job.experiment),
        "objective": repr(job.objective),
        "shape": repr(job.shape),
        "topology": str(job.topology),
        "layout": str(job.layout),
        "rules": repr(job.rules),
        "versions": dict(versions(job.topology.platform)),
        "sources": _sources(),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """Where answers are kept: JAXASR_PLANS, else a folder under ~/.cache/jaxasr."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else Path.home() / ".cache" / "jaxasr" / "plans"


def _sources() -> str:
    """A digest of the sources that a compiled step is made of."""
    root, digest = Path(jaxasr.__file__).parent, hashlib.sha256()
    for part in _KEY_SOURCES:
        files = sorted((root / part).rglob("*.py")) if (root / part).is_dir() else [root / part]
        for file in files:
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()
