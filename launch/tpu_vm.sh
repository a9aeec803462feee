#!/usr/bin/env bash
# A TPU slice of its own for one command, from creation to deletion: bash launch/tpu_vm.sh [--dry-run] NAME COMMAND...
#   JAXASR_TPU_ZONE=us-west4-a JAXASR_TPU_TYPE=v5litepod-16 JAXASR_TPU_RUNTIME=v2-alpha-tpuv5-lite \
#       bash launch/tpu_vm.sh las jaxasr train experiments/an4/las.py --workdir /mnt/runs/las --parallelism mesh
# Every host gets the commit that is checked out here and runs COMMAND; JAX finds the others. A slice that was preempted
# is made again, and the run goes on, up to JAXASR_RESTARTS times; the third failure on a slice that is there is the last.
# Each command is printed; --dry-run does no more than that. See launch/README.md.
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
[ -n "$dry" ] || type gcloud > /dev/null || exit 1
cd "$(dirname "$0")/.."
root=(gcloud compute tpus tpu-vm)
where=("$name" "--zone=$JAXASR_TPU_ZONE")
spot=()
[ "${JAXASR_TPU_SPOT:-1}" = 0 ] || spot=(--spot)
install="mkdir -p jaxasr && tar -xzf jaxasr.tar.gz -C jaxasr && cd jaxasr && python3 -m venv .venv"
install+=" && .venv/bin/pip install --quiet -c launch/constraints.txt -e '.[tpu]'"
work="cd jaxasr && source .venv/bin/activate && JAXASR_DISTRIBUTED=auto$(printf ' %q' "$@")"

run() {
    printf '%s\n' "$(printf '%q ' "$@")" 2> /dev/null || exec > /dev/null # nobody reads it any more
    [ -n "$dry" ] || "$@"
}
on_all() { run "${root[@]}" ssh "${where[@]}" --worker=all --command="$1"; }
create() {
    run "${root[@]}" create "${where[@]}" "--accelerator-type=$JAXASR_TPU_TYPE" "--version=$JAXASR_TPU_RUNTIME" "${spot[@]}"
} 2> >(tee "$said" >&2)
ours= # whether there may be a slice that this script has asked for: another's of the same name is left alone
delete() {
    [ -n "$ours" ] || return 0
    run "${root[@]}" delete "${where[@]}" --quiet || echo "$name may still be there, and cost: delete it by hand" >&2
    ours=
}
refused() { # a mistake that would come again, and not want of capacity
    sleep 0.2 # for tee
    grep -qE 'ALREADY_EXISTS|INVALID_ARGUMENT|NOT_FOUND|PERMISSION_DENIED|UNAUTHENTICATED' "$said" || return 0
    ! grep -q ALREADY_EXISTS "$said" || ours=
    echo "the slice was refused, as it would be again: given up" >&2
    exit 1
}
ready() { [ -n "$dry" ] || [ "$("${root[@]}" describe "${where[@]}" '--format=value(state)' 2> /dev/null)" = READY ]; }
set_up() {
    run "${root[@]}" scp jaxasr.tar.gz "$name:" "--zone=$JAXASR_TPU_ZONE" --worker=all && on_all "$install" || return
    [ -z "${JAXASR_TPU_SETUP:-}" ] || on_all "$JAXASR_TPU_SETUP"
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
run git archive --output=jaxasr.tar.gz HEAD
trap 'exit 143' TERM INT HUP QUIT PIPE
made='' installed='' failed=0
for ((restart = 0; restart <= ${JAXASR_RESTARTS:-20}; restart++)); do
    if [ -n "$made" ] && ! ready; then # preempted: what is left of it is in the way
        delete
        made='' installed=''
    fi
    if [ -z "$made" ]; then
        ours=1
        until create; do
            refused
            sleep "${JAXASR_TPU_WAIT_S:-60}" # no capacity, most often
        done
        made=1
    fi
    if [ -n "$installed" ] || set_up; then
        installed=1
        on_all "$work" && exit 0
    fi
    if ready && [ $((++failed)) -ge 3 ]; then
        echo "failed $failed times on a slice that was there: given up" >&2
        exit 1
    fi
done
echo "given up after ${JAXASR_RESTARTS:-20} restarts" >&2
exit 1
