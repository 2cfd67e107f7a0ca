#!/usr/bin/env bash
# Does a search from trained weights find better networks than one from scratch? Hours of two cores; the same command continues.
# Fine-tuning runs in bfloat16, which takes half the time on processors that multiply in it (AVX-512 BF16, AMX).
#
#   experiments/transfer/run.sh CIFAR CIFAR_TEST CALTECH CALTECH_TEST [FOLDER]
#
# Three small networks, in the manner of UniFormer, Shunted Transformer and DaViT, are trained on CIFAR-10 images. For three seeds, the
# space is searched on the Caltech images twice at equal cost: from these weights, and from scratch. All winners, the three networks, single
# mixers and random networks are then fine-tuned alike, members of the space from the weights that they inherit in a supernet that began
# with trained ones.
set -euo pipefail
cifar=$1 cifar_test=$2 caltech=$3 caltech_test=$4 out=${5:-runs/transfer}
python=${PYTHON:-.venv/bin/python}
networks=(uniformer-mini shunted-mini davit-mini)
budget=30MFLOPs

weights=()
for network in "${networks[@]}"; do
  $python -m nas.retrain "experiments/transfer/parents/$network.yaml" --data "$cifar" --test-data "$cifar_test" --epochs 10 \
    --out "$out/parents/$network"
  weights+=("$out/parents/$network/architecture.yaml=$out/parents/$network/weights.safetensors")
done

search=("$python" -m nas.search --space hybrid-32 --budget "$budget" --data "$caltech" --image-size 32 --steps 600 --trials 120 --halving-candidates 0)
scratch=()
for seed in 0 1 2; do
  "${search[@]}" --seed "$seed" --out "$out/weights-$seed" --warm-start "${weights[@]}"
  "${search[@]}" --seed "$seed" --out "$out/scratch-$seed"
  cp "$out/scratch-$seed/best.yaml" "$out/from-scratch-$seed.yaml"
  scratch+=("$out/from-scratch-$seed.yaml")
done

$python -m nas.compare "$out/weights-0" "$out/weights-1" "$out/weights-2" "${scratch[@]}" experiments/transfer/parents/*.yaml \
  --from supernet --allow-scratch --epochs 16 --precision bf16 --test-data "$caltech_test" --homogeneous --random 4 --even-random 4 --seeds 3

# The three networks once more. They see as many images in fine-tuning alone as members of the space do there and in 600 steps of 32 of a supernet.
for network in "${networks[@]}"; do
  for seed in 0 1 2; do
    $python -m nas.retrain "experiments/transfer/parents/$network.yaml" --data "$caltech" --test-data "$caltech_test" --image-size 32 \
      --from "$out/parents/$network/architecture.yaml=$out/parents/$network/weights.safetensors" --epochs 27 --precision bf16 \
      --seed "$seed" --out "$out/longer/$network-$seed"
  done
done
$python -m experiments.benchmarks.judges "$out/weights-0" --output "$out/judges.md"
