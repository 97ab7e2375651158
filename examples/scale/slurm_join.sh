#!/bin/bash
#SBATCH --job-name=ulfine-join
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#SBATCH --output=ulfine-%A.log
# After the array: it makes what is still missing, the index, and cache.h5.
set -eu
exec "${SLURM_SUBMIT_DIR:-.}/stage_one.sh"
