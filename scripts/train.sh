#!/bin/sh
# From nothing to a published bundle: get the data, train and evaluate, export. Run again, it goes on where it stopped.
#
#   RECIPE      one of `python -m training train --help` (tutorial)
#   STEPS       updates (2000 with tutorial, else all of the recipe's)
#   GPUS        how many to train on (one, where there is any)
#   MODELS_DIR  where the bundle is published (models)
#   RUNS_DIR    where runs are kept (runs)
#   CIFAR10_DIR where the data is, or is to be (data)
#
# Without a network it goes on with the built-in set, whose bundle has a name of its own.
set -eu
# Asked to stop, sh would leave at once; so it waits for python, which is asked too and saves a checkpoint.
trap 'exit 143' TERM
recipe=${RECIPE:-tutorial}
steps=${STEPS:-}
gpus=${GPUS:-}
models_dir=${MODELS_DIR:-models}

data=cifar10
python -m training fetch || {
    status=$?
    no_network=3
    [ $status -eq $no_network ] || exit $status
    data=synthetic
    echo "Going on with the built-in synthetic set. Its model is published as synthetic; whoever serves cifar10 still does."
}
run_dir=${RUNS_DIR:-runs}/$data
if [ "$recipe" = tutorial ]; then
    steps=${steps:-2000}
else
    run_dir=$run_dir-$recipe
fi
python -m training train --data $data --recipe "$recipe" ${steps:+--steps "$steps"} ${gpus:+--gpus "$gpus"} \
    --run-dir "$run_dir" --resume
python -m training export --run-dir "$run_dir" --models-dir "$models_dir"
