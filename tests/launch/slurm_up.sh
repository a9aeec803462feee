#!/usr/bin/env bash
# A Slurm of one controller and two nodes of four GPUs that are none, n0 and n1, on this machine, all in one folder, in the foreground until it is
# told to end: bash tests/launch/slurm_up.sh FOLDER [PORT]. Its clients need SLURM_CONF=FOLDER/slurm.conf.
# Needs: apt-get install --no-install-recommends slurm-wlm munge
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd) port=${2:-17300}
PATH=$PATH:/usr/sbin:/sbin
for tool in munged slurmctld slurmd; do
    command -v "$tool" > /dev/null || { echo "there is no $tool: apt-get install slurm-wlm munge" >&2; exit 1; }
done
mkdir -p "$folder"/{munge,state,n0,n1}
chmod 700 "$folder"/munge
head -c 128 /dev/urandom > "$folder/munge/key"
chmod 600 "$folder/munge/key"
me=$(id -un) host=$(hostname -s) cpus=$(nproc)
cat > "$folder/slurm.conf" <<CONF
ClusterName=house
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$me
SlurmdUser=$me
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdPidFile=$folder/%n/slurmd.pid
SlurmdLogFile=$folder/%n/slurmd.log
SlurmdSpoolDir=$folder/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=5
SchedulerParameters=sched_interval=2,batch_sched_delay=0
GresTypes=gpu
NodeName=n0 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=$cpus Gres=gpu:4
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=$cpus Gres=gpu:4
PartitionName=all Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP
CONF
for gpu in 0 1 2 3; do ln -sf /dev/null "$folder/gpu$gpu"; done # in the place of GPUs: Slurm gives out their numbers
echo "NodeName=n[0-1] Name=gpu File=$folder/gpu[0-3]" > "$folder/gres.conf"
export SLURM_CONF=$folder/slurm.conf
daemons=()
end() {
    kill "${daemons[@]}" 2> /dev/null
    wait
}
trap end EXIT
trap 'exit 0' TERM INT
munged --force --foreground --socket="$folder/munge/socket" --key-file="$folder/munge/key" \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" &
daemons+=($!)
until [ -S "$folder/munge/socket" ]; do sleep 0.1; done
slurmctld -D -i & # -i: there is no state to lose
daemons+=($!)
for node in n0 n1; do
    slurmd -D -N "$node" &
    daemons+=($!)
done
until sinfo --noheader --states=idle --format=%D 2> /dev/null | grep -q 2; do sleep 0.2; done
echo "SLURM_CONF=$SLURM_CONF"
wait
