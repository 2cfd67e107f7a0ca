#!/usr/bin/env bash
# On each of NODES machines with 8 GPUs, at the same time, as the supernet. NETWORK=davit-t retrains a published network.
set -euo pipefail
network="${NETWORK:-$OUT/best.yaml}"
torchrun --nnodes "$NODES" --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint "$HEAD:29501" -m nas.retrain "$network" \
    --recipe deit --data "$IMAGENET" --image-size 224 --out "$OUT-retrain-$(basename "$network" .yaml)" "$@"
