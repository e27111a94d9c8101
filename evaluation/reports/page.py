"""Page of a report: one HTML file with its style, scripts, charts and scans, which needs no network."""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

from data_prep.grid.slice_pictures import CLASS_COLOURS
from evaluation.reports.content import Report, ScanViewer

PARTS = Path(__file__).parent / "page"  # template, style and scripts
DIFFERENT = (("in both", "#009E73"), ("missed", "#CC79A7"), ("too much", "#E69F00"))
"""Kinds of voxels where annotation and prediction are compared, with their colours."""


def html(report: Report, footer: str = "") -> str:
    """HTML text of a report.

    Args:
        report: its content.
        footer: plain text of the last line.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PARTS), autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {
        "slug": slug,
        "kind": _kind,
        "shown": shown,
        "cell": _cell,
        "json": lambda value: Markup(script_json(value)),
    }
    viewers = [block for section in report.sections for block in section.blocks if isinstance(block, ScanViewer)]
    environment.globals |= {
        "report": report,
        "footer": footer,
        "css": Markup(_part("report.css")),
        "script": Markup(_part("report.js")),
        "viewer_script": Markup(_part("viewer.js")),
        "niivue": Markup(_compressed(viewers[0].module)) if viewers else "",
        "colours": CLASS_COLOURS,
        "different": DIFFERENT,
        "settings": _settings(viewers[0]) if viewers else {},
    }
    return environment.get_template("report.html.jinja").render()


def slug(title: str) -> str:
    """Name of a section in addresses, such as what-was-done."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def shown(cell: float | str | None, decimals: int) -> str:
    """Cell of a table as it is read."""
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else f"{cell:.{decimals}f}"


def script_json(value: Any) -> str:
    """JSON inside a script element, which no text in it can close."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _cell(text: str) -> str:
    """Cell of a table, bold where it is so in Markdown."""
    from markupsafe import Markup

    bold = re.fullmatch(r"\*\*(.*)\*\*", text)
    return Markup("<strong>{}</strong>").format(bold[1]) if bold else text


def _kind(block: object) -> str:
    return type(block).__name__


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _compressed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")


def _settings(viewer: ScanViewer) -> dict[str, Any]:
    """Settings of the viewer's script."""
    return {
        "scans": len(viewer.scans),
        "classes": list(viewer.classes),
        "colours": list(CLASS_COLOURS[: len(viewer.classes)]),
        "different": [colour for _, colour in DIFFERENT],
    }
