#!/bin/sh
# Stage one of one collection: the same options for every job, which adds its range, or nothing to join the ranges.
# PHOTOS and CACHE lie on a file system that all machines share.
set -eu
exec ulfine cache-features "$PHOTOS" --out "$CACHE" \
    --model "${MODEL:-ViT-B-32}" --pretrained "${PRETRAINED:-laion2b_s34b_b79k}" --shard-size "${SHARD_SIZE:-8192}" "$@"
