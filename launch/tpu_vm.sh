#!/usr/bin/env bash
# A TPU slice of its own for one command, from request to deletion: bash launch/tpu_vm.sh [--dry-run] NAME COMMAND...
#   JAXASR_TPU_ZONE=us-west4-a JAXASR_TPU_TYPE=v5litepod-16 JAXASR_TPU_RUNTIME=v2-alpha-tpuv5-lite \
#       bash launch/tpu_vm.sh las jaxasr train experiments/an4/las.py --workdir /mnt/runs/las --parallelism mesh
# The slice is asked for as a queued resource. Every host gets the commit that is checked out here and runs COMMAND, detached
# from the connection; JAX finds the others. A slice that was preempted is asked for again, and the run resumes, up to
# JAXASR_RESTARTS times; the third failure on a slice that is there is the last.
# Each command is printed; --dry-run does no more than that. The variables are in launch/README.md.
set -euo pipefail
dry=
[ "${1:-}" != --dry-run ] || { dry=1; shift; }
if [[ $# -lt 2 || ! $1 =~ ^[a-z][-a-z0-9]*$ || $2 == -* ]]; then # an option that stands elsewhere is no name, no command
    echo "usage: bash launch/tpu_vm.sh [--dry-run] NAME COMMAND...: NAME of a-z, 0-9 and -; it was given: $*" >&2
    exit 2
fi
name=$1
shift
: "${JAXASR_TPU_ZONE:?as in us-west4-a}" "${JAXASR_TPU_TYPE:?as in v5litepod-16}"
: "${JAXASR_TPU_RUNTIME:?as in v2-alpha-tpuv5-lite: gcloud compute tpus versions list}"
case $JAXASR_TPU_TYPE in
    tpu7x*) echo "JAXASR_TPU_TYPE=$JAXASR_TPU_TYPE: TPU7x is not served by the Cloud TPU API; use launch/gke.yaml" >&2; exit 2 ;;
esac
[ -n "$dry" ] || type gcloud > /dev/null || exit 1
cd "$(dirname "$0")/.."
at=("--zone=$JAXASR_TPU_ZONE")
[ -z "${JAXASR_TPU_PROJECT:-}" ] || at+=("--project=$JAXASR_TPU_PROJECT")
wanted=("--node-id=$name" "--accelerator-type=$JAXASR_TPU_TYPE" "--runtime-version=$JAXASR_TPU_RUNTIME")
[ "${JAXASR_TPU_SPOT:-1}" = 0 ] || wanted+=(--spot)
for option in network subnetwork labels service-account; do
    variable=JAXASR_TPU_${option^^}
    value=${variable//-/_}
    [ -z "${!value:-}" ] || wanted+=("--$option=${!value}")
done
reached=()
if [ "${JAXASR_TPU_INTERNAL_IP:-0}" = 1 ]; then
    wanted+=(--internal-ips)
    reached=(--internal-ip)
fi
wait_s=${JAXASR_TPU_WAIT_S:-60}
there=${JAXASR_TPU_PYTHON:+JAXASR_TPU_PYTHON=$(printf %q "$JAXASR_TPU_PYTHON") }

run() {
    printf '%s\n' "$(printf '%q ' "$@")" 2> /dev/null || exec > /dev/null # nobody reads it any more
    [ -n "$dry" ] || "$@"
}
queued() { run gcloud compute tpus queued-resources "$@"; }
on_all() { run gcloud compute tpus tpu-vm ssh "$name" "${at[@]}" "${reached[@]}" --worker=all --command="$1"; }
ours= # whether there may be a slice that this script has asked for: another's of the same name is left alone
delete() {
    [ -n "$ours" ] || return 0
    queued delete "$name" "${at[@]}" --force --quiet || echo "$name may still be there, and cost: delete it by hand" >&2
    ours=
}
ask() { queued create "$name" "${at[@]}" "${wanted[@]}"; } 2> >(tee "$said" >&2)
refused() { # a mistake that would come again, and not want of capacity
    sleep 0.2 # for tee
    grep -qiE 'ALREADY_EXISTS|INVALID_ARGUMENT|NOT_FOUND|PERMISSION_DENIED|UNAUTHENTICATED|quota' "$said" || return 0
    ! grep -q ALREADY_EXISTS "$said" || ours=
    echo "the slice was refused, as it would be again: given up" >&2
    exit 1
}
state() { gcloud compute tpus queued-resources describe "$name" "${at[@]}" '--format=value(state.state)' 2> /dev/null || true; }
ready() { [ -n "$dry" ] || [ "$(state)" = ACTIVE ]; }
get_slice() { # returns when the slice is there
    while true; do
        ours=1
        until ask; do
            refused
            sleep "$wait_s"
        done
        ! wait_for_slice || return 0
        delete
    done
}
wait_for_slice() { # fails if the slice was preempted before it was used
    local now shown=
    until ready; do
        now=$(state)
        [ "$now" = "$shown" ] || echo "$name is ${now:-not known}" >&2
        shown=$now
        case $now in
            SUSPENDED) return 1 ;;
            FAILED)
                gcloud compute tpus queued-resources describe "$name" "${at[@]}" >&2 || true
                echo "the request for the slice has failed: given up" >&2
                exit 1 ;;
        esac
        sleep "$wait_s"
    done
}
set_up() {
    run gcloud compute tpus tpu-vm scp jaxasr.tar.gz "$name:" "${at[@]}" "${reached[@]}" --worker=all || return
    on_all "rm -rf jaxasr && mkdir jaxasr && tar -xzf jaxasr.tar.gz -C jaxasr" || return
    [ -z "${JAXASR_TPU_SETUP:-}" ] || on_all "$JAXASR_TPU_SETUP" || return
    on_all "${there}bash jaxasr/launch/tpu_host.sh set-up"
}
attempt=1
train() { # follows the attempt, over broken connections, until it has ended or the slice has
    local words
    words=$(printf ' %q' "$@")
    while true; do
        on_all "${commit:+JAXASR_COMMIT=$commit }bash jaxasr/launch/tpu_host.sh run $attempt$words" && return 0
        ready || return 1
        # gcloud's status is the same for a command that failed and for a connection that broke
        if ! on_all "bash jaxasr/launch/tpu_host.sh state $attempt" > "$said" 2>&1; then
            cat "$said" >&2
        elif ! grep -q running "$said"; then
            attempt=$((attempt + 1))
            return 1
        fi
        echo "the connection broke, the run goes on: attached again" >&2
        sleep "$wait_s"
    done
}

said=$(mktemp)
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "changes that are not committed stay here" >&2
finish() { # what comes now must not keep it from deleting: Ctrl-C once more, or that it has ended tee as well
    trap '' TERM INT HUP QUIT PIPE
    set +e
    [ -z "$ours" ] || echo "the slice is deleted" >&2 || exec 2> /dev/null
    run rm -f jaxasr.tar.gz
    rm -f "$said"
    delete
}
trap finish EXIT
commit=$(git rev-parse HEAD) # for the rows of results: there is no repository on the hosts
run git archive --output=jaxasr.tar.gz HEAD
trap 'exit 143' TERM INT HUP QUIT PIPE
made='' installed='' failed=0
for ((restart = 0; restart <= ${JAXASR_RESTARTS:-20}; restart++)); do
    if [ -n "$made" ] && ! ready; then # preempted: what is left of it is in the way
        delete
        made='' installed=''
    fi
    if [ -z "$made" ]; then
        get_slice
        made=1
    fi
    if [ -n "$installed" ] || set_up; then
        installed=1
        train "$@" && exit 0
    fi
    if ready && [ $((++failed)) -ge 3 ]; then
        echo "failed $failed times on a slice that was there: given up" >&2
        exit 1
    fi
done
echo "given up after ${JAXASR_RESTARTS:-20} restarts" >&2
exit 1
