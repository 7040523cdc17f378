#!/usr/bin/env bash
# Trains one model for each alphabet on made-up Korean names and addresses, and compares them (docs/korean.md).
# Takes minutes to a quarter of an hour. The commands of nextchar and a Python with faker must be on the PATH
# (`make install`, then `. .venv/bin/activate`).
#
#   examples/korean.sh [FOLDER]      FOLDER (default: runs/korean) gets the corpus, the runs and korean.onnx
#
# RECORDS (30000) and EPOCHS (2) are the size of the corpus and the passes over it.
set -euo pipefail
folder=${1:-runs/korean}
mkdir -p "$folder"

python - "${RECORDS:-30000}" > "$folder/korean.txt" <<'PYTHON'
import sys

from faker import Faker

fake = Faker("ko_KR")
fake.seed_instance(1)
for _ in range(int(sys.argv[1])):
    print(f"{fake.name()}, {fake.address()}, {fake.company()}")
PYTHON

for alphabet in characters jamo bytes; do
  nextchar-train fit "$folder/korean.txt" --out "$folder/$alphabet" --overwrite --alphabet "$alphabet" \
    --epochs "${EPOCHS:-2}" --hidden-size "${HIDDEN_SIZE:-256}" --threads 1 --sequence-length 64 --weight-decay 0.05
done
nextchar-train compare "$folder/characters" "$folder/jamo" "$folder/bytes"

nextchar-train export "$folder/jamo" --out "$folder/korean.onnx"
nextchar-train sample "$folder/korean.onnx" --prompt "김" --characters 60 --temperature 0.8

echo "To serve it: nextchar-server --model $folder/korean.onnx"
