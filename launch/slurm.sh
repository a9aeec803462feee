#!/usr/bin/env bash
#SBATCH --job-name=jaxasr
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
# One job of all its tasks: sbatch --nodes=2 --ntasks-per-node=1 --gpus-per-node=8 launch/slurm.sh COMMAND...
# A sweep: sbatch --array=0-3 --ntasks=1 launch/slurm.sh jaxasr sweep ...: each runs the variants that are left.
# A task has the devices that Slurm lets it see; tasks that see the same GPUs of a node (--gpu-bind=none) share them out.
# 120 s before the time limit all tasks save and leave; then, and when a task dies or a fault ends them, the job is requeued
# and goes on. A mistake of the user's (status 1 or 2) ends it. See launch/README.md.
set -uo pipefail
if [ $# -eq 0 ] || [ -z "${SLURM_JOB_ID:-}" ]; then
    echo "usage: sbatch [OPTIONS] launch/slurm.sh COMMAND... (not bash: it is sbatch that finds the nodes)" >&2
    exit 2
fi
job=$SLURM_JOB_ID # of an element of an array the number alone may be that of the whole array
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
start=${SLURM_RESTART_COUNT:-0}
workdir=
for ((word = 1; word <= $#; word++)); do
    case ${!word} in
        --workdir) after=$((word + 1)); workdir=${!after:-} ;;
        --workdir=*) workdir=${!word#*=} ;;
    esac
done

steps() { # furthest steps of the run, or of all runs of a sweep together
    [ -n "$workdir" ] || { echo 0; return; }
    grep -asH '^last finished step' "$workdir"/hosts/host-0.txt "$workdir"/*/hosts/host-0.txt | awk '
        { sub(/ at [^ ]*$/, ""); step = $NF + 0; sub(/ +[0-9]+$/, ""); if (step > furthest[$0]) furthest[$0] = step }
        END { for (run in furthest) sum += furthest[run]; print sum + 0 }'
}
idle() { # starts before this one that got no further; Slurm keeps the number in the job's comment
    scontrol --oneliner show job "$job" | sed -n 's/.*Comment=jaxasr: \([0-9]*\) starts.*/\1/p' | grep . || echo 0
}

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol --oneliner show node "$first" | grep -o ' NodeAddr=[^ ]*') # its name need not resolve
port=$((20000 + (SLURM_JOB_ID + 7919 * start) % 20000)) # another one at each start: this one may be taken
export JAXASR_COORDINATOR=${JAXASR_COORDINATOR:-${address#*=}:$port}
export JAXASR_JOB=slurm-$job-$start
export SLURM_EXIT_ERROR=75 # of srun where the fault is Slurm's own; else it is 1
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun takes no longer sbatch's
echo "$(date -Is) start $start of job $job on $SLURM_JOB_NODELIST"

# shellcheck disable=SC2016 # it is the task that knows its number, and how many there are with --nodes=1-2
task='
    export JAXASR_PROCESS=$SLURM_PROCID JAXASR_PROCESSES=$SLURM_STEP_NUM_TASKS
    tasks=${SLURM_NTASKS_PER_NODE:-1} all=${SLURM_GPUS_ON_NODE:-0}
    IFS=, read -ra gpus <<< "${CUDA_VISIBLE_DEVICES-$(seq -s, "$all")}" # with --gpu-bind=none it is not set
    if [ "$tasks" -gt 1 ] && [ "$all" -gt 1 ] && [ ${#gpus[@]} = "$all" ]; then
        share=$((all / tasks)) # each task sees all GPUs of its node
        JAX_LOCAL_DEVICE_IDS=$(seq -s, $((SLURM_LOCALID * share)) $((SLURM_LOCALID * share + share - 1)))
        export JAX_LOCAL_DEVICE_IDS
    fi
    exec "$@"'
before=$(steps)
grace=$((${JAXASR_HEARTBEAT_S:-60} + 30)) # for the others to end by themselves: what is killed says nothing of why
srun --kill-on-bad-exit=0 --wait="$grace" --label bash -c "$task" task "$@"
status=$?
case $status in
    0) exit 0 ;;
    1 | 2) echo "ended with status $status, which would come again: not requeued" >&2; exit $status ;;
esac
if [ "$(steps)" -le "$before" ]; then
    idle=$(idle)
    if [ "$idle" -ge "${JAXASR_RESTARTS:-20}" ]; then
        echo "ended with status $status after $idle restarts that made no step: not requeued" >&2
        exit $status
    fi
    scontrol update JobId="$job" Comment="jaxasr: $((idle + 1)) starts made no step"
fi
echo "ended with status $status: requeued" >&2
scontrol requeue "$job"
sleep 60 # until Slurm ends this script
exit $status
