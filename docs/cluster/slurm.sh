#!/bin/bash
# A training on several hosts by Slurm:  sbatch slurm.sh DATA RUN [train's options]
# DATA and RUN are on a disk that all hosts share. Two minutes before its time is over, or when it has to make way, the
# job saves and puts itself into the queue again; it goes on from its last checkpoint.
#SBATCH --job-name=carrara
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

data=${1:?the data come first: sbatch slurm.sh DATA RUN}
run=${2:?then the folder of the run: sbatch slurm.sh DATA RUN}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=110    # torchrun gives a save so many seconds: 30, if nothing is said
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1  # who begins again meets the others at new addresses

stopped=false
stop() {
    stopped=true
    kill -TERM "$step"
}
trap stop TERM

srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:${PORT:-29500}" -m -- \
    carrara train "$data" --run "$run" "${@:3}" &
step=$!

code=0
wait "$step" || code=$?
if $stopped; then
    wait "$step" || code=$? # the first wait ended with the signal
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
