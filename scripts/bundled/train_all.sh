#!/bin/sh
# Train both bundled models from nothing into the checkpoint folder $1, then export and measure.
# Interrupt and rerun as you like: finished steps are skipped, unfinished ones continue.
set -eu
checkpoints=${1:?usage: train_all.sh CHECKPOINT_FOLDER}
here=$(dirname "$0")
PYTHONPATH=$(cd "$here/../.." && pwd)
export PYTHONPATH
python=${PYTHON:-python}
mkdir -p "$checkpoints"

"$python" "$here/train_detector.py" --out "$checkpoints" --bank "$checkpoints/bank.npz" \
    --minutes "${DETECTOR_MINUTES:-39}" --compile &
detector=$!
"$python" "$here/train_vae.py" --out "$checkpoints" --minutes "${VAE_MINUTES:-12}" --batch 24
[ -d "$checkpoints/text_encoder" ] ||
    "$python" "$here/train_text.py" --out "$checkpoints" --minutes "${TEXT_MINUTES:-3.5}" --batch 96
[ -f "$checkpoints/latents.npy" ] ||
    "$python" "$here/encode_bank.py" --out "$checkpoints" --scenes 24000 --reconstructions 6000
"$python" "$here/train_unet.py" --out "$checkpoints" --minutes "${UNET_MINUTES:-51}" --compile
wait "$detector"
# the judge sees with the eyes of the detector that ships
"$python" "$here/export.py" --checkpoints "$checkpoints"
"$python" "$here/train_judge.py" --out "$checkpoints" --minutes "${JUDGE_MINUTES:-90}"
"$python" "$here/export.py" --checkpoints "$checkpoints"
"$python" "$here/evaluate.py" detector
"$python" "$here/evaluate_judge.py"
"$python" "$here/evaluate.py" generator --sheet "$checkpoints/sheet.png"
