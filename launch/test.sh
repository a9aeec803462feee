#!/usr/bin/env bash
# Lint, types, floors, then the tests: makes its own environment. Arguments go to pytest (-m slow: the long proofs).
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh dev quickstart

ruff check .
ruff format --check .
pyright
lint-imports
[ $# -gt 0 ] || set -- -m "not slow"
exec pytest -n 2 --dist worksteal "$@"
