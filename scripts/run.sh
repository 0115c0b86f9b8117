#!/bin/sh
# What `make run` does once everything is installed: train, then serve what was trained.
set -eu
port=${PORT:-8000}

echo "Training ${STEPS:-2000} steps. Of a full run, make run STEPS=60000, the tutorial reports about 86 % precision;"
echo "README.md says what was measured, and how long it takes."
. scripts/train.sh

echo "What the network learned, in one page: $run_dir/report.html"

picture=$run_dir/sample.png
python -m training fetch --data $data --sample "$picture"
echo
echo "When the server is ready, try it from another terminal, or open http://127.0.0.1:$port in a browser:"
echo
echo "    curl -F file=@$picture http://127.0.0.1:$port/predict"
echo
exec python -m serving --models-dir "$models_dir" --model $data --port "$port"
