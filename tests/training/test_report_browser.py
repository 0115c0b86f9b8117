"""The pages in a real browser, on a phone and on a desktop, in light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.chromium import chromium
from training.dataset import Dataset
from training.report.comparison import compare
from training.report.comparison_page import write_comparison
from training.report.run_report import write_report
from training.run_directory import RunDirectory

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LEAST_TEXT = 9  # pixels

SMALLEST_TEXT = """() => Math.min(...[...document.querySelectorAll("svg text")].map((text) => {
  const scale = text.closest("svg").getScreenCTM().a;
  return parseFloat(getComputedStyle(text).fontSize) * scale;
}))"""
SPILLING = """() => [...document.querySelectorAll("svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 8 || box.right > frame.right + 8;
  }).map((text) => text.textContent);
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, learned: Path, few_pictures: Dataset) -> dict[str, Path]:
    """A report of a real run, and a comparison of it with itself in another place."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [Path(shutil.copytree(learned, folder / place / "run")) for place in ("one", "another")]
    report = write_report(RunDirectory(runs[0]), few_pictures, torch.device("cpu"))
    return {"report": report, "comparison": write_comparison(compare(runs), folder / "comparison.html")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(360, 740), (1280, 900)], ids=["phone", "desktop"])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_on_any_screen(browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int], scheme: Any) -> None:
    address = pages[name].as_uri()
    complaints: list[str] = []
    requested: list[str] = []
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)

    assert complaints == []
    assert [url for url in requested if not url.startswith("data:")] == [address]
    assert page.evaluate("document.scrollingElement.scrollWidth") <= size[0]
    assert page.evaluate(SMALLEST_TEXT) >= LEAST_TEXT
    assert page.evaluate(SPILLING) == []
    colours = page.evaluate(
        "[document.body, document.querySelector('svg text')].map((each) => getComputedStyle(each))"
        ".map((style, number) => number ? style.fill : style.backgroundColor)"
    )
    paper, ink = (sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(", "))) for colour in colours)
    assert (paper > ink) == (scheme == "light")
    columns = page.evaluate("getComputedStyle(document.querySelector('.columns')).gridTemplateColumns").split()
    assert len(columns) == (1 if size[0] < 900 else 2)
    context.close()
