#!/usr/bin/env bash
# Does mixing mixers pay? Three searches on 10,000 CIFAR-10 images, then their winners, the best networks of each mixer alone, published and
# random networks trained alike for ten epochs. Some hours of two cores at 15MFLOPs; the same command continues.
# Training runs in bfloat16, which takes half the time on processors that multiply in it (AVX-512 BF16, AMX) and twice the time on others.
#
#   [PRECISION=fp32] experiments/cifar10-12k/run.sh BUDGET DATA TEST_DATA [FOLDER]
set -euo pipefail
budget=$1 data=$2 test_data=$3 out=${4:-runs/cifar10-$1}
python=${PYTHON:-.venv/bin/python}
for seed in 0 1 2; do
  $python -m nas.search --space hybrid-32 --budget "$budget" --data "$data" --steps 1200 --trials 120 --halving-candidates 0 --seed "$seed" \
    --out "$out/seed-$seed"
done
$python -m nas.compare "$out/seed-0" "$out/seed-1" "$out/seed-2" --test-data "$test_data" --homogeneous --fix-kinds --random 8 \
  --even-random 4 --epochs 10 --seeds 3 --precision "${PRECISION:-bf16}"
