#!/usr/bin/env bash
# One worker a GPU, each with the whole supernet. No successive halving: a few hundred steps tell nothing of 1,000 classes.
set -euo pipefail
python -m nas.search \
    --budget 4.5GFLOPs --space hybrid-224 --data "$IMAGENET" --image-size 224 \
    --steps 150000 --batch-size 1024 --lr 1e-3 --out "$OUT" \
    --trials 1000 --halving-candidates 0 --backend ray --workers 8 --parallel 8 --gpus-per-worker 1 "$@"
