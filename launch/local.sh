#!/usr/bin/env bash
# One job of N processes with M devices each, on this machine: bash launch/local.sh N M COMMAND...
# On a CPU the devices are virtual; on GPUs process K gets the M from K*M on, of CUDA_VISIBLE_DEVICES if that is set.
# Each line says which process it is from. When one fails, or a signal comes, all end. Environment: launch/README.md.
set -uo pipefail
if [[ $# -lt 3 || ! $1 =~ ^[1-9][0-9]*$ || ! $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: bash launch/local.sh N M COMMAND...: N processes with M devices each; it was given: $*" >&2
    exit 2
fi
processes=$1 devices=$2
shift 2
free='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
export JAXASR_COORDINATOR=127.0.0.1:${JAXASR_PORT:-$(python3 -c "$free")} JAXASR_PROCESSES=$processes
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"
IFS=, read -ra gpus <<< "${CUDA_VISIBLE_DEVICES:-$(seq -s, 0 $((processes * devices - 1)))}"
if [[ ${CUDA_VISIBLE_DEVICES:--1} != -1 && ${JAX_PLATFORMS:-} != cpu && ${#gpus[@]} -lt $((processes * devices)) ]]; then
    echo "local.sh: CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES has not the $processes x $devices GPUs asked for" >&2
    exit 2
fi

running=() status=0 killer=
label() { # ends when its process does, whatever signal the whole group gets (Ctrl-C)
    trap '' INT TERM USR1 USR2
    exec sed -u "s/^/[$1] /"
}
signal_all() { [ ${#running[@]} -eq 0 ] || kill -"$1" "${running[@]}" 2> /dev/null; }
end_all() { # asks, and after a while kills: who waits in a collective can't hear
    signal_all TERM
    [ -n "$killer" ] && return
    (trap 'kill $!; exit' TERM; sleep "${JAXASR_GRACE_S:-30}" & wait; signal_all KILL) > /dev/null 2>&1 &
    killer=$!
}
trap 'signal_all TERM' TERM INT # and no more than that: a checkpoint may take its time
trap 'signal_all USR1' USR1
for ((k = 0; k < processes; k++)); do
    mine=$(IFS=,; echo "${gpus[*]:k * devices:devices}")
    JAXASR_PROCESS=$k CUDA_VISIBLE_DEVICES=$mine "$@" > >(label $k) 2> >(label $k >&2) &
    running[k]=$!
done
exec 3>&2
while [ ${#running[@]} -gt 0 ]; do
    for k in "${!running[@]}"; do
        kill -0 "${running[k]}" 2> /dev/null && continue
        wait "${running[k]}"
        code=$?
        unset "running[k]"
        [ $code -eq 0 ] && continue
        echo "process $k ended with status $code" >&3
        [ $status -ne 0 ] || status=$code
        end_all
    done
    sleep 0.2
done 2> /dev/null # where bash says of each that was killed what it has just been told
[ -z "$killer" ] || kill "$killer" 2> /dev/null
exit $status
