"""The page at / in a real browser."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from PIL import Image

from serving.picture import decode_picture
from tests.chromium import chromium
from tests.serving.bundles import brightness_bundle, color_bundle, metadata, publish
from tests.serving.odd_names import ODD_NAMES
from tests.serving.pictures import BLUE, GREEN, RED, encode, flat
from tests.serving.running_server import REPOSITORY, Server, StartServer
from tests.serving.running_server import start as start_process

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FilePayload, Page, Request, Route

CROP = 24
ORIENTATION = 0x0112
GREATEST_SHIFT = 0.01  # Good is below 0.1, https://web.dev/articles/cls

SHIFTS = """() => new Promise((resolve) => {
  new PerformanceObserver((list) => resolve(list.getEntries().reduce((sum, { value }) => sum + value, 0)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(0), 200);
})"""
TRANSFER = """(files) => {
  const transfer = new DataTransfer();
  for (const { name, mimeType, content } of files) {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: mimeType }));
  }
  return transfer;
}"""
COPY = """async (content) => {
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""
PIXELS = """(id) => {
  const canvas = document.getElementById(id);
  return [canvas.height, canvas.width, ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
}"""
# Whichever way a name runs, the percentage stands to the right of its last line, or below.
ENDS_WITH_NUMBER = """(element) => {
  const [name, number] = element.childNodes;
  const range = document.createRange();
  range.selectNodeContents(number);
  const [before, after] = [[...name.getClientRects()].at(-1), [...range.getClientRects()].at(-1)];
  return after.left >= before.right - 1 || after.top >= before.bottom - 1;
}"""
# An examination that is broken off before its answer.
BREAK_OFF = """async () => {
  const { examine } = await import("/page/examination.js");
  const asking = new AbortController();
  const picture = { file: new File(["x"], "x.png"), choice: {}, state: "waiting" };
  await examine(picture, undefined, asking.signal, () => asking.abort());
  return [picture.state, picture.problem ?? ""];
}"""
OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Its camera shows a drawing.
    with chromium("--use-fake-device-for-media-stream") as started:
        yield started


@pytest.fixture(scope="module")
def color_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose network looks at the middle of a picture, as its recipe says, and names its colour."""
    folder = tmp_path_factory.mktemp("page")
    recipe = json.dumps({"name": "tutorial", "distortions": {"crop_size": CROP}})
    publish(folder / "models", 1, color_bundle(properties=metadata(recipe=recipe)))
    server = start_process(folder / "models", folder / "server.log", (), {})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shipped_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The model that ships."""
    log = tmp_path_factory.mktemp("shipped") / "server.log"
    server = start_process(REPOSITORY / "models", log, ("--model", "cifar10"), {})
    yield server
    server.stop()


@pytest.fixture
def open_page(browser: Browser, color_server: Server) -> Iterator[OpenPage]:
    """Open the page of a server, the one above unless another is given; it must keep its own policy."""
    contexts = []

    def open_(server: Server = color_server, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.on("console", lambda message: violations.append(message.text) if "Policy" in message.text else None)
        response = page.goto(server.url)
        assert response is not None
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
        return page

    violations: list[str] = []
    yield open_
    for context in contexts:
        context.close()
    assert violations == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The page of the server above, once it knows the model."""
    opened = open_page()
    expect(opened.locator("#facts")).to_contain_text("cifar10, version 1")
    return opened


@pytest.fixture(scope="module")
def patient_page(browser: Browser, color_server: Server) -> Iterator[Page]:
    """One page for many pictures."""
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(color_server.url)
    expect(opened.locator("#facts")).to_contain_text("cifar10, version 1")
    yield opened
    context.close()


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect as expect_that

    return expect_that(locator)


def payload(name: str, content: bytes, mime_type: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": content}


def drop(page: Page, *files: FilePayload) -> None:
    described = [{**file, "buffer": "", "content": base64.b64encode(file["buffer"]).decode()} for file in files]
    transfer = page.evaluate_handle(TRANSFER, [{k: v for k, v in file.items() if k != "buffer"} for file in described])
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def canvas(page: Page, name: str) -> np.ndarray[Any, Any]:
    height, width, *data = page.evaluate(PIXELS, name)
    return np.array(data, np.int32).reshape(height, width, 4)[..., :3]


def test_a_picked_picture_is_answered(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose pictures").click()
    assert chooser.value.is_multiple()
    chooser.value.set_files(payload("red.png", RED))
    expect(page.get_by_role("heading", name="red, 100.0 % sure")).to_be_visible()
    expect(page.locator("#remark")).to_contain_text("by cifar10 version 1. In its test it recognized 82.5 % of this")
    expect(page.get_by_role("row", name="green 0.0 %")).to_be_visible()
    expect(page.get_by_role("img", name="red.png, as the network sees it")).to_be_visible()
    expect(page.locator("#announcement")).to_have_text("red.png: red, 100.0 % sure.")
    expect(page.locator("#list")).to_be_hidden()
    expect(page.locator("#window")).to_be_visible()


def test_a_pasted_picture_is_answered(open_page: OpenPage) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(COPY, base64.b64encode(BLUE).decode())
    page.keyboard.press("Control+V")
    expect(page.locator("#verdict")).to_have_text("blue, 100.0 % sure")
    page.evaluate("navigator.clipboard.writeText('no picture')")
    page.keyboard.press("Control+V")
    expect(page.get_by_role("alert")).to_have_text("There is no picture in the clipboard.")


def test_each_of_several_dropped_pictures_has_its_answer(page: Page, color_server: Server) -> None:
    broken = payload("broken.png", RED[:60])
    drop(page, payload("one.png", RED), payload("two.png", GREEN), broken, payload("three.png", BLUE))
    answers = page.get_by_role("list", name="Answers").get_by_role("button")
    expect(answers).to_have_text(
        ["red, 100.0 %one.png", "green, 100.0 %two.png", "No answerbroken.png", "blue, 100.0 %three.png"]
    )
    expect(page.locator("#announcement")).to_have_text("3 of 4 pictures answered.")
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")
    answers.nth(3).click()
    expect(page.locator("#verdict")).to_have_text("blue, 100.0 % sure")
    expect(answers.nth(3)).to_have_attribute("aria-current", "true")
    answers.nth(2).click()
    expect(page.locator("#problem")).to_have_text(color_server.post(RED[:60]).json()["detail"])


def test_no_more_than_twenty_are_asked_about(page: Page) -> None:
    drop(page, *[payload(f"{number}.png", GREEN) for number in range(23)])
    expect(page.locator("#announcement")).to_have_text("20 of 20 pictures answered.")
    expect(page.get_by_role("alert")).to_have_text("Of 23 pictures the first 20 are looked at.")


def test_a_question_that_is_broken_off_leaves_the_picture_to_the_next(patient_page: Page) -> None:
    assert patient_page.evaluate(BREAK_OFF) == ["waiting", ""]


def test_the_keyboard_is_enough(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Tab")
        expect(page.get_by_label("Choose pictures")).to_be_focused()
        ring = "getComputedStyle(document.querySelector('label[for=pick]')).outlineStyle"
        assert page.evaluate(ring) == "solid"
        page.keyboard.press("Enter")
    chooser.value.set_files([payload("one.png", RED), payload("two.png", GREEN)])
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Camera")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="two.png")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_have_text("green, 100.0 % sure")


def test_the_servers_sentence_is_shown_as_it_is(page: Page, color_server: Server) -> None:
    for content in (b"no picture", b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", RED[:60]):
        page.set_input_files("#pick", payload("notes.txt", content, "text/plain"))
        sentence = color_server.post(content, Content_Type="application/octet-stream").json()["detail"]
        expect(page.get_by_role("alert")).to_have_text(sentence)
        expect(page.locator("#verdict")).to_have_text("No answer")
        expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_server_that_is_down_is_told_and_may_come_back(
    open_page: OpenPage, start_server: StartServer, models: Path
) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    page = open_page(server)
    server.stop()
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.get_by_role("alert")).to_have_text("The server does not answer; is it still running?")
    start_server("--port", str(server.port))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")


def test_a_server_without_a_model_is_told_until_it_has_one(
    open_page: OpenPage, start_server: StartServer, models: Path
) -> None:
    server = start_server()
    page = open_page(server)
    sentence = server.get("/readyz").json()["detail"]
    expect(page.locator("#model")).to_have_text(f"{sentence} Asking again every 2 seconds.")
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.get_by_role("alert")).to_have_text(sentence)
    publish(models, 1, color_bundle())
    expect(page.locator("#model")).to_contain_text("cifar10, version 1: right about 82.5 % of 10,000 test pictures")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")


def test_a_key_is_asked_for_where_the_server_wants_one(
    open_page: OpenPage, start_server: StartServer, models: Path
) -> None:
    publish(models, 1, color_bundle())
    page = open_page(start_server("--protect-metrics", SERVING_API_KEY="a-key-that-is-long-enough"))
    expect(page.locator("#model")).to_contain_text("needs an API key")
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.get_by_role("alert")).to_contain_text("needs an API key")
    page.get_by_label("API key").fill("another-key-long-enough")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("needs an API key")
    page.get_by_label("API key").fill("a-key-that-is-long-enough")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")
    expect(page.locator("#model")).to_contain_text("cifar10, version 1")
    expect(page.get_by_label("API key")).to_be_hidden()


def test_a_new_version_is_told_with_the_first_answer_from_it(
    open_page: OpenPage, start_server: StartServer, models: Path
) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    page = open_page(server)
    expect(page.locator("#facts")).to_contain_text("cifar10, version 1")
    names = ("<b>rouge</b>", '"vert"', "bleu")
    publish(models, 2, color_bundle(properties=metadata(names, eval_accuracy="0.9")))
    server.wait_for(lambda: server.get("/readyz").json()["model"]["version"] == 2)
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.locator("#verdict")).to_have_text("<b>rouge</b>, 100.0 % sure")
    expect(page.locator("#facts")).to_contain_text("cifar10, version 2")
    expect(page.locator("#model")).to_contain_text("90.0 %")
    expect(page.locator("#samples")).to_be_hidden()


def test_a_model_is_chosen_where_there_are_several(
    open_page: OpenPage, start_server: StartServer, models: Path
) -> None:
    publish(models, 1, color_bundle())
    publish(models, 2, color_bundle(order=(2, 1, 0)))
    french = metadata(("rouge", "vert", "bleu"), eval_accuracy="0.5")
    publish(models, 5, color_bundle(height=48, width=64, properties=french), name="french")
    server = start_server()
    server.wait_for(lambda: len(server.get("/models").json()) == 2)
    page = open_page(server)
    choice = page.get_by_label("Model", exact=True)
    first = ["cifar10, version 2 (newest), 82.5 %", "cifar10, version 1, 82.5 %"]
    expect(choice.get_by_role("option")).to_have_text([*first, "french, version 5 (newest), 50.0 %"])
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.locator("#verdict")).to_have_text("blue, 100.0 % sure")
    choice.select_option(index=1)
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")
    expect(page.locator("#remark")).to_contain_text("by cifar10 version 1.")
    expect(page.locator("#facts")).to_contain_text("cifar10, version 1")
    choice.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#verdict")).to_have_text("rouge, 100.0 % sure")
    expect(page.locator("#facts")).to_contain_text("french, version 5")
    expect(page.locator("#fitted-caption")).to_contain_text("64\u00a0\u00d7\u00a048")
    assert canvas(page, "fitted").shape == (48, 64, 3)
    expect(page.locator("#command")).to_contain_text("/predict?model=french'")
    shutil.rmtree(models / "french")
    server.wait_for(lambda: len(server.get("/models").json()) == 1)
    page.set_input_files("#pick", payload("green.png", GREEN))
    expect(page.get_by_role("alert")).to_have_text("There is no model 'french'; there are: cifar10.")
    expect(choice.get_by_role("option")).to_have_text(first)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdict")).to_have_text("green, 100.0 % sure")


def test_a_single_model_is_no_choice(page: Page) -> None:
    expect(page.get_by_label("Model", exact=True)).to_be_hidden()


def test_a_key_may_come_before_a_picture(open_page: OpenPage, start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    page = open_page(start_server("--protect-metrics", SERVING_API_KEY="a-key-that-is-long-enough"))
    page.get_by_label("API key").fill("a-key-that-is-long-enough")
    page.keyboard.press("Enter")
    expect(page.locator("#model")).to_contain_text("cifar10, version 1")
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")


def smooth(height: int, width: int, channels: int = 3) -> Image.Image:
    """A picture of gentle colours, as photographs are: sharp noise shows in which order a filter rounds."""
    rough = np.random.default_rng(7).integers(40, 216, (6, 6, channels), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


def turned() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encode(smooth(80, 120), "JPEG", quality=98, exif=exif.tobytes())


@pytest.mark.parametrize(
    ("content", "tolerance"),
    [
        (encode(smooth(32, 32)), 0),
        (encode(smooth(45, 67)), 1),
        (encode(smooth(190, 40)), 1),
        (encode(smooth(7, 5)), 1),
        (encode(smooth(1, 50)), 1),
        (encode(smooth(300, 320, 4)), 3),
        (encode(smooth(50, 50).convert("P", palette=Image.Palette.ADAPTIVE), "GIF"), 2),
        (encode(smooth(70, 50).convert("L"), "WEBP", lossless=True), 1),
        (turned(), 3),
        (encode(smooth(1900, 2600), "JPEG"), 3),
    ],
    ids=["exact", "wide", "tall", "tiny", "line", "transparent", "palette", "grey", "turned", "large"],
)
def test_what_the_network_sees_is_what_the_server_makes(
    patient_page: Page, content: bytes, tolerance: int, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    patient_page.set_input_files("#pick", payload(name, content))
    expect(patient_page.locator("#announcement")).to_contain_text(f"{name}: ")
    fitted = decode_picture(content, (32, 32), 40_000_000).astype(np.int32)
    assert np.abs(canvas(patient_page, "fitted") - fitted).max() <= tolerance
    margin = (32 - CROP) // 2
    middle = fitted[margin : margin + CROP, margin : margin + CROP]
    assert np.abs(canvas(patient_page, "seen") - middle).max() <= tolerance


def test_the_servers_share_of_the_time_is_told_where_it_says_so(page: Page) -> None:
    def add_timing(route: Route) -> None:
        response = route.fetch()
        route.fulfill(
            response=response, headers=response.headers | {"Server-Timing": 'decode;dur=0.5, total;dur="1.5"'}
        )

    page.route("**/predict", add_timing)
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.locator("#remark")).to_contain_text(" ms, 1.5 ms of it in the server, by cifar10 version 1.")


def test_a_proxys_own_page_is_told_by_its_status(page: Page) -> None:
    page.route("**/predict", lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.get_by_role("alert")).to_have_text("The server answered with status 502 Bad Gateway.")
    page.unroute("**/predict")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdict")).to_have_text("red, 100.0 % sure")


def widen(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 24


def test_a_model_of_many_classes_and_of_another_size(
    open_page: OpenPage, start_server: StartServer, models: Path
) -> None:
    names = tuple(f"class {number}" for number in range(24))
    bundle = color_bundle(order=(0, 1, 2) * 8, height=48, width=64, properties=metadata(names), change=widen)
    publish(models, 1, bundle)
    page = open_page(start_server())
    page.set_input_files("#pick", payload("red.png", RED))
    expect(page.locator("#verdict")).to_contain_text("sure")
    expect(page.locator("#answer").get_by_role("row")).to_have_count(10)
    expect(page.locator("#card").get_by_role("row")).to_have_count(10)
    page.locator("#answer").get_by_text("The other 14 classes").click()
    expect(page.locator("#answer").get_by_role("row")).to_have_count(24)
    expect(page.locator("#seen-caption")).to_have_text("What the network sees: all of it")
    assert np.abs(canvas(page, "seen") - decode_picture(RED, (48, 64), 40_000_000)).max() <= 1
    box = page.locator("#seen").bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(64 / 48, abs=0.02)


@pytest.mark.parametrize("width", [360, 1280])
def test_classes_of_any_name(open_page: OpenPage, start_server: StartServer, models: Path, width: int) -> None:
    recipe = {"name": "fast", "distortions": [{"flip": True}, {"shift": 2}], "widths": [64, 256]}
    tested = {name: 0.75 for name in ODD_NAMES if name != "constructor"}
    stated = metadata(ODD_NAMES, recipe=json.dumps(recipe), eval_per_class_accuracy=json.dumps(tested))
    publish(models, 1, brightness_bundle(stated, side=64))
    page = open_page(start_server(), viewport={"width": width, "height": 900})
    expect(page.locator("#model")).to_contain_text(f"It knows {' '.join(ODD_NAMES[0].split())} , ")
    expect(page.locator("#model")).to_contain_text(f" and {len(ODD_NAMES) - 4} more.")
    page.get_by_text("Recipe and libraries").click()
    expect(page.locator("#recipe")).to_contain_text('{"flip":true}, {"shift":2}')
    expect(page.locator("#recipe")).to_contain_text("64, 256")
    levels = [round(255 * number / (len(ODD_NAMES) - 1)) for number in range(len(ODD_NAMES))]
    drop(page, *[payload(f"{number}.png", encode(flat((level,) * 3))) for number, level in enumerate(levels)])
    expect(page.locator("#announcement")).to_contain_text(f"{len(ODD_NAMES)} of {len(ODD_NAMES)} pictures answered.")
    answers = page.get_by_role("list", name="Answers").get_by_role("button")
    for number, name in enumerate(ODD_NAMES):
        answers.nth(number).click()
        expect(page.locator("#verdict bdi")).to_have_text(name)
        assert page.locator("#verdict bdi").text_content() == name
        expect(page.locator("#remark")).to_contain_text("by cifar10 version 1.")
        assert ("In its test" in (page.locator("#remark").text_content() or "")) == (name in tested)
        for line in (page.locator("#verdict"), answers.nth(number).locator("strong")):
            assert line.evaluate(ENDS_WITH_NUMBER), name
        top = page.locator("#classes tr.top").bounding_box()
        assert top
        assert top["height"] < 60
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    expect(page.locator("#window")).to_be_hidden()
    assert canvas(page, "seen").shape == (64, 64, 3)


def test_a_thousand_classes_and_a_large_picture(open_page: OpenPage, start_server: StartServer, models: Path) -> None:
    names = tuple(f"class {number} of a thousand" for number in range(1000))
    recipe = json.dumps({"name": "accurate", "distortions": {"crop_size": 224}})
    publish(models, 1, brightness_bundle(metadata(names, recipe=recipe), side=224))
    page = open_page(start_server(), viewport={"width": 1280, "height": 900})
    expect(page.locator("#model")).to_contain_text(", class 5 of a thousand and 994 more.")
    picture = encode(smooth(500, 700))
    page.set_input_files("#pick", payload("large.png", picture))
    expect(page.locator("#verdict")).to_contain_text("of a thousand, ")
    expect(page.get_by_text("The other 990 classes")).to_have_count(2)
    expect(page.locator("#facts")).to_contain_text("224\u00a0\u00d7\u00a0224 pixels")
    expect(page.locator("#window")).to_be_hidden()
    assert np.abs(canvas(page, "seen") - decode_picture(picture, (224, 224), 40_000_000)).max() <= 1
    assert page.evaluate("document.scrollingElement.scrollHeight") < 2500


def test_only_what_the_server_refuses_is_scaled_down(page: Page) -> None:
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request) if request.method == "POST" else None)
    heavy = encode(flat((210, 20, 20), (1500, 1200)), "BMP")
    wide = encode(Image.new("L", (8000, 6000), 255), "GIF")
    for content, reason in ((heavy, "5400054 bytes"), (wide, "8000 x 6000 pixels")):
        page.set_input_files("#pick", payload("large", content))
        expect(page.locator("#remark")).to_contain_text("Scaled down to 2048 pixels a side, for the server had said:")
        expect(page.locator("#remark")).to_contain_text(reason)
    page.set_input_files("#pick", payload("blue.png", BLUE))
    expect(page.locator("#verdict")).to_have_text("blue, 100.0 % sure")
    expect(page.locator("#remark")).not_to_contain_text("Scaled down")
    sent = [int(request.all_headers()["content-length"]) for request in requests]
    assert [sent[0], sent[2], sent[4]] == [len(heavy), len(wide), len(BLUE)]
    assert max(sent[1], sent[3]) < 5_000_000 < len(heavy)


def test_the_camera_takes_a_picture(open_page: OpenPage) -> None:
    page = open_page(permissions=["camera"])
    page.get_by_role("button", name="Camera").click()
    page.get_by_role("dialog", name="Camera").get_by_role("button", name="Take the picture").click()
    expect(page.locator("#name")).to_have_text("Photograph")
    expect(page.locator("#verdict")).to_contain_text("green")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.evaluate("document.getElementById('viewfinder').srcObject") is None


def test_a_camera_that_is_not_allowed_is_told(page: Page) -> None:
    page.get_by_role("button", name="Camera").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("does not let this page use the camera")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("size", [(360, 740), (1280, 900)], ids=["phone", "desktop"])
def test_on_any_screen(open_page: OpenPage, shipped_server: Server, size: tuple[int, int]) -> None:
    touch = size[0] < 500
    viewport = {"width": size[0], "height": size[1]}
    page = open_page(shipped_server, viewport=viewport, color_scheme="light", has_touch=touch, is_mobile=touch)
    expect(page.locator("#facts")).to_contain_text("cifar10, version")
    assert page.evaluate(SHIFTS) < GREATEST_SHIFT
    assert page.get_by_text("Photograph", exact=True).is_visible() == touch
    drop(page, *[payload(f"{'long' * 30}-{number}.png", RED) for number in range(3)])
    expect(page.locator("#list" if touch else "#verdict")).to_be_in_viewport()
    expect(page.locator("#announcement")).to_have_text("3 of 3 pictures answered.")
    page.get_by_text("Recipe and libraries").click()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= size[0]
    page.locator("footer").scroll_into_view_if_needed()
    answer, card = page.locator("#answer").bounding_box(), page.locator("#card").bounding_box()
    assert answer is not None
    assert card is not None
    assert answer["y"] + answer["height"] <= card["y"]
    paper, ink = brightness(page)
    assert paper > ink
    page.emulate_media(color_scheme="dark")
    paper, ink = brightness(page)
    assert paper < ink


def brightness(page: Page) -> list[int]:
    """How bright the page's background and its text are."""
    style = "(({ backgroundColor, color }) => [backgroundColor, color])(getComputedStyle(document.body))"
    colors = page.evaluate(style)
    return [sum(map(int, color.removeprefix("rgb(").removesuffix(")").split(", "))) for color in colors]


def test_the_model_that_ships_recognizes_the_drawings(open_page: OpenPage, shipped_server: Server) -> None:
    page = open_page(shipped_server)
    expect(page.locator("#facts")).to_contain_text("cifar10")
    drawings = page.get_by_role("button", name="Drawing of")
    recognized = 0
    for number in range(drawings.count()):
        drawing = drawings.nth(number)
        drawing.click()
        expect(page.locator("#name")).to_have_text(drawing.get_by_role("img").get_attribute("alt"))
        expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
        verdict = page.locator("#verdict").text_content() or ""
        recognized += verdict.startswith(f"{drawing.get_attribute('data-class')}, ")
    assert drawings.count() == 10
    assert recognized >= 9
