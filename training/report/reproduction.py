"""The command that trains the same weights again, from what recipe.json says."""

from __future__ import annotations

import shlex
from typing import Any

from training.choices import DATASETS, FOLDER
from training.recipe import RECIPES, from_dict

Description = dict[str, Any]

_RUN_DIR = "runs/again"
_ENDPOINT = "HOST:29400"  # HOST: the name of the machine of rank 0


def command(description: Description) -> str:
    """One line for a POSIX shell, every number explicit; what an older recipe.json does not tell is left out."""
    return shlex.join([*_program(description), "train", *_what(description), *_how(description), "--run-dir", _RUN_DIR])


def preparation(description: Description) -> list[str]:
    """The commands before it, one line each: the same code, the same libraries, as many threads."""
    lines = []
    revision = _revision(description)
    if revision:
        lines += [f"git checkout {shlex.quote(revision)}", "pip install -c constraints.txt -e '.[train]'"]
    threads = description.get("cpu_threads")  # on which sums depend in their last bit
    if threads is not None:
        lines.append(f"export OMP_NUM_THREADS={threads}")
    return lines


def reservations(description: Description) -> list[str]:
    """Sentences: why the command may not lead to the same weights, to the bit."""
    sentences = []
    if str(description.get("source_revision", "")).endswith("-dirty"):
        sentences.append("The code had changes that were not committed; the commit alone does not hold them.")
    elif not _revision(description):
        sentences.append("Which commit of the code trained it is not known.")
    if not _is_named(description):
        sentences.append(
            "The recipe is not, or no longer, one that --recipe can name; a version of the code that has it is needed."
        )
    if description.get("dataset") not in DATASETS and not _is_folder(description):
        sentences.append("The data set is not one that --data can name.")
    if "world_size" not in description:
        sentences.append("The run is older than the record of its number of processes, which the command leaves open.")
    elif _is_uneven(description):
        sentences.append("Its machines had different numbers of processes; start as many on each as there were.")
    return sentences


def _program(description: Description) -> list[str]:
    ranks, on_a_machine = _ranks(description)
    if ranks == on_a_machine:
        return ["python", "-m", "training"]
    machines = [f"--nnodes={-(-ranks // on_a_machine)}", f"--nproc-per-node={on_a_machine}"]
    return ["torchrun", *machines, "--rdzv-backend=c10d", f"--rdzv-endpoint={_ENDPOINT}", "-m", "training"]


def _what(description: Description) -> list[str]:
    recipe = description["recipe"]
    # The recipe's batch is that of all ranks together. repr gives a float's shortest form that reads back as itself.
    flags = {
        "--data": description.get("dataset"),
        "--test-share": description.get("test_share"),
        "--image-size": recipe.get("image_size") if _is_folder(description) else None,
        "--recipe": recipe.get("name"),
        "--steps": recipe.get("steps"),
        "--global-batch": recipe.get("batch_size"),
        "--learning-rate": recipe.get("learning_rate"),
        "--seed": description.get("seed"),
        "--precision": description.get("precision"),
        "--device": description.get("device_type"),
    }
    given = {flag: value for flag, value in flags.items() if value is not None}
    return [word for flag, value in given.items() for word in (flag, value if isinstance(value, str) else repr(value))]


def _how(description: Description) -> list[str]:
    ranks, on_a_machine = _ranks(description)
    words = ["--gpus", str(ranks)] if ranks == on_a_machine > 1 else []
    if "compile" in description:
        words.append("--compile" if description["compile"] else "--no-compile")
    if description.get("data_dir") is not None:
        words += ["--data-dir", description["data_dir"]]
    return words


def _is_folder(description: Description) -> bool:
    return str(description.get("dataset")).startswith(FOLDER)


def _ranks(description: Description) -> tuple[int, int]:
    """In all, and on each machine."""
    ranks = int(description.get("world_size", 1))
    return ranks, int(description.get("local_world_size", ranks))


def _is_uneven(description: Description) -> bool:
    ranks, on_a_machine = _ranks(description)
    return ranks % on_a_machine > 0


def _revision(description: Description) -> str | None:
    """The commit, without a word about changes; None where it is not known."""
    revision = str(description.get("source_revision") or "unknown").removesuffix("-dirty")
    return None if revision == "unknown" else revision


def _is_named(description: Description) -> bool:
    """Whether --recipe and the four flags that change a recipe give this one."""
    try:
        mine = from_dict(description["recipe"])
    except (KeyError, TypeError, AttributeError):
        return False
    named = RECIPES.get(mine.name)
    if named is None:
        return False
    fitted = named.fitted_to(description.get("training_pictures", 0), mine.batch_size)
    return mine == fitted.with_changes(
        steps=mine.steps,
        image_size=mine.image_size if named.resizable else None,
        learning_rate=mine.learning_rate,
    )
