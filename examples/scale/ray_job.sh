#!/bin/bash
#SBATCH --job-name=ulfine-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#SBATCH --output=ulfine-ray-%j.log
# One Ray cluster over four machines of Slurm, which ends with the job. Submit it where stage_one.sh lies.
set -eu
# Nobody but this job may use the cluster, and nothing is reported to Ray's makers.
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1
HEAD=$(hostname --ip-address | cut -d ' ' -f 1)
ray start --head --node-ip-address "$HEAD" --port 6379 --num-cpus "$SLURM_CPUS_PER_TASK" --include-dashboard false --block &
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
until ray health-check --address "$HEAD:6379" 2> /dev/null; do sleep 1; done
if [ "$SLURM_NNODES" -gt 1 ]; then
    srun --nodes "$((SLURM_NNODES - 1))" --ntasks "$((SLURM_NNODES - 1))" --exclude "$(hostname)" \
        ray start --address "$HEAD:6379" --num-cpus "$SLURM_CPUS_PER_TASK" --block &
fi
"${SLURM_SUBMIT_DIR:-.}/stage_one.sh" --engine ray --address "$HEAD:6379"
