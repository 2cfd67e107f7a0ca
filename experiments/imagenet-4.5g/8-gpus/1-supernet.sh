#!/usr/bin/env bash
# 150,000 steps of 1,024 images, 120 epochs, 128 images a GPU. Again after a crash: it goes on.
set -euo pipefail
torchrun --standalone --nproc-per-node 8 -m nas.train \
    --budget 4.5GFLOPs --space hybrid-224 --data "$IMAGENET" --image-size 224 \
    --steps 150000 --batch-size 1024 --lr 1e-3 --out "$OUT" "$@"
