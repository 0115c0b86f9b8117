"""Several ranks, one training: the same weights as one rank, written once, each picture evaluated once."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.processes import Finished, RunCommand
from tests.training.ranks import RANKS_STEPS, in_ranks, run_ranks
from tests.training.runs import (
    LOG_LINE,
    check_same_weights,
    logged_losses,
    scalars,
    snapshot,
)
from training.accuracy import measure
from training.dataset import Dataset, Split
from training.distributed import World, join
from training.errors import OtherRankFailed, UserError
from training.network import Network
from training.networks import make_network
from training.recipe import Recipe
from training.recipe_parts import TutorialArchitecture
from training.stopping import StopRequest

Trained = tuple[Path, Finished]


def test_two_ranks_are_one_with_twice_the_batch(by_torchrun: Trained, alone: Trained) -> None:
    assert json.loads((by_torchrun[0] / "recipe.json").read_bytes())["recipe"]["batch_size"] == 16
    check_same_weights(by_torchrun[0], alone[0], 20)
    assert list(logged_losses(alone[1].output)) == list(range(0, RANKS_STEPS, 10))
    expected = {step: float(loss) for step, loss in logged_losses(alone[1].output).items()}
    found = {step: float(loss) for step, loss in logged_losses(by_torchrun[1].output).items()}
    assert found == pytest.approx(expected, abs=0.011)  # of two decimals, the last may be rounded the other way


def test_a_global_batch_that_ranks_cannot_share_evenly(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    def command(name: str) -> list[object]:
        where = ["train", "--data-dir", cifar10_dir, "--run-dir", tmp_path / name, "--seed", 3]
        return [*where, "--steps", 20, "--global-batch", 15, "--precision", "fp32", "--no-report"]

    one = run(*command("one"))
    first, second = run_ranks(2, command("two"), tmp_path)
    assert (one.status, first.status, second.status) == (0, 0, 0), one.errors + first.errors + second.errors
    check_same_weights(tmp_path / "one", tmp_path / "two", 20)
    assert logged_losses(first.output) == logged_losses(one.output)


def test_one_rank_writes_and_speaks(by_torchrun: Trained) -> None:
    run_dir, finished = by_torchrun
    files = sorted(re.sub(r"tfevents.*|-[0-9a-f]{16}", "…", name) for name in snapshot(run_dir))
    checkpoints = [f"checkpoints/checkpoint-{step:08d}….pt" for step in range(20, RANKS_STEPS + 1, 20)]
    assert files == [
        ".lock",
        ".metrics.lock",
        *checkpoints,
        "eval.json",
        "eval/events.out.…",
        "events.out.…",
        "metrics.jsonl",
        "recipe.json",
    ]
    assert json.loads((run_dir / "recipe.json").read_bytes())["device"].startswith("2 x ")
    assert len(LOG_LINE.findall(finished.output)) == RANKS_STEPS / 10
    assert len(finished.output.splitlines()) == RANKS_STEPS / 10 + 4
    assert finished.output.count(f"step {RANKS_STEPS}: precision @ 1 = ") == 1
    assert [step for step, _ in scalars(run_dir)["total_loss"]] == [0]
    assert [step for step, _ in scalars(run_dir / "eval")["Precision @ 1"]] == [RANKS_STEPS]


def test_what_ranks_have_trained_is_exported_as_any_other(
    run: RunCommand, by_torchrun: Trained, tmp_path: Path, cifar10_dir: Path
) -> None:
    evaluated = json.loads((by_torchrun[0] / "eval.json").read_bytes())
    finished = run("export", "--run-dir", by_torchrun[0], "--data-dir", cifar10_dir, "--models-dir", tmp_path)
    assert finished.status == 0, finished.errors
    assert evaluated["pictures"] == 10_000
    assert f"{evaluated['precision_at_1']:.4f}" in finished.output
    assert (tmp_path / "cifar10" / "1" / "model.onnx").is_file()


SPLITS = (100, 5, 1)  # pictures; of the last two some of seven ranks have none


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_evaluation_is_exact_for_any_number_of_ranks(few_pictures: Dataset, tmp_path: Path, ranks: int) -> None:
    images, labels = few_pictures.test.images, few_pictures.test.labels
    torch.save({"images": images, "labels": labels}, tmp_path / "pictures.pt")
    assert in_ranks(ranks, _count_correct, tmp_path) == [0] * ranks
    network = _awake_network()
    expected = []
    for pictures in SPLITS:
        accuracy = measure(network, Split(images[:pictures], labels[:pictures]), 10, torch.device("cpu"))
        expected.append([list(accuracy.correct), list(accuracy.pictures)])
    assert sum(found > 0 for found in expected[0][0]) > 1, "a network that says one thing proves nothing"
    for rank in range(ranks):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == expected


def _awake_network() -> Network:
    """Random weights so large that pictures get different answers."""
    recipe = replace(Recipe(), network=TutorialArchitecture(conv1=0.1, conv2=0.03))
    network = make_network(recipe, 10)
    return network.initialize(torch.Generator().manual_seed(1), torch.empty(0, 3, 32, 32))


FAILURES: dict[str, Callable[[World, Callable[[], None]], None]] = {
    "of rank 0": lambda world, fail: world.on_main(fail),
    "of all ranks": lambda world, fail: world.on_each(fail),
    "in the loop": lambda _, fail: _fail_in_the_loop(fail),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_who_says_what_is_wrong_outlasts_ranks_that_end_of_it(failure: str) -> None:
    """Launchers send SIGTERM to the others as soon as they see that one has ended."""
    assert in_ranks(2, _fail, failure) == [1, 1]


def _fail(_rank: int, failure: str) -> None:
    def fail() -> None:
        raise UserError("The disk is full.")

    try:
        with join() as world:
            FAILURES[failure](world, fail)
    except UserError:
        os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(1)
    except OtherRankFailed:
        sys.exit(1)


def _fail_in_the_loop(fail: Callable[[], None]) -> None:
    with StopRequest(repeated=True):
        fail()


def _count_correct(rank: int, folder: Path) -> None:
    saved = torch.load(folder / "pictures.pt")
    network, counts = _awake_network(), []
    with join() as world:
        assert (world.rank, world.local_rank) == (rank, rank)
        for pictures in SPLITS:
            split = Split(saved["images"][:pictures], saved["labels"][:pictures])
            accuracy = measure(network, split, 10, torch.device("cpu"), world)
            counts.append([accuracy.correct, accuracy.pictures])
    (folder / f"{rank}.json").write_text(json.dumps(counts))
