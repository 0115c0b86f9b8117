"""The plain files of a run are what docs/run-directory.md says, key for key and type for type."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.training.processes import REPOSITORY, Finished
from training.metrics_log import MetricsLog

Trained = tuple[Path, Finished]

DOCUMENT = (REPOSITORY / "docs" / "run-directory.md").read_text()
TYPES: dict[str, Any] = {
    "object": dict,
    "integer": int,
    "number": float,
    "string": str,
    "strings": list,
    "number or null": float | None,
    "string or null": str | None,
    "integer or null": int | None,
    "boolean": bool,
    "time": str,
}


def documented(heading: str) -> dict[str, str]:
    """Key to type, from the table below a line that begins with `heading`."""
    (table,) = re.findall(rf"^{re.escape(heading)}.*?\n\n(\| key .*?)\n\n", DOCUMENT + "\n\n", re.DOTALL | re.MULTILINE)
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    return {key: kind for keys, kind, _ in rows for key in re.findall(r"`(\w+)`", keys)}


def check(found: dict[str, Any], expected: dict[str, str]) -> None:
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert isinstance(value, TYPES[expected[key]]), key
        if expected[key] == "time":
            assert datetime.fromisoformat(str(value)).tzinfo is not None, key


def test_recipe_json(trained: Trained) -> None:
    check(json.loads((trained[0] / "recipe.json").read_bytes()), documented("## recipe.json"))


@pytest.mark.parametrize("kind", ["start", "train", "eval", "end"])
def test_metrics_jsonl(trained: Trained, kind: str) -> None:
    every = documented("One JSON object a line")
    records = [record for record in MetricsLog(trained[0]).read() if record["kind"] == kind]
    assert records
    for record in records:
        check(record, every | documented(f"`{kind}`: "))


def test_eval_json(trained: Trained) -> None:
    expected = documented("`eval`: ") | documented("The newest evaluation")
    check(json.loads((trained[0] / "eval.json").read_bytes()), expected)


def test_every_file_is_documented(trained: Trained) -> None:
    for path in trained[0].rglob("[!.]*"):
        name = re.sub(r"\d+\.\S+", "…", str(path.relative_to(trained[0])))
        known = path.is_dir() or f"`{name}`" in DOCUMENT or name.startswith("checkpoints/checkpoint-")
        assert known, name
