#!/usr/bin/env bash
# What launch/tpu_vm.sh runs on each host of a TPU slice, in the folder that it unpacked there.
#   set-up           makes .venv, with a Python of its own: those of the images are older than 3.11
#   run N COMMAND... starts attempt N detached, so that a broken connection does not end it, and follows its output;
#                    run again it attaches to the attempt, or returns the status with which that has ended
#   state N          prints "running", "ended STATUS" or "none" of attempt N
set -euo pipefail
cd "$(dirname "$0")/.."
python=${JAXASR_TPU_PYTHON:-3.12} # a version or a path, as for `uv venv --python`

set_up() {
    local uv
    uv=$(command -v uv || echo "$HOME/.local/bin/uv")
    [ -x "$uv" ] || python3 -m pip install --user --quiet uv || curl -LsSf https://astral.sh/uv/install.sh | sh
    "$uv" venv --quiet --clear --python "$python" .venv
    .venv/bin/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
        echo "JAXASR_TPU_PYTHON=$python is $(.venv/bin/python --version); jaxasr needs 3.11 to 3.13" >&2
        exit 2
    }
    "$uv" pip install --quiet --python .venv/bin/python --constraint launch/constraints.txt --editable '.[tpu]'
}

state() {
    if [ -s "attempt-$1.status" ]; then
        echo "ended $(cat "attempt-$1.status")"
    elif [ -s "attempt-$1.pid" ] && kill -0 "$(cat "attempt-$1.pid")" 2> /dev/null; then
        echo running
    else
        echo none
    fi
}

run() {
    local attempt=$1
    shift
    if [ "$(state "$attempt")" = none ]; then
        rm -f "attempt-$attempt.pid" # of one that was killed
        : > "attempt-$attempt.log"
        # shellcheck disable=SC2016 # expanded by the inner shell
        setsid nohup bash -c 'echo $$ > "$0.pid"; source .venv/bin/activate; JAXASR_DISTRIBUTED=auto "$@"; echo $? > "$0.status"' \
            "attempt-$attempt" "$@" > "attempt-$attempt.log" 2>&1 < /dev/null &
        disown # bash reports no death of it
        until [ -s "attempt-$attempt.pid" ]; do sleep 0.1; done
    fi
    tail --lines=+1 --follow --pid="$(cat "attempt-$attempt.pid")" "attempt-$attempt.log"
    until [ "$(state "$attempt")" != running ]; do sleep 0.1; done
    local ended
    ended=$(state "$attempt")
    [ "$ended" != none ] || { echo "attempt $attempt was killed" >&2; exit 137; }
    exit "${ended#ended }"
}

case ${1:-} in
    set-up) set_up ;;
    run) shift; run "$@" ;;
    state) state "$2" ;;
    *) echo "usage: bash launch/tpu_host.sh set-up | run N COMMAND... | state N" >&2; exit 2 ;;
esac
