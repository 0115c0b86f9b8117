"""The training on a GPU: one CUDA graph that computes what the CPU computes. Skipped, with the reason, without one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.processes import RunCommand
from tests.training.runs import assert_same, final_state, logged_losses, train_command
from training.cuda_graph import UPDATES_BEFORE_CAPTURE, CapturedUpdate
from training.dataset import Dataset
from training.device import prepare
from training.distributed import World
from training.loader import Loader, Plan
from training.networks import make_network
from training.normalization import standardize
from training.recipe import Recipe
from training.recipe_parts import TutorialArchitecture
from training.step import TrainingStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and PyTorch sees none")

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
RECIPE = replace(Recipe(), batch_size=16, network=TutorialArchitecture(conv1=0.1, conv2=0.03))


@pytest.fixture(autouse=True)
def prepared() -> None:
    prepare(CUDA)


def make_step(dataset: Dataset, device: torch.device, precision: str = "fp32", compiled: bool = False) -> TrainingStep:
    network = make_network(RECIPE, 10)
    network.initialize(torch.Generator().manual_seed(0), dataset.train.images)
    loader = Loader(dataset.train, RECIPE, network.normalization, 3, device, World())
    return TrainingStep(network, RECIPE, loader, device, precision, fused=compiled)


@pytest.mark.parametrize("compiled", [False, True], ids=["as written", "compiled"])
def test_what_the_cpu_computes(few_pictures: Dataset, capsys: pytest.CaptureFixture[str], compiled: bool) -> None:
    on_cpu, on_gpu = make_step(few_pictures, CPU), make_step(few_pictures, CUDA, compiled=compiled)
    for _ in range(UPDATES_BEFORE_CAPTURE + 9):
        torch.testing.assert_close(on_gpu().losses.cpu(), on_cpu().losses, rtol=1e-3, atol=1e-4)
    assert "captured as a CUDA graph" in capsys.readouterr().out
    for one, other in zip(on_gpu.averages.network.parameters(), on_cpu.averages.network.parameters(), strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_replayed_updates_are_those_as_written_to_the_bit(few_pictures: Dataset, precision: str) -> None:
    replayed, written = (make_step(few_pictures, CUDA, precision) for _ in range(2))
    for step in range(UPDATES_BEFORE_CAPTURE + 30):
        written.optimizer.set_learning_rates(len(few_pictures.train), step)
        written.averages.set_decay(step + 1)
        expected = written._update_once(written._loader.plan(step))
        written.updates_done += 1
        assert torch.equal(replayed().losses, expected.losses)
    assert_same(replayed.state_dict(), written.state_dict())


@pytest.mark.parametrize("compiled", [False, True], ids=["as written", "compiled"])
def test_observed_updates_are_captured_and_measured(
    few_pictures: Dataset, capsys: pytest.CaptureFixture[str], compiled: bool
) -> None:
    on_cpu, on_gpu = make_step(few_pictures, CPU), make_step(few_pictures, CUDA, compiled=compiled)
    for number in range(UPDATES_BEFORE_CAPTURE + 20):
        expected, found = (step(observed=number % 5 == 0) for step in (on_cpu, on_gpu))
        torch.testing.assert_close(found.losses.cpu(), expected.losses, rtol=1e-3, atol=1e-4)
        if expected.observation and found.observation:
            assert found.observation.names == expected.observation.names
            torch.testing.assert_close(
                found.observation.moments.cpu(), expected.observation.moments, rtol=1e-2, atol=1e-3
            )
            assert found.observation.counts.sum(dim=1).tolist() == list(found.observation.sizes)
            shades = (found.observation.pictures.cpu().int() - expected.observation.pictures.int()).abs()
            assert int(shades.max()) <= 1
        else:
            assert expected.observation is found.observation is None
    said = capsys.readouterr().out
    assert "The step is captured as a CUDA graph" in said
    assert "The step with summaries is captured as a CUDA graph" in said


def test_the_host_never_waits_between_two_log_lines(few_pictures: Dataset) -> None:
    step = make_step(few_pictures, CUDA, "bf16")
    for _ in range(UPDATES_BEFORE_CAPTURE + 1):
        step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(9):
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_what_cannot_be_captured_runs_as_written(few_pictures: Dataset) -> None:
    loader = Loader(few_pictures.train, RECIPE, standardize, 3, CUDA)
    said: list[str] = []

    def update(plan: Plan) -> torch.Tensor:
        return torch.tensor([plan.draws.contrast.sum().item()], device=CUDA)  # .item() waits for the device

    captured = CapturedUpdate(update, said.append)
    for step in range(UPDATES_BEFORE_CAPTURE + 3):
        assert captured(loader.plan(step)).item() == pytest.approx(loader.plan(step).draws.contrast.sum().item())
    (sentence,) = said
    assert "without a CUDA graph" in sentence


@pytest.mark.parametrize("flag", ["--compile", "--no-compile"])
def test_the_command_and_its_exact_resumption(run: RunCommand, tmp_path: Path, cifar10_dir: Path, flag: str) -> None:
    def train(name: str, steps: int) -> dict[int, str]:
        command = train_command(tmp_path / name, cifar10_dir, steps, "--device", "cuda", "--resume", flag)
        finished = run(*command, interpreter=True)  # a forked process cannot use CUDA
        assert finished.status == 0, finished.errors
        return logged_losses(finished.output)

    straight = train("straight", 60)
    assert train("resumed", 25) | train("resumed", 60) == straight
    assert_same(final_state(tmp_path / "resumed"), final_state(tmp_path / "straight"))


def test_out_of_memory_is_one_sentence(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    where = ["--data-dir", cifar10_dir, "--run-dir", tmp_path / "run", "--device", "cuda"]
    sentence = run("train", *where, "--batch-size", 5_000_000, "--no-compile", interpreter=True).refusal()
    assert "GPU has not enough free memory for 5000000 pictures an update" in sentence


def test_all_gpus_of_the_machine(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    gpus = torch.cuda.device_count()
    command = train_command(tmp_path / "run", cifar10_dir, 40, "--gpus", gpus, "--device", "cuda")
    finished = run(*command, interpreter=True)
    assert finished.status == 0, finished.errors
    assert list(logged_losses(finished.output)) == [0, 10, 20, 30]
