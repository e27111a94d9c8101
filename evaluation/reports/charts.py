"""Charts of a report: figures as vectors in the colours of the page, light or dark."""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from evaluation.figures import style
from evaluation.reports.content import Chart

COLOURS = {
    "#000000": "currentColor",
    "#ffffff": "var(--paper)",
    "#dddddd": "var(--grid)",
    "#555555": "var(--soft)",
    "#333333": "currentColor",
    "#777777": "var(--soft)",
    "#f4f4f4": "var(--shade)",
    "#0072b2": "var(--blue)",  # too dark on a dark page
}
"""Colours of figures that follow the page's, by variables of report.css."""
PIXELS = 1.4  # of a screen for a point of a figure, whose letters have 7 or 8 points


def chart(draw: Callable[[Path], list[Path]], caption: str) -> Chart:
    """Draw a figure for the page.

    Args:
        draw: (path without suffix) -> files, as the functions of `evaluation.figures` are.
        caption: below it; it says what the figure shows to readers who do not see it, too.
    """
    with TemporaryDirectory() as folder, style.formats(".svg"):
        (file,) = draw(Path(folder) / "chart")
        return Chart(themed(file.read_text(encoding="utf-8"), caption), caption)


def themed(svg: str, label: str) -> str:
    """SVG element of a page, from a file of matplotlib.

    Args:
        svg: the file's text.
        label: description for readers who do not see it.
    """
    text = svg[svg.index("<svg") :]
    number = crc32(text.encode())  # names of parts differ from those of other charts in the page
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)  # its style would be that of the whole page
    text = re.sub(r'\bid="', f'id="c{number}-', text)
    text = re.sub(r'(xlink:href="#|href="#|url\(#)(?!c\d+-)', rf"\g<1>c{number}-", text)
    for colour, variable in COLOURS.items():
        text = re.sub(colour, variable, text, flags=re.IGNORECASE)
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    text = re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s*\n\s*", " ", text))  # as exact as a screen
    opening = text[: text.index(">")]
    view = re.search(r'viewBox="[^"]*"', opening)
    words = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    points = re.search(r'width="([\d.]+)pt"', opening)
    width = f' width="{PIXELS * float(points[1]):.0f}"' if points else ""
    names = f'role="img" aria-label="{words}" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {view[0] if view else ""} {names} fill="currentColor"{width}' + text[text.index(">") :]
