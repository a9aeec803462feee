#!/usr/bin/env bash
# From a fresh clone to a word error rate: makes its own environment, then prepares, trains, evaluates and transcribes.
# Needs python3 (3.11 to 3.13) and a package index. Environment: PYTHON (python3), JAXASR_VENV (.venv), JAXASR_DATA.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh quickstart

run=runs/quickstart
jaxasr prepare spoken
jaxasr train experiments/quickstart/spoken.py --workdir "$run"
python - "$run" <<'PY'
"""Writes the first test utterance to a file, as somebody's recording would be."""
import os, pathlib, sys
from jaxasr import data
folder = os.environ.get("JAXASR_DATA") or pathlib.Path.home() / ".cache/jaxasr/data"
test = data.Corpus("spoken", "test").open(pathlib.Path(folder))
(pathlib.Path(sys.argv[1]) / "example.flac").write_bytes(test.read(0))
print(f"what is said in {sys.argv[1]}/example.flac: {test.texts[0]}")
PY
jaxasr transcribe experiments/quickstart/spoken.py --workdir "$run" "$run/example.flac"
echo "pictures: $run/pictures/curves.png and $run/pictures/alignment.test.png"
