"""Models of people's own pictures: classes of any name and number, pictures of other sizes, recipes of other shapes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving.bundles import brightness_bundle, metadata, publish
from tests.serving.odd_names import ODD_NAMES
from tests.serving.pictures import encode, flat
from tests.serving.running_server import Server, run_serving, start
from tests.serving.test_predict import problem
from tests.serving.test_routes import labels, scrape

THOUSAND = tuple(f"class {number} of a thousand" for number in range(1000))
ESCAPED = {"t": "\t", "n": "\n", "\\": "\\"}
UNTESTED = ODD_NAMES[6]
RECIPE = {
    "name": "fast",
    "image_size": 64,
    "distortions": [{"flip": True}, {"shift": 2}],
    "optimizer": {"name": "muon"},
}
ACCURACIES = {name: 0.75 for name in ODD_NAMES if name != UNTESTED}


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("own")
    odd = metadata(
        ODD_NAMES,
        dataset="Фото <i>",
        recipe=json.dumps(RECIPE),
        eval_per_class_accuracy=json.dumps(ACCURACIES),
    )
    publish(folder / "models", 1, brightness_bundle(odd, side=64), name="odd")
    publish(folder / "models", 1, brightness_bundle(metadata(THOUSAND), side=224), name="thousand")
    server = start(folder / "models", folder / "server.log", ("--model", "odd"), {})
    server.wait_for(lambda: len(server.get("/models").json()) == 2)
    yield server
    assert server.stop() == 0


def grey(number: int, classes: int, side: int) -> np.ndarray[Any, Any]:
    """The picture of a class: of so many rows some are one level brighter, where levels alone are too few."""
    picture = np.zeros(side * side * 3)
    exact = 255 * number / (classes - 1)
    picture[:] = int(exact)
    picture[: round((exact - int(exact)) * len(picture))] += 1
    return picture.reshape(side, side, 3).astype(np.uint8)


def ask(server: Server, picture: bytes, **query: object) -> httpx.Response:
    return server.client.post(server.url + "/predict", params=query, content=picture)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_a_class_of_any_name_is_answered_with_it(own_server: Server, name: str) -> None:
    number = ODD_NAMES.index(name)
    answer = ask(own_server, encode(grey(number, len(ODD_NAMES), 64))).json()
    assert (answer["label"], answer["class_id"]) == (name, number)
    assert list(answer["probabilities"]) == list(ODD_NAMES)
    assert scrape(own_server)["predictions_total", labels(model="odd", label=name)] >= 1


def test_what_the_server_tells_of_them(own_server: Server) -> None:
    facts = own_server.get("/metrics", headers={"Accept": "application/json"}).json()
    assert facts["input_shape"] == [None, 64, 64, 3]
    assert facts["metadata"]["class_names"] == list(ODD_NAMES)
    assert facts["metadata"]["recipe"] == RECIPE
    assert facts["metadata"]["eval_per_class_accuracy"] == ACCURACIES
    listed = {model["name"]: model["versions"][0] for model in own_server.get("/models").json()}
    assert listed["odd"]["class_names"] == list(ODD_NAMES)
    assert listed["odd"]["recipe"] == "fast"
    assert listed["thousand"]["input_shape"] == [None, 224, 224, 3]
    told = own_server.get("/v2/models/odd").json()
    assert told["parameters"]["class_names"] == list(ODD_NAMES)


def test_metrics_have_every_class_that_was_tested(own_server: Server) -> None:
    samples = scrape(own_server)
    told = [dict(pairs) for name, pairs in samples if name == "model_eval_class_accuracy"]
    assert {pairs["label"] for pairs in told if pairs["model"] == "odd"} == set(ODD_NAMES) - {UNTESTED}
    assert {pairs["label"] for pairs in told if pairs["model"] == "thousand"} == set(THOUSAND)
    (info,) = (dict(pairs) for name, pairs in samples if name == "model_info" and ("model", "odd") in pairs)
    assert (info["dataset"], info["recipe"]) == ("Фото <i>", "fast")


@pytest.mark.parametrize("top", [1, 5, 1000, 999_999])
def test_so_many_classes_as_are_asked_for(own_server: Server, top: int) -> None:
    picture = encode(grey(700, 1000, 224))
    everything = ask(own_server, picture, model="thousand").json()
    assert everything["label"] == THOUSAND[700]
    answer = ask(own_server, picture, model="thousand", top=top).json()
    expected = sorted(everything["probabilities"].items(), key=lambda item: -item[1])[:top]
    assert list(answer["probabilities"].items()) == expected
    assert answer | {"probabilities": None} == everything | {"probabilities": None}
    sent = [("file", ("a.png", picture)), ("file", ("b.png", picture))]
    batch = own_server.client.post(f"{own_server.url}/predict/batch?model=thousand&top={top}", files=sent).json()
    assert [each["prediction"] for each in batch["predictions"]] == [answer, answer]


@pytest.mark.parametrize("query", ["top=0", "top=-1", "top=1.0", "top=", "top=all", "top=1000000", "top=1&top=2"])
def test_a_number_of_classes_that_is_none_is_refused(own_server: Server, query: str) -> None:
    answer = own_server.client.post(f"{own_server.url}/predict?{query}", content=encode(flat((0, 0, 0))))
    assert "'top'" in problem(answer, 400)


def test_thirty_two_large_pictures_as_numbers(own_server: Server) -> None:
    numbers = range(0, 1000, 32)
    images = np.stack([grey(number, 1000, 224) for number in numbers])
    tensor = {"name": "images", "shape": list(images.shape), "datatype": "UINT8", "data": images.tolist()}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]})
    assert len(body) > 20_000_000
    answer = own_server.client.post(f"{own_server.url}/v2/models/thousand/infer", content=body, timeout=60)
    assert answer.json()["outputs"][0]["data"] == list(numbers)


def test_classes_as_strings_keep_their_names(own_server: Server) -> None:
    images = np.stack([grey(number, len(ODD_NAMES), 64) for number in range(len(ODD_NAMES))])
    wanted = [{"name": "probabilities", "parameters": {"classification": 1}}]
    tensor = {"name": "images", "shape": list(images.shape), "datatype": "UINT8", "data": images.ravel().tolist()}
    answer = own_server.client.post(
        f"{own_server.url}/v2/models/odd/infer", json={"inputs": [tensor], "outputs": wanted}
    )
    found = [text.split(":", 2) for text in answer.json()["outputs"][0]["data"]]
    assert [(int(index), name) for _, index, name in found] == list(enumerate(ODD_NAMES))


def test_a_name_stays_within_its_line_of_the_log(own_server: Server) -> None:
    number = ODD_NAMES.index("Straße\u202egnp.exe")
    answer = ask(own_server, encode(grey(number, len(ODD_NAMES), 64)))
    request_id = answer.headers["x-request-id"]
    own_server.wait_for(lambda: request_id in own_server.log)
    (line,) = (line for line in own_server.log.splitlines() if request_id in line)
    assert line.endswith(rf", Straße\u202egnp.exe (odd 1) [{request_id}]")


def test_the_command_line_writes_a_line_for_each(own_server: Server, tmp_path: Path) -> None:
    for number in range(len(ODD_NAMES)):
        (tmp_path / f"{number:02}.png").write_bytes(encode(grey(number, len(ODD_NAMES), 64)))
    said = run_serving("predict", "--models-dir", str(own_server.models), "--model", "odd", str(tmp_path))
    rows = [line.split("\t") for line in said.stdout.split("\n")[:-1]]
    unescaped = [re.sub(r"\\(.)", lambda found: ESCAPED[found[1]], label) for _, label, _ in rows]
    assert unescaped == list(ODD_NAMES)
