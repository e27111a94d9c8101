"""Style of all figures: colours, markers, sizes, and the way they are written.

Colours are those of Okabe and Ito (2008), which colour-blind readers distinguish; lines, markers and lightness differ too,
so that a black-and-white print can be read. Figures are objects of their own: there is no global state of pyplot.
"""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.files import write_serialised, write_text
from common.tables import csv_text
from data_prep.grid.slice_pictures import CLASS_COLOURS as CLASS_COLOURS
from evaluation.tables.run_names import families

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.2  # inches: two columns of a journal
DPI = 300
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
RUN_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
VARIANT_LINES: tuple[Any, ...] = ("solid", (0, (3, 1.5)), (0, (1, 1)))  # of models of one family
VARIANT_FILLS = (1.0, 0.0, 0.4)  # how much of their colour their markers have, white for the rest
LEGEND_LETTERS = 60  # of a name in a line of a legend
LETTER = 0.06  # inches of a legend's letter, and of all else that an entry has
HANDLE = 0.55
CLASS_LINES = ("solid", (0, (3, 1)), "solid", (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)))
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.titlesize": 9,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # TrueType, as journals require; drawing programs can edit its text
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "svg.hashsalt": "figure",  # else names of parts differ from one call to the next
}
_ids: ContextVar[bool] = ContextVar("ids", default=True)
_formats: ContextVar[tuple[str, ...]] = ContextVar("formats", default=(".pdf", ".png", ".csv"))


@contextmanager
def style() -> Iterator[None]:
    """Draw in the toolkit's style inside the block; nothing outside it changes."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def run_styles(names: Sequence[str]) -> list[dict[str, Any]]:
    """Look of models in a figure, as arguments of `Axes.plot`: colour, marker and its fill, and line.

    A family of models (`naming.families`) shares colour and marker; its variants differ in line and fill. Where a family has
    more than three, no model shares anything.
    """
    from matplotlib.colors import to_rgb

    places = families(names)
    if any(variant >= len(VARIANT_FILLS) for _, variant in places):
        places = [(index, 0) for index in range(len(names))]
    styles: list[dict[str, Any]] = []
    for family, variant in places:
        colour, fill = RUN_COLOURS[family % len(RUN_COLOURS)], VARIANT_FILLS[variant]
        styles.append(
            {
                "color": colour,
                "marker": RUN_MARKERS[family % len(RUN_MARKERS)],
                "markerfacecolor": tuple(1 - fill * (1 - part) for part in to_rgb(colour)),
                "linestyle": VARIANT_LINES[variant],
            }
        )
    return styles


def legend_below(figure: "Figure", handles: Sequence[Any], names: Sequence[str]) -> None:
    """Put a legend below a figure: long names folded, and no more columns than it has room for."""
    folded = [textwrap.fill(name, LEGEND_LETTERS) for name in names]
    longest = max(len(line) for name in folded for line in name.splitlines())
    room = max(1, int((figure.get_figwidth() - 0.2) / (HANDLE + LETTER * longest)))
    rows = -(-len(folded) // room)
    figure.legend(handles, folded, loc="outside lower center", ncols=-(-len(folded) // rows))  # columns of equal length


def new_figure(height: float, width: float = WIDTH, gaps: tuple[float, float] = (0.04, 0.04)) -> "Figure":
    """An empty figure whose parts keep clear of each other. Call it inside `style()`.

    Args:
        height, width: inches.
        gaps: inches kept free beside and above each part.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=gaps[0], h_pad=gaps[1], wspace=0.01, hspace=0.01)
    return figure


@contextmanager
def ids(shown: bool) -> Iterator[None]:
    """Draw figures with or without the ids of patients and cases inside the block."""
    token = _ids.set(shown)
    try:
        yield
    finally:
        _ids.reset(token)


def named(identified: str, otherwise: str = "") -> str:
    """Text with an id; inside `ids(False)` the other one."""
    return identified if _ids.get() else otherwise


@contextmanager
def formats(*suffixes: str) -> Iterator[None]:
    """Write figures in other formats inside the block, such as .svg for a web page."""
    token = _formats.set(suffixes)
    try:
        yield
    finally:
        _formats.reset(token)


def save(figure: "Figure", path: Path, numbers: Sequence[Sequence[Any]] = ()) -> list[Path]:
    """Write a figure as PDF (vectors, for a paper) and PNG (300 dpi), and its numbers as CSV, each whole or not at all.

    Inside `formats` it is written in those.

    Args:
        figure: what to write.
        path: the file without suffix.
        numbers: rows of the table of what is drawn, the heading first; none for pictures.

    Returns:
        The files written.
    """
    files = [path.with_name(f"{path.name}{suffix}") for suffix in _formats.get()]
    for file in files:
        if file.suffix != ".csv":
            save_as(figure, file)
        elif numbers:
            write_text(file, csv_text(numbers))
    return [file for file in files if numbers or file.suffix != ".csv"]


def save_as(figure: "Figure", path: Path, dpi: int = DPI) -> Path:
    """Write a figure in the format that the file's suffix names, whole or not at all; the same figure gives the same bytes."""
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix, {})
    if (layout := figure.get_layout_engine()) is not None:
        if figure.axes:
            shown, figure.dpi = figure.dpi, DPI  # letters are narrower in few pixels, and names would be cut
            layout.execute(figure)
            figure.dpi = shown
        figure.set_layout_engine(None)  # else matplotlib draws everything once more in order to lay it out
    clear = path.suffix == ".svg"  # a page has a background of its own
    write_serialised(
        path, lambda file: figure.savefig(file, format=path.suffix[1:], dpi=dpi, metadata=metadata, transparent=clear)
    )
    return path
