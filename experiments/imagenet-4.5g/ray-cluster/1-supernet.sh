#!/usr/bin/env bash
# On each of NODES machines with 8 GPUs, at the same time; HEAD is the first one's address, OUT and IMAGENET are seen by all.
set -euo pipefail
torchrun --nnodes "$NODES" --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint "$HEAD:29500" -m nas.train \
    --budget 4.5GFLOPs --space hybrid-224 --data "$IMAGENET" --image-size 224 \
    --steps 150000 --batch-size 1024 --lr 1e-3 --out "$OUT" "$@"
