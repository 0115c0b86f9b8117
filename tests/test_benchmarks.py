"""The benchmarks: that they measure, and that what ours is measured against computes the same."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import log_lines
from benchmarks.log_lines import Interval
from benchmarks.peers import plain_pytorch
from benchmarks.scaling import Size, table
from benchmarks.summaries import shares
from tests.training.processes import SECONDS
from tests.training.test_reference import WEIGHTS
from training.recipe import RECIPES
from training.recipe_parts import TutorialArchitecture
from training.tutorial_network import TutorialNetwork

REPOSITORY = Path(__file__).parent.parent
REFERENCE = REPOSITORY / "tests" / "training" / "reference" / "tensorflow.npz"
RECIPE = RECIPES["tutorial"]
NUMBER = r"([\d,]+(?:\.\d+)?)"
SPREAD = rf"{NUMBER} \({NUMBER} to {NUMBER}\)"
QUICK = ["--steps", "30", "--warm-up", "10", "--rounds", "1", "--batch-size", "8"]

FIVE_STEPS = """
import sys
import numpy as np
import tensorflow as tf
from benchmarks.peers import tensorflow_step

given = dict(np.load(sys.argv[1]))
images, labels = tf.constant(given["standardized"]), tf.constant(given["labels"])
weights = [tf.Variable(given[str(number)]) for number in range(10)]
step, averages = tensorflow_step.training_step(weights, batch_size=128)
losses = [float(step(images, labels)) for _ in range(5)]
logits = {"raw": tensorflow_step.logits(images, weights), "averaged": tensorflow_step.logits(images, averages)}
np.savez(sys.argv[2], losses=losses, **logits)
"""


def run(python: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def figures(row: str) -> list[float]:
    """Every spread in a row of a table."""
    return [float(number.replace(",", "")) for found in re.findall(SPREAD, row) for number in found]


def test_train_step_of_ours(cifar10_dir: Path) -> None:
    done = run(sys.executable, "-m", "benchmarks.train_step", "--only", "ours", "--data-dir", cifar10_dir, *QUICK)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ours")]
    assert [row.split(" | ")[0] for row in rows] == ["| ours, fp32", "| ours, bf16"]
    for row in rows:
        assert len(figures(row)) == 3
        assert all(math.isfinite(figure) and figure > 0 for figure in figures(row))
        assert row.endswith("| not measured |")  # there is no TensorFlow to compare with
    assert "- processor: " in done.stdout
    assert "- date: 20" in done.stdout


def test_scaling_on_one_core(cifar10_dir: Path) -> None:
    core = min(os.sched_getaffinity(0))
    scaling = [sys.executable, "-m", "benchmarks.scaling", "--data-dir", cifar10_dir, *QUICK]
    done = run("taskset", "-c", core, *scaling)
    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("| 1 |"))
    assert row.startswith("| 1 | 1 |" if not torch.cuda.is_available() else "| 1 | any |")
    assert all(math.isfinite(figure) and figure > 0 for figure in figures(row))
    assert row.endswith("| 1.00 (1.00 to 1.00) | 100 % |")


def test_breakdown_accounts_for_the_whole_step(cifar10_dir: Path) -> None:
    cpu = ["--device", "cpu", "--precision", "fp32", "--updates", 3, "--data-dir", cifar10_dir]
    done = run(sys.executable, "-m", "benchmarks.breakdown", *cpu)
    assert done.returncode == 0, done.stderr
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    milliseconds = {name: float(spent) for name, spent, *_ in cells}
    whole = milliseconds.pop("the whole step")
    assert {"conv1", "conv2", "LRN", "pooling", "fully connected", "distortions"} < milliseconds.keys()
    assert sum(milliseconds.values()) == pytest.approx(whole, abs=0.1)


def test_scaling_is_compared_with_one_rank() -> None:
    rates = {Size(1, 1): [1000.0, 900.0], Size(2, 1): [1900.0, 1620.0], Size(1, 2): [1500.0, 1350.0]}
    rows = table(rates).splitlines()[2:]
    assert [figures(row)[3:] for row in rows] == [[1.0, 1.0, 1.0], [1.85, 1.8, 1.9], [1.5, 1.5, 1.5]]
    assert [row.split(" | ")[-1] for row in rows] == ["100 % |", "92 % |", "75 % |"]


def test_summaries(cifar10_dir: Path) -> None:
    quick = ["--rounds", 1, "--hundreds", 2, "--batch-size", 8]
    done = run(sys.executable, "-m", "benchmarks.summaries", "--data-dir", cifar10_dir, *quick)
    assert done.returncode == 0, done.stderr
    row = r"\| (off|scalars|full) \| \d+\.\d\d \| -?[\d.]+% \(-?[\d.]+% to -?[\d.]+%\) \|"
    assert [match[1] for match in re.finditer(row, done.stdout)] == ["off", "scalars", "full"]


def test_what_a_summary_adds_is_measured_against_the_steps_around_it() -> None:
    plain = [Interval(10, seconds) for seconds in (1.0, 1.0, 1.1, 0.9)]
    hundred = [*plain, Interval(10, 1.2), Interval(10, 1.1), *plain]
    slower = [Interval(10, 2 * interval.seconds) for interval in hundred]
    assert shares([*hundred, *slower, *plain]) == pytest.approx([0.03, 0.03])


@pytest.mark.parametrize("python", [sys.executable, "/nonexistent/python"], ids=["without TensorFlow", "no Python"])
def test_missing_tensorflow_is_a_row(cifar10_dir: Path, python: str) -> None:
    only = ["--only", "tensorflow", "--tensorflow-python", python, "--data-dir", cifar10_dir]
    done = run(sys.executable, "-m", "benchmarks.train_step", *only)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"\| TensorFlow \| not measured: {python} .* pip install 'tensorflow.*==[\d.]+'", done.stdout)


@pytest.mark.parametrize("benchmark", ["train_step", "scaling"])
def test_refusals(tmp_path: Path, benchmark: str) -> None:
    for arguments in (["--data-dir", tmp_path], ["--steps", 60]):
        done = run(sys.executable, "-m", f"benchmarks.{benchmark}", *arguments)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_plain_pytorch_trains(cifar10_dir: Path) -> None:
    quick = ["--steps", "21", "--batch-size", "8", "--workers", "1"]
    done = run(sys.executable, "-m", "benchmarks.peers.plain_pytorch", "--data-dir", cifar10_dir, *quick)
    assert done.returncode == 0, done.stderr
    assert [interval.steps for interval in log_lines.intervals(done.stdout, warm_up=0)] == [10, 10]
    assert float(re.findall(r"loss = (\S+)", done.stdout)[-1]) < 5


def test_plain_pytorch_computes_what_ours_computes() -> None:
    start = TutorialArchitecture(conv1=0.5, conv2=0.03, softmax_linear=0.1)
    ours, plain = TutorialNetwork(RECIPE, start, classes=10), plain_pytorch.Network()
    ours.initialize(torch.Generator().manual_seed(0), torch.empty(0, 3, 32, 32))
    layers = [layer for layer in plain if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    with torch.no_grad():
        for layer, source in zip(layers, ours.layers().values(), strict=True):
            weight = source.weight
            if source is ours.local3:  # ours flattens row, column, channel; nn.Flatten channel, row, column
                weight = weight.view(384, 6, 6, 64).permute(0, 3, 1, 2).flatten(1)
            layer.weight.copy_(weight)
            layer.bias.copy_(source.bias)  # type: ignore[union-attr, arg-type]
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(16, 3, 24, 24, generator=generator)
    with torch.no_grad():
        expected, found = ours(images), plain(images)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    decayed = [layer.weight.detach().square().sum() for layer in (ours.local3, ours.local4)]
    torch.testing.assert_close(plain.weight_decay().detach(), RECIPE.groups[0].weight_decay * sum(decayed) / 2)


def test_tensorflow_program_computes_what_the_tutorial_computes(tmp_path: Path) -> None:
    """Five steps from the tutorial's own code, to float32's rounding."""
    python = os.environ.get("TENSORFLOW_PYTHON")
    if not python:
        pytest.skip("needs TensorFlow: set TENSORFLOW_PYTHON to a Python that has it")
    expected = dict(np.load(REFERENCE))
    rng = np.random.RandomState(int(expected["seed"]))
    for low, high, shape in ((0, 256, (16, 8, 8, 3)), (-20, 21, (16, 32, 32, 3)), (0, 10, (16,))):
        rng.randint(low, high, size=shape)  # the pictures and labels, which the reference holds
    drawn = [(rng.standard_normal(shape) * scale).astype(np.float32) for _, shape, scale in WEIGHTS]
    given = {"standardized": expected["standardized"], "labels": expected["labels"]}
    given |= {str(number): weight for number, weight in enumerate(drawn)}
    np.savez(tmp_path / "given.npz", allow_pickle=False, **given)
    done = run(python, "-c", FIVE_STEPS, tmp_path / "given.npz", tmp_path / "found.npz")
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(found["losses"], expected["losses_5_steps"], atol=1e-5)
    np.testing.assert_allclose(found["raw"], expected["logits_after_5_steps"], atol=1e-4)
    np.testing.assert_allclose(found["averaged"], expected["ema_logits_after_5_steps"], atol=1e-4)
