"""Training: CIFAR-10 files in, a model bundle of averaged weights out. `python -m training --help` says how."""
