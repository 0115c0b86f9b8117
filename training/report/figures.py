"""Figures of matplotlib as SVG inside a page: its text and lines in the page's own font and colour, light or dark."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 400.0  # user units; the page scales the figure to its column
WIDE = 800.0  # of one that takes both columns

# Between 3:1 and 6:1 against the page's light and dark paper, and told apart by the colour-blind (after Okabe and Ito).
BLUE, ORANGE, GREEN, PURPLE, OCHRE, GREY = "#1f78b8", "#d55e00", "#00986f", "#b8649a", "#a87900", "#7f8790"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, OCHRE, GREY)

INK = "#010203"  # stands for the page's text colour, which a figure cannot know
TEXT = 11.5  # user units: more than 9 pixels where a figure is 328 pixels wide
ROW = 22.0  # user units for each class in a list of them
SHOWN_CLASSES = 30  # more do not fit in such a list
FAINT = 0.18  # opacity of what only helps to read

_JOINERS = "\u200c\u200d"  # within Persian words, and emoji of several

_STYLE: dict[Any, Any] = {
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a class may be called $x_1$
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "path.simplify_threshold": 0.2,
}

_NAMESPACE = re.compile(r"\{[^}]*\}")
_NUMBER = re.compile(r"-?\d+\.\d{2,}")


def drawn(name: str, alternative: str, height: float, draw: Callable[[Figure], None], width: float = WIDTH) -> Markup:
    """An <svg> element, the same for the same drawing.

    `name` is the figure's own in its page: ids are made from it. `alternative` is for who cannot see it. Width and
    height are in user units, of which text is `TEXT` high.
    """
    content = io.StringIO()
    with rc_context(_STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has the fonts
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        draw(figure)
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(content.getvalue(), alternative)


def grid(axes: Axes, axis: str) -> None:
    """Faint lines behind the data, at the ticks of one axis, "x" or "y", or "both"."""
    axes.set_axisbelow(True)
    axes.grid(axis=axis, color=INK, alpha=FAINT, linewidth=0.7)  # type: ignore[arg-type]
    axes.tick_params(length=0)


def shortened(name: str, columns: int = 18) -> str:
    """A name that fits beside an axis; wide characters count twice."""
    name = "".join(each if each.isprintable() or each in _JOINERS else "\N{REPLACEMENT CHARACTER}" for each in name)
    widths = [1 + (unicodedata.east_asian_width(character) in "WF") for character in name]
    if sum(widths) <= columns:
        return name
    kept = 0
    while sum(widths[: kept + 1]) < columns:
        kept += 1
    return name[:kept].rstrip() + "…"


def _inline(document: str, alternative: str) -> Markup:
    """What an HTML page needs of an SVG document."""
    root = ElementTree.fromstring(document)
    view_box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": view_box, "role": "img", "aria-label": alternative})
    for style in root.findall("./{*}defs[{*}style]"):
        root.remove(style)
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib.update({_NAMESPACE.sub("", key): element.attrib.pop(key) for key in list(element.attrib)})
        _simplify(element)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _simplify(element: ElementTree.Element) -> None:
    attributes = element.attrib
    if element.tag == "g":
        attributes.pop("id", None)  # the same in every figure, and nothing refers to it
    if "d" in attributes:
        attributes["d"] = " ".join(_NUMBER.sub(lambda match: f"{float(match[0]):.1f}", attributes["d"]).split())
    if "style" in attributes:
        rules = [rule.strip() for rule in attributes["style"].replace(INK, "currentColor").split(";")]
        attributes["style"] = "; ".join(rule for rule in rules if not rule.startswith("font-family"))
    if element.text is not None and not element.text.strip():
        element.text = None
    element.tail = None
