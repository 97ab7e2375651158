#!/bin/bash
#SBATCH --job-name=ulfine-shards
#SBATCH --array=0-15
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=ulfine-%A_%a.log
# 16 jobs, of which each makes a sixteenth of the shards. Submit it where stage_one.sh lies: Slurm runs a copy of this file.
set -eu
export OMP_NUM_THREADS=1
exec "${SLURM_SUBMIT_DIR:-.}/stage_one.sh" --workers "${SLURM_CPUS_PER_TASK:-8}" \
    --shard-range "$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))/$SLURM_ARRAY_TASK_COUNT"
