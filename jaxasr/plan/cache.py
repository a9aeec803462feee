"""The cache of compile reports: each job runs in a subprocess, and its report is stored under a key of its inputs."""

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
from jaxasr.cost.topology import versions
from jaxasr.files import write_whole
from jaxasr.plan.compile import CompileJob, CompileReport, from_json, to_json

CACHE_VARIABLE = "JAXASR_PLANS"  # the environment variable of the cache folder
_KEY_SOURCES = (  # files and folders that determine a compiled step and its report
    *(
        "nn",
        "ops",
        "training",
        "records.py",
        "run/initial_state.py",
        "plan/compile.py",
        "evaluation/attention_metrics.py",
    ),
    *(f"scale/{name}.py" for name in ("compile", "gradient_reduction", "layout", "rules")),
    *(
        f"cost/{name}.py"
        for name in ("topology", "hlo", "collectives", "traffic", "flops", "flop_rules", "trips", "tally", "jaxprs")
    ),
)


def compile_in_subprocess(job: CompileJob, log_fn: Callable[[str], None]) -> CompileReport:
    """Returns the cached report of a job, or compiles the job in a subprocess and caches its report.

    Raises:
        RuntimeError: the subprocess failed; the message has the last error of its output.
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
        reason = _reason(ended.stderr.decode(errors="replace"))
        raise RuntimeError(
            f"no program for {about} (the compiling process ended with status {ended.returncode}): {reason}"
        )
    compiled = from_json(ended.stdout.decode().splitlines()[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_json(compiled) + "\n")
    log_fn(f"compiled in {compiled.compile_s:.0f} s: {about}")
    return compiled


def _reason(stderr: str) -> str:
    """Returns the last line that names an error, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["it said nothing"]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines)[-1][:600]


def key_of(job: CompileJob) -> str:
    """Returns 16 hex digits of everything that determines a report: experiment, shape, topology, mesh, versions, sources."""
    about = {
        "experiment": job.fingerprint,
        "file": _file_digest(job),
        "shape": repr(job.shape),
        "topology": str(job.topology),
        "layout": str(job.layout),
        "rules": repr(job.rules),
        "versions": dict(versions(job.topology.platform)),
        "sources": _sources(),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def _file_digest(job: CompileJob) -> str:
    """Returns a digest of the experiment's file, which may define classes of its own."""
    return hashlib.sha256(Path(job.experiment.reference.partition(":")[0]).read_bytes()).hexdigest()


def cache_folder() -> Path:
    """Returns the folder of the cache: JAXASR_PLANS, else a folder under ~/.cache/jaxasr."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else Path.home() / ".cache" / "jaxasr" / "plans"


def _sources() -> str:
    """Returns a digest of the sources that determine a compiled step and its report."""
    root = Path(jaxasr.__file__).parent
    digest = hashlib.sha256()
    for part in _KEY_SOURCES:
        files = sorted((root / part).rglob("*.py")) if (root / part).is_dir() else [root / part]
        for file in files:
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()
