#!/usr/bin/env bash
# The winner, or any published network under the same recipe: NETWORK=davit-t 3-retrain.sh
set -euo pipefail
network="${NETWORK:-$OUT/best.yaml}"
torchrun --standalone --nproc-per-node 8 -m nas.retrain "$network" \
    --recipe deit --data "$IMAGENET" --image-size 224 --out "$OUT-retrain-$(basename "$network" .yaml)" "$@"
