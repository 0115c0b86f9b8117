"""What a command line may choose from, and what it chooses where nothing is said. (Imports nothing: help is quick.)"""

DATASETS = ("cifar10", "synthetic")
FOLDER = "folder:"  # followed by the path of a folder of pictures, a data set too
DATA = f"{', '.join(DATASETS)}, {FOLDER}PATH"  # for people
DEFAULT_DATASET = "cifar10"
LEAST_CLASSES, MOST_CLASSES = 2, 1_000  # in a folder
LEAST_IMAGE_SIZE, MOST_IMAGE_SIZE = 32, 224  # pixels a side, of a folder's pictures as they are stored and served
DEFAULT_TEST_SHARE = 0.2  # of a folder that does not say which of its pictures are for testing

DEFAULT_RECIPE = "tutorial"
DEFAULT_SEED = 0

DEVICES = ("auto", "cpu", "cuda")  # auto: CUDA where there is a usable GPU
PRECISIONS = ("auto", "fp32", "bf16")  # auto: bf16 where the device multiplies it natively
DEFAULT_PRECISION = "auto"

DEFAULT_CHECKPOINT_EVERY = 1_000  # steps

SUMMARIES = ("off", "scalars", "full")  # full: also what every layer, variable and gradient looks like
DEFAULT_SUMMARIES = "full"
