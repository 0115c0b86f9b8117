"""The command that trains the same weights again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.training.processes import RunCommand
from tests.training.runs import checkpoint_names
from training.recipe import Recipe
from training.report import reproduction


def described(**changes: Any) -> dict[str, Any]:
    """What recipe.json tells of a run."""
    description = {
        "recipe": Recipe().as_dict(),
        "seed": 7,
        "dataset": "cifar10",
        "precision": "bf16",
        "device": "NVIDIA H100 80GB HBM3",
        "device_type": "cuda",
        "world_size": 1,
        "local_world_size": 1,
        "compile": True,
        "data_dir": None,
        "source_revision": "6542de1087fee6546e1253804c10900a54683dc8",
    }
    return description | changes


EVERY_NUMBER = "--data cifar10 --recipe tutorial --steps 60000 --global-batch 128 --learning-rate 0.1 --seed 7"


def test_the_same_weights_to_the_bit(run: RunCommand, tmp_path: Path) -> None:
    odd = ["--steps", 3, "--batch-size", 7, "--learning-rate", 0.1 + 0.2, "--seed", 2**63 + 1]
    first = run("train", "--data", "synthetic", *odd, "--precision", "fp32", "--run-dir", tmp_path / "first")
    assert first.status == 0, first.errors
    description = json.loads((tmp_path / "first" / "recipe.json").read_bytes())

    program, arguments = split(reproduction.command(description))
    assert program == "python -m training"
    assert arguments[-2:] == ["--run-dir", "runs/again"]
    again = run(*arguments[:-1], tmp_path / "again")
    assert again.status == 0, again.errors
    assert checkpoint_names(tmp_path / "again") == checkpoint_names(tmp_path / "first") != []


def split(command: str) -> tuple[str, list[str]]:
    """The program, and its arguments from "train" on."""
    words = shlex.split(command)
    assert "\n" not in command
    return " ".join(words[: words.index("train")]), words[words.index("train") :]


@pytest.mark.parametrize(
    ("changes", "program", "ends"),
    [
        ({}, "python -m training", "--precision bf16 --device cuda --compile --run-dir runs/again"),
        (
            {"compile": False, "device_type": "cpu"},
            "python -m training",
            "--device cpu --no-compile --run-dir runs/again",
        ),
        ({"world_size": 8, "local_world_size": 8}, "python -m training", "--gpus 8 --compile --run-dir runs/again"),
        (
            {"world_size": 16, "local_world_size": 8},
            "torchrun --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=HOST:29400 -m training",
            "--device cuda --compile --run-dir runs/again",
        ),
        (
            {"data_dir": "/data/my pictures"},
            "python -m training",
            "--data-dir '/data/my pictures' --run-dir runs/again",
        ),
    ],
)
def test_each_kind_of_run(changes: dict[str, Any], program: str, ends: str) -> None:
    command = reproduction.command(described(**changes))
    assert command.startswith(f"{program} train {EVERY_NUMBER} --precision")
    assert command.endswith(ends)
    assert reproduction.reservations(described(**changes)) == []


def test_a_folder_of_pictures() -> None:
    description = described(dataset="folder:/data/my pictures", test_share=0.25)
    data = "--data 'folder:/data/my pictures' --test-share 0.25 --image-size 32 --recipe tutorial"
    assert f"train {data} --steps 60000" in reproduction.command(description)
    assert reproduction.reservations(description) == []


def test_what_goes_before_it() -> None:
    install = "pip install -c constraints.txt -e '.[train]'"
    commit = "6542de1087fee6546e1253804c10900a54683dc8"
    assert reproduction.preparation(described()) == [f"git checkout {commit}", install]
    ranks_on_cpu = described(cpu_threads=3, source_revision=f"{commit}-dirty")
    assert reproduction.preparation(ranks_on_cpu) == [f"git checkout {commit}", install, "export OMP_NUM_THREADS=3"]
    assert reproduction.preparation(described(source_revision="unknown")) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source_revision": "0123abc-dirty"}, "changes that were not committed"),
        ({"source_revision": "unknown"}, "Which commit of the code trained it is not known."),
        ({"recipe": Recipe(ema_decay=0.1).as_dict()}, "The recipe is not, or no longer, one that --recipe can name"),
        ({"recipe": {"name": "older", "steps": 5}}, "The recipe is not, or no longer, one that --recipe can name"),
        ({"dataset": "mine"}, "not one that --data can name"),
        ({"world_size": 3, "local_world_size": 2}, "different numbers of processes"),
    ],
)
def test_what_the_command_cannot_promise(changes: dict[str, Any], sentence: str) -> None:
    (told,) = reproduction.reservations(described(**changes))
    assert sentence in told


def test_an_older_run_leaves_out_what_it_does_not_tell() -> None:
    told = ("world_size", "local_world_size", "compile", "data_dir", "device_type")
    older = {key: value for key, value in described().items() if key not in told}
    command = reproduction.command(older)
    assert command == f"python -m training train {EVERY_NUMBER} --precision bf16 --run-dir runs/again"
    assert "older than the record of its number of processes" in reproduction.reservations(older)[0]
