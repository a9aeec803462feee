#!/usr/bin/env bash
#SBATCH --job-name=jaxasr
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
# One job of all its tasks: sbatch --nodes=2 --ntasks-per-node=1 --gpus-per-node=8 launch/slurm.sh COMMAND...
# A sweep: sbatch --array=0-3 --ntasks=1 launch/slurm.sh jaxasr sweep ...: each runs the variants that are left.
# A task has all devices that Slurm lets it see. 120 s before the time limit all tasks save and leave; then, and when a
# task dies, the job is requeued and goes on. A mistake of the user's (status 1 or 2) ends it. See launch/README.md.
set -uo pipefail
if [ $# -eq 0 ] || [ -z "${SLURM_JOB_ID:-}" ]; then
    echo "usage: sbatch [OPTIONS] launch/slurm.sh COMMAND... (not bash: it is sbatch that finds the nodes)" >&2
    exit 2
fi
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol --oneliner show node "$first" | grep -o ' NodeAddr=[^ ]*') # its name need not resolve
export JAXASR_COORDINATOR=${JAXASR_COORDINATOR:-${address#*=}:$((20000 + SLURM_JOB_ID % 20000))}
export JAXASR_PROCESSES=${SLURM_NTASKS:-1}
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun takes no longer sbatch's
echo "$(date -Is) start ${SLURM_RESTART_COUNT:-0} of job $SLURM_JOB_ID: $JAXASR_PROCESSES tasks on $SLURM_JOB_NODELIST"

grace=$((${JAXASR_HEARTBEAT_S:-60} + 30)) # for the others to end by themselves: what is killed says nothing of why
# shellcheck disable=SC2016 # it is the task that knows its number
srun --kill-on-bad-exit=0 --wait="$grace" --label bash -c 'JAXASR_PROCESS=$SLURM_PROCID exec "$@"' task "$@"
status=$?
restarts=${SLURM_RESTART_COUNT:-0}
case $status in
    0) exit 0 ;;
    1 | 2) echo "ended with status $status, which would come again: not requeued" >&2; exit $status ;;
esac
if [ "$restarts" -ge "${JAXASR_RESTARTS:-20}" ]; then
    echo "ended with status $status after $restarts restarts: not requeued" >&2
    exit $status
fi
echo "ended with status $status: requeued" >&2
scontrol requeue "$SLURM_JOB_ID"
sleep 60 # until Slurm ends this script
exit $status
