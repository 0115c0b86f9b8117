"""What a checkpoint holds besides the step's own state, so that a run goes on as itself or not at all."""

from __future__ import annotations

from typing import Any

import torch

from training.checkpoint import Checkpoint
from training.recipe import Recipe
from training.run_directory import RunDirectory

STATE_FORMAT = 6  # of what a checkpoint holds


def identity(recipe: Recipe, seed: int, fingerprint: str) -> dict[str, Any]:
    """What must not change when a run is resumed. The number of ranks may; so may its length, unless rates end with it.

    `fingerprint` is the training pictures' SHA-256.
    """
    values = recipe.as_dict()
    if not recipe.rates_end_with_it:
        del values["steps"]
    return {"recipe": values, "seed": seed, "training data": fingerprint}


def load_newest(run_dir: RunDirectory) -> tuple[Checkpoint, dict[str, Any]] | None:
    """The newest sound checkpoint, if any, and its state. Raises UserError where another version wrote it."""
    newest = run_dir.checkpoints.load_newest()
    if newest is not None and newest[1].get("format") != STATE_FORMAT:
        raise run_dir.of_another_version(newest[0].path)
    return newest


def load_to_resume(run_dir: RunDirectory, mine: dict[str, Any]) -> tuple[Checkpoint, dict[str, Any]] | None:
    """The same. Raises UserError too where its identity is not `mine`."""
    newest = load_newest(run_dir)
    if newest is None:
        return None
    differing = _differing(mine, newest[1]["identity"])
    if differing:
        reason = f"{run_dir.path} was trained with {' and '.join(differing)}"
        raise run_dir.unusable(reason, "resume it with the same")
    return newest


def _differing(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Names what differs between two identities, of the recipe which part."""
    parts = [part for part, value in mine["recipe"].items() if value != theirs.get("recipe", {}).get(part)]
    told = {
        "recipe": f"another recipe ({', '.join(parts)})",
        "seed": "another seed",
        "training data": "other training pictures",
    }
    return [phrase for name, phrase in told.items() if mine[name] != theirs.get(name)]


def random_state(device: torch.device) -> dict[str, Any]:
    """PyTorch's own generators. (The loader needs none: the seed and the step decide its pictures.)"""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
