"""What TensorBoard shows of a run, read by TensorBoard's own reader, tag by tag against the tutorial's list."""

import io
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional as F

from tests.training import plain_network
from tests.training.processes import Finished, RunCommand
from tests.training.runs import LOG_LINE, TRAINED_STEPS, assert_same, scalars, small_recipe, start_run, train_command
from training.dataset import Dataset
from training.evaluation import evaluate_newest
from training.interval import Interval
from training.loader import Batch, Loader
from training.networks import make_network
from training.recipe import Recipe
from training.recipe_parts import TutorialArchitecture
from training.step import TrainingStep
from training.summaries import TrainingSummaries

Trained = tuple[Path, Finished]

LAYERS = ("conv1", "conv2", "local3", "local4", "softmax_linear")
VARIABLES = tuple(f"{layer}/{kind}" for layer in LAYERS for kind in ("weights", "biases"))
LOSSES = ("total_loss", "cross_entropy", "local3/weight_loss", "local4/weight_loss")
PICTURE_TAGS = tuple(f"images/image/{number}" for number in range(3))
HISTOGRAM_TAGS = {
    *(f"{layer}/activations" for layer in LAYERS),
    *VARIABLES,
    *(f"{variable}/gradients" for variable in VARIABLES),
}
LOSS_TAGS = {*LOSSES, *(f"{name} (raw)" for name in LOSSES)}
RATE_TAGS = {"learning_rate", "examples_per_sec", "global_step/sec"}
SPARSITY_TAGS = {f"{layer}/sparsity" for layer in LAYERS}
STEPS = [0, 100, 200]


def events(directory: Path) -> EventAccumulator:
    return EventAccumulator(str(directory), size_guidance={"images": 0, "histograms": 0}).Reload()


def test_every_tag_of_the_tutorial_every_hundred_steps(trained: Trained) -> None:
    shown = events(trained[0])
    assert set(shown.Tags()["images"]) == set(PICTURE_TAGS)
    assert set(shown.Tags()["histograms"]) == HISTOGRAM_TAGS
    assert set(shown.Tags()["scalars"]) == LOSS_TAGS | RATE_TAGS | SPARSITY_TAGS
    for kind, read in (("images", shown.Images), ("histograms", shown.Histograms), ("scalars", shown.Scalars)):
        for tag in shown.Tags()[kind]:
            assert [event.step for event in read(tag)] == STEPS, tag


def test_scalars_are_what_was_logged(trained: Trained) -> None:
    run_dir, finished = trained
    logged = {int(match[1]): match for match in LOG_LINE.finditer(finished.output)}
    values = {tag: dict(series) for tag, series in scalars(run_dir).items()}
    for step in STEPS:
        assert f"{values['total_loss (raw)'][step]:.2f}" == logged[step][2]
        assert values["examples_per_sec"][step] == pytest.approx(float(logged[step][3]), abs=0.06)
        assert values["global_step/sec"][step] == pytest.approx(values["examples_per_sec"][step] / 8, rel=1e-5)
        assert values["learning_rate"][step] == pytest.approx(0.1)
        for kind in ("", " (raw)"):
            parts = sum(values[name + kind][step] for name in LOSSES[1:])
            assert values["total_loss" + kind][step] == pytest.approx(parts, rel=1e-5)
    assert values["total_loss"][0] == values["total_loss (raw)"][0]
    assert values["total_loss"][200] != values["total_loss (raw)"][200]


def test_the_accuracy_is_a_run_of_its_own(trained: Trained) -> None:
    run_dir, _ = trained
    accuracy = json.loads((run_dir / "eval.json").read_bytes())["precision_at_1"]
    ((step, shown),) = scalars(run_dir / "eval")["Precision @ 1"]
    assert step == TRAINED_STEPS
    assert shown == pytest.approx(accuracy)


@pytest.mark.parametrize(("summaries", "scalar_tags"), [("off", set()), ("scalars", LOSS_TAGS | RATE_TAGS)])
def test_less_of_it(few_pictures: Dataset, tmp_path: Path, summaries: str, scalar_tags: set[str]) -> None:
    run = start_run(tmp_path, few_pictures, small_recipe(1), summaries=summaries)
    run.run_dir.write_description({"summaries": summaries})
    run.train()
    evaluate_newest(run.run_dir, few_pictures, torch.device("cpu"))
    shown = events(tmp_path).Tags()
    assert set(shown["scalars"]) == scalar_tags
    assert shown["histograms"] == shown["images"] == []
    assert bool(list(tmp_path.rglob("events*"))) == bool(scalar_tags)


def test_a_resumed_run_shows_as_much_as_it_did(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    for steps, flags in ((1, ["--summaries", "off"]), (2, ["--resume"])):
        assert run(*train_command(tmp_path / "run", cifar10_dir, steps, *flags)).status == 0
    assert not list((tmp_path / "run").rglob("events*"))


RECIPE = replace(Recipe(), batch_size=16, network=TutorialArchitecture(conv1=0.1, conv2=0.03))


def make_step(dataset: Dataset, precision: str = "fp32", fused: bool = False) -> TrainingStep:
    network = make_network(RECIPE, 10)
    network.initialize(torch.Generator().manual_seed(0), dataset.train.images)
    loader = Loader(dataset.train, RECIPE, network.normalization, 3, torch.device("cpu"))
    return TrainingStep(network, RECIPE, loader, torch.device("cpu"), precision, fused=fused)


def watched_by_hand(weights: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The tutorial's histograms of one update, in double precision, by plain operators and autograd."""
    weights = {name: weight.double().requires_grad_() for name, weight in weights.items()}
    activations = plain_network.activations(weights, batch.images.double())
    decayed = sum(weights[f"{layer}.weight"].square().sum() for layer in ("local3", "local4"))
    loss = F.cross_entropy(activations["softmax_linear"], batch.labels) + RECIPE.groups[0].weight_decay / 2 * decayed
    gradients = torch.autograd.grad(loss, list(weights.values()))
    variables = [name.replace(".weight", "/weights").replace(".bias", "/biases") for name in weights]
    return (
        {f"{layer}/activations": values for layer, values in activations.items()}
        | dict(zip(variables, weights.values(), strict=True))
        | {f"{name}/gradients": gradient for name, gradient in zip(variables, gradients, strict=True)}
    )


@pytest.fixture(scope="module", params=["as written", "compiled"])
def observed(
    request: pytest.FixtureRequest, few_pictures: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EventAccumulator, dict[str, Tensor], Batch]:
    """What TensorBoard shows of the third update, what it should show, and the update's pictures."""
    step = make_step(few_pictures, fused=request.param == "compiled")
    step(), step()
    batch = step._loader.batch(step._loader.plan(2))
    weights = {name: weight.detach().clone() for name, weight in step.network.named_parameters()}
    update = step(observed=True)
    directory = tmp_path_factory.mktemp("observed")
    with closing(TrainingSummaries(directory, 0)) as summaries:
        summaries.write(Interval(2, {}, {}, 0.1, 1.0, 1.0), update.observation)
    return events(directory), watched_by_hand(weights, batch), batch


def test_histograms_are_those_of_the_update(observed: tuple[EventAccumulator, dict[str, Tensor], Batch]) -> None:
    shown, expected, _ = observed
    assert expected.keys() == HISTOGRAM_TAGS
    for tag, tensor in expected.items():
        values = tensor.detach().flatten().numpy()
        (event,) = shown.Histograms(tag)
        found = event.histogram_value
        scale = float(np.abs(values).max())
        assert (found.num, sum(found.bucket)) == (values.size, values.size), tag
        assert (found.min, found.max) == pytest.approx((values.min(), values.max()), rel=1e-4, abs=1e-4 * scale), tag
        assert found.sum == pytest.approx(values.sum(), rel=1e-4, abs=1e-5 * scale * values.size), tag
        assert found.sum_squares == pytest.approx(np.square(values).sum(), rel=1e-3), tag
        # What rounding moves over a bucket's edge may be counted on the other side of it.
        below = np.searchsorted(np.sort(values), found.bucket_limit[:-1])
        assert np.cumsum(found.bucket)[:-1] == pytest.approx(below, abs=2 + 0.002 * values.size), tag


def test_sparsity_is_the_share_of_zeros(observed: tuple[EventAccumulator, dict[str, Tensor], Batch]) -> None:
    shown, expected, _ = observed
    shares = {}
    for layer in LAYERS:
        (event,) = shown.Scalars(f"{layer}/sparsity")
        shares[layer] = event.value
        assert shares[layer] == pytest.approx((expected[f"{layer}/activations"] == 0).double().mean().item(), abs=1e-3)
    assert 0.1 < shares["conv1"] < 0.9
    assert shares["softmax_linear"] == 0


def test_pictures_are_what_the_network_saw(observed: tuple[EventAccumulator, dict[str, Tensor], Batch]) -> None:
    shown, _, batch = observed
    for tag, seen in zip(PICTURE_TAGS, batch.images, strict=False):
        (event,) = shown.Images(tag)
        picture = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        assert picture.shape == (24, 24, 3)
        assert (picture.min(), picture.max()) == (0, 255)
        expected = seen.permute(1, 2, 0).double().numpy()
        # Standardization is affine, so what is seen must be too: no other stretching, no other order of colours.
        assert np.corrcoef(picture.ravel(), expected.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_observing_changes_nothing(few_pictures: Dataset, precision: str) -> None:
    left_alone, observed = (make_step(few_pictures, precision) for _ in range(2))
    for number in range(4):
        alone = left_alone()
        watched = observed(observed=number % 2 == 0)
        assert torch.equal(alone.losses, watched.losses)
        assert alone.observation is None
    assert_same(observed.state_dict(), left_alone.state_dict())


def test_what_has_no_range_or_no_end(few_pictures: Dataset, tmp_path: Path) -> None:
    """Fresh biases are all the same number; of what is no number any more there is no histogram."""
    step = make_step(few_pictures)
    constant = step(observed=True).observation
    with torch.no_grad():
        dict(step.network.named_parameters())["local3.bias"][0] = float("inf")
    infinite = step(observed=True).observation
    with closing(TrainingSummaries(tmp_path, 0)) as summaries:
        for number, observation in enumerate((constant, infinite)):
            summaries.write(Interval(number, {}, {}, 0.1, 1.0, 1.0), observation)
    shown = events(tmp_path)
    first = shown.Histograms("local3/biases")[0].histogram_value
    assert (first.min, first.max, list(first.bucket)) == (pytest.approx(0.1), pytest.approx(0.1), [384])
    assert [event.step for event in shown.Histograms("local3/biases")] == [0]
    assert [event.step for event in shown.Histograms("conv1/activations")] == [0, 1]


def test_rank_0_shows_its_pictures_and_everyones_gradients(by_torchrun: tuple[Path, Finished]) -> None:
    shown = events(by_torchrun[0])
    assert set(shown.Tags()["histograms"]) == HISTOGRAM_TAGS
    assert len(shown.Images("images/image/0")) == len(shown.Histograms("conv1/activations")) > 0
