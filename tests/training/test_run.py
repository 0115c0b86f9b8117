"""A run as its user sees it: log lines, files, TensorBoard, and directories that are refused."""

import json
import re
import shlex
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from tests.training.processes import Finished, RunCommand, StartCommand
from tests.training.runs import LOG_LINE, TRAINED_STEPS, final_state, logged_losses, snapshot, train_command
from training.checkpoint import CheckpointDirectory
from training.recipe import Recipe, from_dict

Trained = tuple[Path, Finished]


def test_a_log_line_every_ten_steps_as_the_tutorial_prints_it(trained: Trained) -> None:
    lines = trained[1].output.splitlines()
    logged = [match for match in map(LOG_LINE.fullmatch, lines) if match]
    assert [int(match[1]) for match in logged] == list(range(0, TRAINED_STEPS, 10))
    assert len([line for line in lines if "loss" in line]) == len(logged)
    assert 4.6 < float(logged[0][2]) < 4.75  # log(10), and the weight decay of fresh weights
    for match in logged[1:]:
        rate, seconds = float(match[3]), float(match[4])  # rounded to 0.1 and 0.001
        assert 8 / (rate + 0.051) - 0.00051 < seconds < 8 / (rate - 0.051) + 0.00051


def test_the_lines_around_them(trained: Trained) -> None:
    run_dir, finished = trained
    assert finished.errors == ""
    lines = [line for line in finished.output.splitlines() if not LOG_LINE.fullmatch(line)]
    assert re.search(rf"recipe tutorial on cifar10 for {TRAINED_STEPS} steps, from step 0, in fp32 on ", lines[0])
    assert re.fullmatch(rf"step {TRAINED_STEPS}: precision @ 1 = 0\.\d{{4}} \(\d+ of 10000 test pictures\)", lines[-2])
    assert lines[-1].startswith(f"Trained {TRAINED_STEPS} steps; the last checkpoint is {run_dir}/checkpoints/")


def test_what_is_in_the_directory(trained: Trained) -> None:
    names = sorted(re.sub(r"[0-9a-f]{16}|tfevents.*", "…", name) for name in snapshot(trained[0]))
    checkpoint = f"checkpoints/checkpoint-{TRAINED_STEPS:08d}-….pt"
    assert names == [
        ".lock",
        ".metrics.lock",
        checkpoint,
        "eval.json",
        "eval/events.out.…",
        "events.out.…",
        "metrics.jsonl",
        "recipe.json",
    ]


def test_recipe_json(trained: Trained, cifar10_dir: Path) -> None:
    run_dir, _ = trained
    content = json.loads((run_dir / "recipe.json").read_bytes())
    assert from_dict(content["recipe"]) == Recipe(steps=TRAINED_STEPS, batch_size=8)
    assert (content["seed"], content["dataset"], content["precision"]) == (3, "cifar10", "fp32")
    assert content["training_pictures"] == 50_000
    assert content["class_names"][3] == "cat"
    assert content["libraries"]["torch"] == version("torch")
    command = shlex.join(map(str, train_command(run_dir, cifar10_dir, TRAINED_STEPS)))
    assert content["command"] == f"python -m training {command}"


def test_checkpoint_holds_what_resuming_needs(trained: Trained) -> None:
    state = final_state(trained[0])
    assert {"step", "network", "averages", "optimizer", "loss_averages", "random", "recipe"} <= state.keys()
    assert state["step"] == TRAINED_STEPS
    assert from_dict(state["recipe"]) == Recipe(steps=TRAINED_STEPS, batch_size=8)
    assert state["network"].keys() == state["averages"].keys()
    assert not torch.equal(state["network"]["local3.weight"], state["averages"]["local3.weight"])


def test_an_earlier_run_is_refused_untouched(run: RunCommand, trained: Trained, cifar10_dir: Path) -> None:
    run_dir, _ = trained
    before = snapshot(run_dir)
    sentence = run(*train_command(run_dir, cifar10_dir, 5), interpreter=True).refusal()
    assert f"{run_dir} exists already" in sentence
    assert "--resume" in sentence
    assert "--overwrite" in sentence
    assert snapshot(run_dir) == before


@pytest.mark.parametrize("flag", ["", "--resume", "--overwrite"])
def test_other_files_are_refused_untouched(run: RunCommand, tmp_path: Path, cifar10_dir: Path, flag: str) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("mine")
    sentence = run(*train_command(tmp_path, cifar10_dir, 5, *flag.split())).refusal()
    assert f"{tmp_path} holds files that are not a training run" in sentence
    assert snapshot(tmp_path) == {"thesis/chapter1.tex": b"mine"}


@pytest.mark.parametrize(
    ("where", "sentence"),
    [("file", "is a file"), ("file/run", r"cannot be written to \(Not a directory\)"), ("/proc/run", "cannot be")],
)
def test_a_place_that_cannot_be_written(
    run: RunCommand, tmp_path: Path, cifar10_dir: Path, where: str, sentence: str
) -> None:
    (tmp_path / "file").write_text("mine")
    refused = run(*train_command(tmp_path / where, cifar10_dir, 5))
    assert re.search(f"{tmp_path / where} {sentence}.*choose another --run-dir", refused.refusal())
    assert snapshot(tmp_path) == {"file": b"mine"}


def test_overwrite_starts_again(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    run_dir = tmp_path / "run"
    old = run_dir / "checkpoints" / "checkpoint-00000900-0123456789abcdef.pt"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    (run_dir / "recipe.json").write_text("{}")
    (run_dir / "events.out.tfevents.1.old").write_bytes(b"old")
    finished = run(*train_command(run_dir, cifar10_dir, 1, "--overwrite"))
    assert finished.status == 0
    assert "from step 0," in finished.output
    assert [checkpoint.step for checkpoint in CheckpointDirectory(old.parent).all()] == [1]
    assert len(list(run_dir.glob("events*"))) == 1


def test_overwrite_deletes_nothing_when_it_cannot_train(run: RunCommand, trained: Trained, tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(trained[0], tmp_path / "run"))
    (tmp_path / "cifar-10-batches-bin").mkdir()
    before = snapshot(run_dir)
    assert "data_batch_1.bin is missing" in run(*train_command(run_dir, tmp_path, 5, "--overwrite")).refusal()
    assert snapshot(run_dir) == before


@pytest.mark.parametrize("flags", [["--resume"], ["--overwrite"]])
def test_two_processes_never_train_in_one_directory(
    start: StartCommand, run: RunCommand, tmp_path: Path, cifar10_dir: Path, flags: list[str]
) -> None:
    first = start(*train_command(tmp_path / "run", cifar10_dir, 1_000_000))
    first.wait_for_output("step 0, loss")
    sentence = run(*train_command(tmp_path / "run", cifar10_dir, 5, *flags)).refusal()
    assert f"Another process is training in {tmp_path / 'run'}" in sentence
    step = max(logged_losses(first.output))
    first.wait_for_output(f"step {step + 20}, loss")
    first.kill()


def test_a_full_disk_is_told_in_a_sentence(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    finished = run(*train_command(tmp_path / "run", cifar10_dir, 5), file_bytes=1_000_000)
    sentence = finished.refusal()
    assert re.search(r"checkpoint-00000005-\w+\.pt could not be written \(File too large\)", sentence)
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_compiling_is_not_needed(
    start: StartCommand, tmp_path: Path, cifar10_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", "/nonexistent/g++")
    finished = start(*train_command(tmp_path / "run", cifar10_dir, 11, "--compile"), interpreter=True).finish()
    assert finished.status == 0, finished.errors
    assert "The network runs as written, and slower: torch.compile failed" in finished.output
    assert list(logged_losses(finished.output)) == [0, 10]
