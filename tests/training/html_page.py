"""An HTML file as a reader's program sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})
_WITH_ADDRESS = frozenset({"src", "href", "xlink:href", "srcset", "poster", "data", "action"})
_STYLE_ADDRESS = re.compile(r"url\(\s*['\"]?([^)'\"]*)|@import\s+['\"]?([^;'\"]*)")


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None
    content: list[Element | str] = field(default_factory=list)

    def text(self) -> str:
        """With each run of white space, the no-break space too, as one space."""
        return " ".join("".join(part if isinstance(part, str) else part.text() for part in self.content).split())

    def all(self, tag: str) -> list[Element]:
        below = [part for part in self.content if isinstance(part, Element)]
        return [found for part in below for found in ([part] if part.tag == tag else []) + part.all(tag)]

    def rows(self) -> list[list[str]]:
        """The cells of a table, or of whatever holds one."""
        rows = self.all("tr")
        return [
            [part.text() for part in row.content if isinstance(part, Element) and part.tag in ("th", "td")]
            for row in rows
        ]


class Page(HTMLParser):
    """Fails where an element is not closed, or closed twice."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.root = self._open = Element("document", {}, None)
        self.feed(path.read_text())
        self.close()
        assert self._open is self.root, f"<{self._open.tag}> is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs}, self._open)
        assert len(element.attributes) == len(attrs), (tag, attrs)
        self._open.content.append(element)
        if tag not in VOID:
            self._open = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.tag == tag, f"</{tag}> inside <{self._open.tag}>"
        assert self._open.parent
        self._open = self._open.parent

    def handle_data(self, data: str) -> None:
        self._open.content.append(data)

    def all(self, tag: str) -> list[Element]:
        return self.root.all(tag)

    def elements(self) -> list[Element]:
        def below(element: Element) -> list[Element]:
            parts = [part for part in element.content if isinstance(part, Element)]
            return [found for part in parts for found in (part, *below(part))]

        return below(self.root)

    def text(self) -> str:
        (body,) = self.all("body")
        return body.text()

    def figure(self, title: str) -> Element:
        """The figure with this heading."""
        found = [each for each in self.all("figure") if any(head.text() == title for head in each.all("h3"))]
        assert len(found) == 1, f"{len(found)} figures are called {title}"
        return found[0]

    def section(self, title: str) -> Element:
        (found,) = [each for each in self.all("section") if each.all("h2")[0].text() == title]
        return found

    def part(self, title: str) -> Element:
        """What the heading of third degree is the heading of."""
        (found,) = [head.parent for head in self.all("h3") if head.text() == title]
        assert found
        return found

    def references(self) -> list[str]:
        """Every address in it, in attributes and styles."""
        addresses = [
            value for each in self.elements() for key, value in each.attributes.items() if key in _WITH_ADDRESS
        ]
        styles = [each.text() for each in self.all("style")]
        styles += [value for each in self.elements() for value in each.attributes.values()]
        matches = [match for style in styles for match in _STYLE_ADDRESS.finditer(style)]
        return addresses + [match[1] or match[2] for match in matches if not match[0].startswith("url(data:")]


def check_self_contained(page: Page) -> None:
    """It needs no other file, no network and no script, and whoever cannot see it hears what is in it."""
    for address in page.references():
        assert address.startswith(("data:image/", "#")), address
    assert not page.all("script")
    assert not [each for each in page.elements() if any(key.startswith("on") for key in each.attributes)]
    ids = [each.attributes["id"] for each in page.elements() if "id" in each.attributes]
    assert len(ids) == len(set(ids)), "two elements have the same id"
    targets = {address[1:] for address in page.references() if address.startswith("#")}
    assert targets <= set(ids), "something refers to what is not there"
    for image in page.all("img"):
        assert image.attributes["alt"]
    for drawing in page.all("svg"):
        assert drawing.attributes["role"] == "img"
        assert drawing.attributes["aria-label"]
    (document,) = page.all("html")
    assert document.attributes["lang"] == "en"
    levels = [int(each.tag[1]) for each in page.elements() if re.fullmatch("h[1-6]", each.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "a level is left out"
    for cell in page.all("th"):
        assert cell.attributes["scope"] in ("col", "row", "rowgroup")
