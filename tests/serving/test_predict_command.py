"""``python -m serving predict``, as someone at a shell sees it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from serving import predict_command
from serving.settings import UsageError
from tests.serving.bundles import brightness_bundle, color_bundle, color_probabilities, metadata, publish
from tests.serving.odd_names import ODD_NAMES
from tests.serving.pictures import BLUE, GREEN, RED, encode, flat
from tests.serving.running_server import REPOSITORY, Server, run_serving, start

NAMES = ["plain.png", "two words.png", "größe 日本.png", "new\nline\ttab\\slash.png", "\x1b[31m.png", "\udcff.png"]


def command(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "serving", "predict", *arguments]


def environment(**variables: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")} | variables


def predict(*arguments: str | Path, sent: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command on the models that ship, unless another folder is named, to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=REPOSITORY,
        env=environment(**variables),
        input=sent,
        capture_output=True,
        timeout=30,
    )


def rows(said: subprocess.CompletedProcess[bytes]) -> list[list[str]]:
    return [line.split("\t") for line in os.fsdecode(said.stdout).splitlines()]


def one_sentence(said: subprocess.CompletedProcess[bytes]) -> str:
    """Check for exit status 2 and one line that says why."""
    assert (said.returncode, said.stdout) == (2, b""), said
    assert re.fullmatch(r"serving: [^\n]+\.\n", said.stderr.decode()), said.stderr
    return said.stderr.decode()


@pytest.fixture
def colors(models: Path) -> Path:
    """A folder of models with one that tells red, green and blue apart."""
    publish(models, 1, color_bundle())
    return models


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, data in (("red.png", RED), ("green.png", GREEN), ("blue.png", BLUE)):
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the model that ships."""
    server = start(REPOSITORY / "models", tmp_path_factory.mktemp("shipped") / "server.log", (), {})
    yield server
    assert server.stop() == 0


def test_200_files_are_answered_in_order_as_the_server_answers(shipped: Server, tmp_path: Path) -> None:
    kinds = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
    random = np.random.default_rng(0)
    files = [tmp_path / f"{number}.picture" for number in range(200)]
    for number, file in enumerate(files):
        blocks = random.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(8 + number % 3, 0).repeat(8, 1)
        file.write_bytes(encode(blocks, kinds[number % 5]))
    said = predict("--json", *reversed(files))
    assert (said.returncode, said.stderr) == (0, b"")
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    assert [answer["file"] for answer in answers] == [str(file) for file in reversed(files)]
    for file, answer in list(zip(reversed(files), answers, strict=True))[::10]:
        assert answer.pop("file") == str(file)
        expected: dict[str, Any] = shipped.post(file.read_bytes()).json()
        assert list(answer) == list(expected)
        # Batches of other sizes are summed in another order.
        assert answer.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=1e-6)
        assert answer.pop("confidence") == pytest.approx(expected.pop("confidence"), abs=1e-6)
        assert answer == expected


def test_names_come_out_as_they_are_one_line_a_file(tmp_path: Path) -> None:
    files = [tmp_path / name for name in NAMES]
    for file in files:
        file.write_bytes(RED)
    said = predict(*files)
    assert (said.returncode, said.stderr) == (0, b"")
    escaped = [str(file).replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t") for file in files]
    assert [row[0] for row in rows(said)] == escaped
    assert all(re.fullmatch(r"[01]\.\d{6}", row[2]) for row in rows(said))
    answers = predict("--json", *files).stdout.splitlines()
    assert [json.loads(answer)["file"] for answer in answers] == [str(file) for file in files]


def test_what_is_no_picture_is_named_and_the_others_go_on(colors: Path, pictures: Path) -> None:
    contents = {
        "truncated.png": (RED[:-20], "truncated"),
        "text\n.png": (b"not a picture", "not a picture"),
        "empty.png": (b"", "empty"),
        "tiff.png": (encode(flat((1, 2, 3)), "TIFF"), "are."),
        "large.png": (encode(flat((1, 2, 3), (101, 100))), "0.01 megapixels"),
        "missing.png": (None, "No such file"),
    }
    for name, (data, _) in contents.items():
        if data is not None:
            (pictures / name).write_bytes(data)
    files = [pictures / "red.png", *(pictures / name for name in contents), pictures / "blue.png"]
    said = predict("--models-dir", colors, "--max-pixels", "10000", *files)
    assert said.returncode == 1
    assert [row[:2] for row in rows(said)] == [[str(files[0]), "red"], [str(files[-1]), "blue"]]
    complaints = said.stderr.decode().splitlines()
    assert len(complaints) == len(contents)
    for complaint, (name, (_, reason)) in zip(complaints, contents.items(), strict=True):
        shown = str(pictures / name).replace("\n", r"\n")
        assert complaint.startswith(f"{shown}: ")
        assert reason in complaint
        assert complaint.endswith(".")


def test_folders_stand_for_the_pictures_in_them(colors: Path, pictures: Path) -> None:
    (pictures / "deeper" / "deepest").mkdir(parents=True)
    (pictures / "deeper" / "deepest" / "A.JPEG").write_bytes(encode(flat((0, 0, 200)), "JPEG"))
    (pictures / ".hidden.png").write_bytes(RED)
    (pictures / "notes.txt").write_bytes(b"no picture")
    (pictures / "deeper" / "around").symlink_to(pictures)
    os.mkfifo(pictures / "pipe.png")
    given = predict("--models-dir", colors, f"{pictures}/", pictures / "red.png")
    names = [pictures / "blue.png", pictures / "green.png", pictures / "red.png"]
    assert [row[0] for row in rows(given)] == [str(name) for name in (*names, pictures / "red.png")]
    assert (given.returncode, given.stderr) == (0, b"")

    deeper = predict("-r", pictures, SERVING_MODELS_DIR=str(colors))
    assert [row[0] for row in rows(deeper)] == [str(p) for p in (*names, pictures / "deeper" / "deepest" / "A.JPEG")]
    assert deeper.returncode == 0

    without = predict("--models-dir", colors, pictures / "deeper", pictures / "red.png")
    assert [row[1] for row in rows(without)] == ["red"]
    assert without.returncode == 1
    assert without.stderr.decode().startswith(f"{pictures / 'deeper'}: No picture (.png, ")
    assert "--recursive" in without.stderr.decode()


def test_standard_input_is_a_picture_too(colors: Path, pictures: Path) -> None:
    said = predict(pictures / "red.png", "--models-dir", colors, "-", sent=GREEN)
    assert [row[:2] for row in rows(said)] == [[str(pictures / "red.png"), "red"], ["-", "green"]]
    assert (said.returncode, said.stderr) == (0, b"")
    nothing = predict("--models-dir", colors, "-")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (1, b"", b"-: It is empty.\n")


def test_the_most_probable_classes_are_lines_in_descending_order(colors: Path, tmp_path: Path) -> None:
    (tmp_path / "-p.png").write_bytes(encode(flat((100, 130, 110))))
    said = subprocess.run(
        command("--top", "2", "--models-dir", colors, "--", "-p.png"),
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        check=True,
    )
    assert [row[:2] for row in rows(said)] == [["-p.png", "green"], ["-p.png", "blue"]]
    expected = color_probabilities(flat((100, 130, 110)))
    assert [float(row[2]) for row in rows(said)] == pytest.approx([expected[1], expected[2]], abs=1e-5)


def on_a_terminal(*arguments: str | Path, columns: int) -> list[str]:
    """Run the command on a terminal of its own, and return the lines that it shows."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command(*arguments), cwd=REPOSITORY, env=environment(COLUMNS=str(columns)), stdout=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        # Linux ends a terminal that nobody holds any more with an error.
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    assert process.returncode == 0
    return shown.decode().splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""


def test_on_a_terminal_the_answers_are_a_table(colors: Path, pictures: Path) -> None:
    for name in NAMES[2:]:
        (pictures / name).write_bytes(RED)
    lines = on_a_terminal("--models-dir", colors, "--top", "2", pictures, columns=40)
    assert lines[0] == "cifar10 version 1, right for 82.53% of 10000 test pictures"
    assert lines[1] == ""
    assert re.fullmatch(r"file {17,}  label  confidence", lines[2])
    table = lines[3:]
    assert len(table) == 2 * 7
    assert all(re.search(r"  (red|green|blue) +\d+\.\d %$", line) for line in table)
    # A wide character takes two cells.
    assert {len(line) + sum(c in "日本" for c in line) for line in table} == {40}
    assert all(line.startswith("…") for line in table[::2])
    assert all(line.startswith(" " * 16) for line in table[1::2])
    shown = "\n".join(table)
    for name in ("größe 日本.png", r"new\nline\ttab\slash.png"[-12:], r"\x1b[31m.png", r"\xff.png"):
        assert name in shown
    assert "\x1b" not in shown


def test_classes_of_any_name_keep_to_their_column(tmp_path: Path) -> None:
    publish(tmp_path, 1, brightness_bundle(metadata(ODD_NAMES)))
    (tmp_path / "a.png").write_bytes(BLUE)
    lines = on_a_terminal("--models-dir", tmp_path, "--top", "99", tmp_path / "a.png", columns=80)
    table = lines[3:]
    assert len(table) == len(ODD_NAMES)
    assert all(re.search(r" +\d+\.\d %$", line) for line in table)
    assert {cells(line) for line in table} == {80}
    shown = "\n".join(table)
    for name in (
        "two words",
        "קטע בעברית 12",
        "猫🐈\u200d⬛",
        r"two\nlines\ttab",
        r"Straße\u202egnp.exe",
        "x" * 39 + "…",
    ):
        assert f"  {name} " in shown


def cells(line: str) -> int:
    """How many of a terminal's it takes."""
    return len(line) + sum(c in "猫🐈⬛" for c in line) - line.count("\u200d")


def test_a_reader_who_has_had_enough_is_no_error(pictures: Path) -> None:
    many = [pictures / "red.png"] * 1000
    with subprocess.Popen(
        command("--json", *many), cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["file"] == str(pictures / "red.png")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == -signal.SIGPIPE


def test_ctrl_c_ends_it_though_a_pipe_has_no_writer(colors: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(
        command("--models-dir", colors, pipe),
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What a shell starts in the background, these tests perhaps, ignores Ctrl-C, and so would all it starts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        writer = open_for_writing(pipe)
        process.send_signal(signal.SIGINT)
        try:
            assert process.communicate(timeout=10) == (b"", b"")
        finally:
            process.kill()
            os.close(writer)
    assert process.returncode == 130


def open_for_writing(pipe: Path) -> int:
    """Open a named pipe as soon as someone reads from it."""
    deadline = time.monotonic() + 15
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_said_in_one_sentence(colors: Path, pictures: Path) -> None:
    with open("/dev/full", "wb") as full:
        said = subprocess.run(
            command("--models-dir", colors, pictures),
            cwd=REPOSITORY,
            env=environment(PYTHONUNBUFFERED=""),
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert said.returncode == 2
    assert said.stderr.decode() == "serving: standard output cannot be written: No space left on device.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no FILE is named; --help lists every flag"),
        (["--top", "0", "p.png"], "--top: must be a whole number from 1, not '0'"),
        (["--version", "latest", "p.png"], "--version: must be a whole number from 1, not 'latest'"),
        (["--json", "p.png", "--top", "2"], "--top: not allowed with argument --json"),
        (["--port", "80", "p.png"], "unrecognized arguments: --port"),
        (["--max-pixels", "0", "p.png"], "--max-pixels must be a whole number from 1"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        predict_command.predict(arguments)


def test_mistakes_end_in_one_sentence_and_status_2(models: Path) -> None:
    (models / "cats").mkdir()
    assert "no FILE is named" in one_sentence(predict())
    assert "cannot be read (No such file" in one_sentence(predict("--models-dir", models / "none", "p.png"))
    assert "no model 'cifar10'; name one that it has with --model: cats." in one_sentence(
        predict("p.png", "--models-dir", models)
    )
    assert "no version of the model 'cats' has been published" in one_sentence(
        predict("--models-dir", models, "--model=cats", "p.png")
    )
    assert "'cifar10' has no version 999; choose one of 1" in one_sentence(predict("--version", "999", "p.png"))


def test_versions_are_chosen_and_refused_as_the_server_does(models: Path, pictures: Path) -> None:
    publish(models, 1, color_bundle(order=(2, 1, 0)))
    publish(models, 2, color_bundle())
    publish(models, 3, color_bundle(properties=metadata(recipe=None)))
    picture = pictures / "red.png"
    highest = predict("--models-dir", models, picture)
    assert [row[1] for row in rows(highest)] == ["red"]
    assert highest.stderr == b"serving: cifar10 version 3 is refused: its metadata has no recipe.\n"
    assert highest.returncode == 0
    named = predict("--models-dir", models, "--version", "1", "--json", picture)
    assert json.loads(named.stdout)["label"] == "blue"
    assert json.loads(named.stdout)["model"] == {"name": "cifar10", "version": 1}
    bad = predict("--models-dir", models, "--version", "3", picture)
    assert (bad.returncode, bad.stdout) == (2, b"")
    assert "has no recipe" in bad.stderr.decode().splitlines()[0]
    assert "no version of the model 'cifar10' can be used" in bad.stderr.decode().splitlines()[1]


def not_a_number_for_white(model: onnx.ModelProto) -> None:
    """Add 0 * log(240 - mean) to the logits."""
    graph = model.graph
    softmax = next(node for node in graph.node if node.op_type == "Softmax")
    graph.initializer.append(numpy_helper.from_array(np.array(240, np.float32), "limit"))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    guard = [
        helper.make_node("Sub", ["limit", "means"], ["room"]),
        helper.make_node("Log", ["room"], ["logarithm"]),
        helper.make_node("Mul", ["logarithm", "nothing"], ["zero"]),
        helper.make_node("Add", ["logits", "zero"], ["guarded"]),
    ]
    place = list(graph.node).index(softmax)
    softmax.input[0] = "guarded"
    for offset, node in enumerate(guard):
        graph.node.insert(place + offset, node)


def test_a_picture_that_the_model_cannot_answer_spoils_no_other(models: Path, pictures: Path) -> None:
    publish(models, 1, color_bundle(change=not_a_number_for_white))
    (pictures / "a white one.png").write_bytes(encode(flat((255, 255, 255))))
    said = predict("--models-dir", models, pictures)
    assert [row[1] for row in rows(said)] == ["blue", "green", "red"]
    assert said.stderr.decode().startswith(f"{pictures / 'a white one.png'}: cifar10 version 1 gave a probability")
    assert said.returncode == 1


def test_it_needs_nothing_of_http_and_torch(colors: Path, pictures: Path) -> None:
    program = (
        "import sys; from serving.__main__ import main; main(sys.argv[1:]); "
        "print(sorted({'fastapi', 'starlette', 'uvicorn', 'onnx', 'torch', 'training'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, "predict", "--models-dir", colors, pictures / "red.png"],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r".*\tred\t0\.\d{6}\n\[\]\n", said.stdout)


def test_the_servers_help_tells_of_it() -> None:
    assert "python -m serving predict --help" in " ".join(run_serving("--help").stdout.split())
    text = " ".join(predict("--help").stdout.decode().split())
    for shown in ("FILE", "--json", "--top K", "--version N", "variable: SERVING_MODELS_DIR", "Exit status"):
        assert shown in text
