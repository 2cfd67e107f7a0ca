#!/usr/bin/env bash
# On one machine of a running Ray cluster (ray start --head; ray start --address=HEAD:6379). A quarter of a GPU is enough for a worker.
set -euo pipefail
python -m nas.search \
    --budget 4.5GFLOPs --space hybrid-224 --data "$IMAGENET" --image-size 224 \
    --steps 150000 --batch-size 1024 --lr 1e-3 --out "$OUT" \
    --trials 1000 --halving-candidates 0 --backend ray --ray-address "$HEAD:6379" \
    --workers $((8 * NODES)) --parallel $((8 * NODES)) --gpus-per-worker 0.25 "$@"
