"""metrics.jsonl: what it says of a run, and what is left of it after a crash."""

import json
import re
import shutil
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.training.processes import Finished, RunCommand, StartCommand, fork
from tests.training.runs import ENDLESS, LOG_LINE, TRAINED_STEPS, final_state, small_recipe, start_run, train_command
from training.dataset import Dataset
from training.metrics_log import MetricsLog, Record, measured
from training.recorder import Recorder

Trained = tuple[Path, Finished]


def lines(run_dir: Path, kind: str) -> list[Record]:
    """As a reader who knows nothing of us takes it: every line is JSON."""
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == kind]


def test_it_says_what_was_logged_every_ten_steps(trained: Trained) -> None:
    run_dir, finished = trained
    logged = {int(match[1]): match for match in LOG_LINE.finditer(finished.output)}
    records = {record["step"]: record for record in lines(run_dir, "train")}
    assert list(records) == list(logged) == list(range(0, TRAINED_STEPS, 10))
    for step, record in records.items():
        losses = record["losses"]
        assert f"{losses['total_loss']:.2f}" == logged[step][2]
        assert losses["total_loss"] == pytest.approx(sum(losses.values()) / 2, rel=1e-5)
        assert losses.keys() == record["averaged_losses"].keys()
        assert record["examples_per_sec"] == pytest.approx(float(logged[step][3]), abs=0.06)
        assert record["learning_rate"] == 0.1
    assert records[0]["losses"] == records[0]["averaged_losses"]


def test_it_says_how_the_run_began_and_what_it_came_to(trained: Trained) -> None:
    run_dir, _ = trained
    (start,), (found,) = lines(run_dir, "start"), lines(run_dir, "eval")
    described, evaluated = (json.loads((run_dir / name).read_bytes()) for name in ("recipe.json", "eval.json"))
    assert {key: start[key] for key in ("command", "device", "precision", "world_size")} == {
        key: described[key] for key in ("command", "device", "precision", "world_size")
    }
    shared = ("step", "precision_at_1", "correct", "pictures", "per_class")
    assert {key: found[key] for key in shared} == {key: evaluated[key] for key in shared}


def test_lines_are_in_the_order_in_which_it_happened(trained: Trained) -> None:
    times = [datetime.fromisoformat(record["time"]) for record in MetricsLog(trained[0]).read()]
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert all(time.tzinfo for time in times)


def test_a_killed_and_resumed_run_has_every_step_once(
    start: StartCommand, run: RunCommand, tmp_path: Path, cifar10_dir: Path
) -> None:
    run_dir, straight = tmp_path / "run", tmp_path / "straight"
    killed = start(*train_command(run_dir, cifar10_dir, ENDLESS, "--checkpoint-every", 70))
    killed.wait_for_output("step 130, loss")
    killed.kill()
    assert max(record["step"] for record in lines(run_dir, "train")) >= 100
    resumed_at = final_state(run_dir)["step"]
    steps = resumed_at + 60
    for finished in (
        run(*train_command(run_dir, cifar10_dir, steps, "--resume")),
        run(*train_command(straight, cifar10_dir, steps)),
    ):
        assert finished.status == 0, finished.errors
    records, expected = lines(run_dir, "train"), lines(straight, "train")
    assert [record["step"] for record in records] == list(range(0, steps, 10))
    assert [record["losses"] for record in records] == [record["losses"] for record in expected]
    assert [record["step"] for record in lines(run_dir, "start")] == [0, resumed_at]


def test_evaluations_beside_it_are_added(run: RunCommand, trained: Trained, tmp_path: Path, cifar10_dir: Path) -> None:
    run_dir = Path(shutil.copytree(trained[0], tmp_path / "run"))
    assert run("eval", "--run-dir", run_dir, "--data-dir", cifar10_dir).status == 0
    one, other = lines(run_dir, "eval")
    assert one | {"time": ""} == other | {"time": ""}
    assert lines(run_dir, "train") == lines(trained[0], "train")


def append_many(run_dir: Path, writer: int, count: int) -> None:
    for number in range(count):
        MetricsLog(run_dir).append([measured("eval", number, {"writer": writer, "filling": "x" * 5_000})])


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    MetricsLog(tmp_path).start(0, {})
    writers = [fork(append_many, tmp_path, writer, 60) for writer in range(4)]
    while any(writer.is_alive() for writer in writers):
        MetricsLog(tmp_path).start(1_000, {})  # a training that is resumed meanwhile
    assert [writer.exitcode for writer in writers] == [0] * 4
    found = [(record["writer"], record["step"]) for record in lines(tmp_path, "eval")]
    assert sorted(found) == [(writer, number) for writer in range(4) for number in range(60)]


@pytest.mark.parametrize(
    "torn", [b'{"kind": "train", "step": 20, "los', b"\0" * 100, b"3\n", b"[1]\n", b'{"step": 3}\n']
)
def test_what_a_loss_of_power_left_is_passed_over(tmp_path: Path, torn: bytes) -> None:
    metrics = MetricsLog(tmp_path)
    metrics.append([measured("train", 10, {})])
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    metrics.append([measured("eval", 11, {})])
    assert [(record["kind"], record["step"]) for record in metrics.read()] == [("train", 10), ("eval", 11)]
    metrics.start(11, {})
    assert [record["step"] for kind in ("train", "eval", "start") for record in lines(tmp_path, kind)] == [10, 11, 11]


def test_resuming_drops_what_will_be_measured_again(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path)
    metrics.start(0, {})
    metrics.append([measured("train", step, {}) for step in (0, 90, 100, 110)])
    metrics.append([measured("eval", step, {}) for step in (100, 110)])
    metrics.start(100, {})
    kept = [(record["kind"], record["step"]) for record in metrics.read()]
    assert kept == [("start", 0), ("train", 0), ("train", 90), ("eval", 100), ("start", 100)]


def test_a_resumed_run_knows_its_last_accuracy(few_pictures: Dataset, tmp_path: Path) -> None:
    start_run(tmp_path, few_pictures, small_recipe(1), summaries="off").train()
    accuracy = json.loads((tmp_path / "eval.json").read_bytes())["precision_at_1"]
    assert Recorder(tmp_path, 1, "off", {}).last_accuracy == accuracy
    assert Recorder(tmp_path, 0, "off", {}).last_accuracy is None  # it will be measured again


def test_a_full_disk_leaves_no_half_of_a_line(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    run_dir = tmp_path / "run"
    limit = 20_000  # bytes a file may have; the events of TensorBoard are off, no checkpoint is due
    flags = ["--summaries", "off", "--checkpoint-every", 0]
    refused = run(*train_command(run_dir, cifar10_dir, 10_000, *flags), file_bytes=limit).refusal()
    assert re.search(r"metrics\.jsonl could not be written \(File too large\); make room", refused)
    written = (run_dir / "metrics.jsonl").read_bytes()
    assert limit - 5_000 < len(written) <= limit
    assert written.endswith(b"}\n")
    assert [json.loads(line)["kind"] for line in written.splitlines()][:2] == ["start", "train"]
