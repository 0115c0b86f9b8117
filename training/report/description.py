"""recipe.json, as far as a page needs it."""

from __future__ import annotations

from typing import Any

from training.run_directory import RunDirectory


def described(run_dir: RunDirectory) -> dict[str, Any]:
    """What recipe.json says: a recipe with a name, steps and a batch size, a data set, and more.

    Raises UserError where nothing has been trained, or where one of these is missing.
    """
    description = run_dir.trained()
    recipe = description.get("recipe")
    if not isinstance(recipe, dict) or "dataset" not in description:
        raise run_dir.damaged("it tells no recipe or no data set")
    if missing := {"name", "steps", "batch_size"} - recipe.keys():
        raise run_dir.damaged(f"its recipe has no {' and no '.join(sorted(missing))}")
    return description
