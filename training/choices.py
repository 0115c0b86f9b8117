"""What a command line may choose from, and what it chooses where nothing is said. (Imports nothing: help is quick.)"""

DATASETS = ("cifar10", "synthetic")
DEFAULT_DATASET = "cifar10"

DEFAULT_RECIPE = "tutorial"
DEFAULT_SEED = 0

DEVICES = ("auto", "cpu", "cuda")  # auto: CUDA where there is a usable GPU
PRECISIONS = ("auto", "fp32", "bf16")  # auto: bf16 where the device multiplies it natively
DEFAULT_PRECISION = "auto"

DEFAULT_CHECKPOINT_EVERY = 1_000  # steps

SUMMARIES = ("off", "scalars", "full")  # full: also what every layer, variable and gradient looks like
DEFAULT_SUMMARIES = "full"
