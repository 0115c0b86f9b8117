"""What a person types, and mistypes: help, refused arguments, and things that are not there, each in a sentence."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.processes import REPOSITORY, SECONDS, RunCommand
from tests.training.runs import snapshot, train_command


def type_in(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", *arguments]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("", ["fetch", "train", "eval", "export", "exit status"]),
        ("fetch", ["(default: cifar10)", "(default: $CIFAR10_DIR, else data)"]),
        (
            "train",
            [
                *("(default: tutorial)", "tutorial: 60000)", "tutorial: 128)", "tutorial: 0.1)", "(default: cifar10)"),
                *("(default: $CIFAR10_DIR, else data)", "(default: runs/tutorial)", "(default: auto)", "(default: 0)"),
                *("--resume", "--overwrite", "{auto,cpu,cuda}", "{auto,fp32,bf16}", "(default: 5000)"),
            ],
        ),
        ("eval", ["(default: runs/tutorial)", "(default: auto)", "--watch", "(default: 5.0)"]),
        ("export", ["(default: runs/tutorial)", "(default: models)", "(default: the data set's)"]),
    ],
)
def test_help_is_readable_and_names_the_defaults(command: str, expected: list[str]) -> None:
    shown = type_in(*command.split(), "--help")
    assert shown.returncode == 0
    assert shown.stderr == ""
    text = " ".join(shown.stdout.split())
    assert [part for part in expected if part not in text] == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "required: COMMAND"),
        ("tarin", "invalid choice: 'tarin'"),
        ("train --steps 0", "--steps: '0' is not a whole number from 1 up"),
        ("train --batch-size many", "--batch-size: 'many' is not a whole number from 1 up"),
        ("train --learning-rate -0.1", "--learning-rate: '-0.1' is not a number greater than 0"),
        ("train --learning-rate nan", "--learning-rate: 'nan' is not a number greater than 0"),
        ("train --seed -1", "--seed: '-1' is not a whole number from 0 to 18446744073709551615"),
        ("train --seed 18446744073709551616", "--seed: '18446744073709551616' is not a whole number from 0 to"),
        ("train --over", "unrecognized arguments: --over"),
        ("train --device tpu", "invalid choice: 'tpu'"),
        ("train --precision fp16", "invalid choice: 'fp16'"),
        ("train --data mnist", "invalid choice: 'mnist'"),
        ("train --recipe alexnet", "invalid choice: 'alexnet'"),
        ("train --resume --overwrite", "not allowed with argument"),
        ("eval --interval 0", "--interval: '0' is not a number greater than 0"),
    ],
)
def test_refused_arguments(arguments: str, complaint: str) -> None:
    refused = type_in(*arguments.split())
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert complaint in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", ["eval", "export"])
def test_a_directory_that_holds_no_run(run: RunCommand, tmp_path: Path, command: str) -> None:
    sentence = run(command, "--run-dir", tmp_path / "none").refusal()
    assert f"{tmp_path / 'none'} is not a training run" in sentence
    assert f"python -m training train --run-dir {tmp_path / 'none'}" in sentence
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"recipe.json": "{"}, "recipe.json is damaged"),
        ({"recipe.json": '{"dataset": "cifar10"}'}, "has no checkpoint yet"),
        (
            {"recipe.json": '{"dataset": "cifar10"}', "checkpoints/checkpoint-00000009-0123456789abcdef.pt": "half"},
            "No checkpoint in .* is sound",
        ),
    ],
    ids=["damaged", "no checkpoint", "damaged checkpoint"],
)
@pytest.mark.parametrize("command", ["eval", "export"])
def test_a_run_with_nothing_to_use(
    run: RunCommand, tmp_path: Path, cifar10_dir: Path, command: str, files: dict[str, str], sentence: str
) -> None:
    run_dir = tmp_path / "run"
    for name, content in files.items():
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_text(content)
    before = snapshot(tmp_path)
    more = ("--models-dir", tmp_path / "models") if command == "export" else ()
    refused = run(command, "--run-dir", run_dir, "--data-dir", cifar10_dir, *more)
    assert re.search(sentence, refused.refusal())
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("command", ["train", "fetch"])
def test_damaged_data(run: RunCommand, tmp_path: Path, command: str) -> None:
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "data_batch_1.bin").write_bytes(b"half")
    arguments = train_command(tmp_path / "run", tmp_path / "data", 5)
    refused = run(*arguments) if command == "train" else run("fetch", "--data-dir", tmp_path / "data")
    assert "data_batch_1.bin has 4 bytes where" in refused.refusal()
    assert not snapshot(tmp_path / "run").keys() - {".lock"}


def test_a_gpu_that_is_not_there(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused = run(*train_command(tmp_path / "run", cifar10_dir, 5, "--device", "cuda"))
    assert "--device cuda needs an NVIDIA GPU" in refused.refusal()


def test_whoever_reads_the_output_may_leave() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "training", "fetch", "--data", "synthetic"]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=write, stderr=subprocess.PIPE, text=True, timeout=SECONDS)
    os.close(write)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == ""
