"""`train`: what is asked for, in an empty directory or on top of what is there, on one device or by several ranks."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from typing import Any

import torch

from training import choices, distributed, named_datasets, recipe_choice, torchrun
from training.dataset import Dataset
from training.device import check_gpus, choose_device, choose_precision, device_name, prepare, telling_of_memory
from training.distributed import World
from training.errors import OtherRankFailed, UserError
from training.loop import Run, Settings
from training.provenance import libraries, now, source_revision
from training.recipe import Recipe, from_dict
from training.report_commands import write
from training.run_directory import RunDirectory
from training.say import Say, announce

_TOLD_OF_EACH_PROCESS = ("command", "device", "world_size", "precision", "source_revision")  # in metrics.jsonl


def train(args: argparse.Namespace) -> None:
    if args.gpus and not torchrun.is_launched():
        _launch(args.gpus, args.device)
    else:
        with distributed.join() as world:
            _train(args, world)


def _launch(gpus: int, device: str) -> None:
    # The launcher takes a second to import, which a training on one device need not wait for.
    from training.launcher import launch

    if device != "cpu":
        check_gpus(gpus)
    status = launch(gpus, sys.argv[1:])
    if status:
        raise OtherRankFailed(status)


def _train(args: argparse.Namespace, world: World) -> None:
    run_dir = RunDirectory(args.run_dir)
    restarted = any(world.gather(torchrun.was_restarted()))
    overwrite, before = world.on_main(lambda: _open(run_dir, args, restarted))
    try:
        settings, dataset = _settings_and_data(args, before, world)
    except (UserError, OtherRankFailed, KeyboardInterrupt):
        if world.is_main:
            run_dir.abandon()
        raise
    remedy = "choose a smaller --batch-size or --global-batch"
    with telling_of_memory(f"for a batch of {settings.recipe.batch_size}", remedy):
        run = Run(settings, dataset, run_dir, world)
        if overwrite:
            world.on_main(run_dir.empty)
        run.restore()
        devices = _device_names(settings.device, world)
        description = _description(settings, dataset, devices, run.step.fused, world, args, before)
        world.on_main(lambda: run_dir.write_description(description))
        if world.is_main:
            named_datasets.announce_folder(description["dataset"], dataset, settings.recipe)
            print(
                f"Training recipe {settings.recipe.name} on {dataset.name} for {settings.recipe.steps} steps, "
                f"from step {run.step.updates_done}, in {settings.precision} on {devices}, into {run_dir.path}.",
                flush=True,
            )
        run.train({key: description[key] for key in _TOLD_OF_EACH_PROCESS})
    if args.report:
        world.on_main(lambda: write(run_dir, dataset, settings.device), slow=True)


def _settings_and_data(
    args: argparse.Namespace, before: dict[str, Any] | None, world: World
) -> tuple[Settings, Dataset]:
    """What is asked for, and where nothing is said what the resumed run had (`before`), or the defaults."""
    device = world.on_each(lambda: choose_device(args.device, world.local_rank))
    prepare(device)
    asked = world.on_each(lambda: recipe_choice.chosen(args, before))
    dataset = _data(args, before, asked.image_size, world)
    recipe = world.on_each(lambda: recipe_choice.fitted(asked, args, before, len(dataset.train), world.size))
    settings = Settings(
        recipe=recipe,
        seed=_given(args.seed, before, "seed", choices.DEFAULT_SEED),
        device=device,
        precision=choose_precision(_given(args.precision, before, "precision", choices.DEFAULT_PRECISION), device),
        eval_every=args.eval_every,
        checkpoint_every=_checkpoint_every(args, recipe),
        fused=args.compile if args.compile is not None else device.type == "cuda",
        summaries=_given(args.summaries, before, "summaries", choices.DEFAULT_SUMMARIES),
    )
    return settings, dataset


def _data(args: argparse.Namespace, before: dict[str, Any] | None, image_size: int, world: World) -> Dataset:
    """Rank 0 reads it first: it alone speaks, and what it leaves in a folder's cache the others find there."""
    name = _data_name(args, before)
    share = named_datasets.share_of(before or {})
    found: list[Dataset] = []

    def load(say: Say | None) -> Dataset:
        data_dir = named_datasets.fetched(name, args.data_dir)
        return named_datasets.load(name, data_dir, image_size, args.test_share, say, share)

    world.on_main(lambda: found.append(load(announce)), slow=True)
    return world.on_each(lambda: found[0] if found else load(None), slow=True)


def _data_name(args: argparse.Namespace, before: dict[str, Any] | None) -> str:
    return str(_given(args.data, before, "dataset", choices.DEFAULT_DATASET))


def _open(run_dir: RunDirectory, args: argparse.Namespace, restarted: bool) -> tuple[bool, dict[str, Any] | None]:
    """Opens the run's directory. Returns whether to delete the run that is there, and the description of one to resume.

    What torchrun starts in place of a rank that was killed goes on with what was begun, whatever it was told at first.
    """
    ours = restarted and (run_dir.description() or {}).get("launch") == torchrun.launch_name()
    resume, overwrite = args.resume or ours, args.overwrite and not ours
    run_dir.open_for_training(resume=resume, overwrite=overwrite)
    before = run_dir.description() if resume else None
    if before is not None:
        missing = {"recipe", "seed", "dataset", "precision"} - before.keys()
        if missing:
            raise run_dir.damaged(f"it has no {' and no '.join(sorted(missing))}")
        try:
            from_dict(before["recipe"])
        except (KeyError, TypeError, ValueError) as error:
            raise run_dir.of_another_version() from error
    return overwrite, before


def _checkpoint_every(args: argparse.Namespace, recipe: Recipe) -> int:
    if args.checkpoint_every is not None:
        return int(args.checkpoint_every)
    if recipe.epochs is None:
        return choices.DEFAULT_CHECKPOINT_EVERY
    # Its updates are few and large: a thousand may be hours of a CPU's time.
    return min(choices.DEFAULT_CHECKPOINT_EVERY, -(-recipe.steps // 4))


def _given(value: Any, before: dict[str, Any] | None, key: str, default: Any) -> Any:
    if value is not None:
        return value
    return before.get(key, default) if before else default


def _device_names(device: torch.device, world: World) -> str:
    """The devices of all ranks, for people: "8 x NVIDIA H100 80GB HBM3"."""
    names = Counter(world.gather(device_name(device)))
    return ", ".join(f"{count} x {name}" if world.size > 1 else name for name, count in names.items())


def _description(
    settings: Settings,
    dataset: Dataset,
    devices: str,
    fused: bool,
    world: World,
    args: argparse.Namespace,
    before: dict[str, Any] | None,
) -> dict[str, Any]:
    """The content of recipe.json."""
    return {
        "recipe": settings.recipe.as_dict(),
        "seed": settings.seed,
        "dataset": _data_name(args, before),
        "test_share": dataset.test_share,
        "class_names": list(dataset.class_names),
        "training_pictures": len(dataset.train),
        "training_data_sha256": dataset.train.sha256(),
        "precision": settings.precision,
        "device": devices,
        "device_type": settings.device.type,
        "cpu_threads": torch.get_num_threads() if settings.device.type == "cpu" else None,
        "world_size": world.size,
        "local_world_size": torchrun.local_world_size(),
        "compile": fused,
        "summaries": settings.summaries,
        "data_dir": str(args.data_dir) if args.data_dir else None,
        "launch": torchrun.launch_name(),
        "command": shlex.join(["python", "-m", "training", *sys.argv[1:]]),
        "started": now(),
        "source_revision": source_revision(),
        "libraries": libraries(["torch", "torchvision", "numpy"]),
    }
