#!/bin/sh
# Retrain and replace the model, or stop and leave it as it is.
# To be run where runs/last is last week's run.
#
#     sh retrain.sh PHOTOS MODEL LABELS [LEAST MACRO ACCURACY]
#
# PHOTOS     a folder with class folders, unlabelled/ and test/
# MODEL      the encoder, as for cache-features
# LABELS     what was decided since, as `ulfine label` writes it
set -eu
photos=$1 model=$2 labels=$3 least=${4:-0.8}

ulfine cache-features "$photos" --out cache --model "$model"
ulfine fit cache --out runs/next --overwrite --from runs/last \
    --apply "$labels" --min "macro_accuracy=$least"
ulfine diff runs/last runs/next --max-drop 0.01
ulfine export runs/next --onnx model.onnx --input pixels

rm -rf runs/before
mv runs/last runs/before
mv runs/next runs/last
echo "model.onnx is this week's; runs/before is last week's run"
