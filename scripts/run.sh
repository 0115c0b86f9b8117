#!/bin/sh
# What `make run` does once everything is installed: train, then serve what was trained.
set -eu
port=${PORT:-8000}

# Now, not after the training.
python -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$port" 2>/dev/null || {
    echo "Port $port cannot be had; choose another, as in make run PORT=8001." >&2
    exit 2
}

if [ -z "${RECIPE:-}${STEPS:-}" ]; then
    echo "Training 2,000 steps of the tutorial's 60,000 (make run STEPS=60000), only to try it. make run RECIPE=fast"
    echo "trains a better network. README.md says what was measured, and how long it takes."
fi
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
