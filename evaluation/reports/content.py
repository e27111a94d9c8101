"""Content of a report: sections of paragraphs, facts, tables, charts and scans, without any HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_VALUES = 12  # of an attribute by which patients can be chosen


@dataclass(frozen=True)
class Paragraph:
    """Paragraph of plain text.

    Attributes:
        text: of it.
        kind: "text", "note" (small print) or "warning".
    """

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class FactList:
    """List of facts, each a heading and its value.

    Attributes:
        rows: (heading, value).
    """

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class TextTable:
    """Table of plain cells.

    Attributes:
        head: headings of the columns.
        rows: cells as they are printed; the first column names the row.
        caption: below it.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """Picture of vectors.

    Attributes:
        svg: element of the page, in its colours.
        caption: below it.
    """

    svg: str
    caption: str


@dataclass(frozen=True)
class PatientColumn:
    """Column of the table of patients.

    Attributes:
        name: heading.
        metric: name of the metric, by which columns are chosen; empty for one that is always there.
        decimals: of its numbers.
        attribute: True for a column of words, by which patients are chosen.
    """

    name: str
    metric: str = ""
    decimals: int = 3
    attribute: bool = False


@dataclass(frozen=True)
class PatientRow:
    """Row of the table of patients.

    Attributes:
        name: as it is shown.
        cells: of each column: a number, a word, or None.
        scan: number of the patient's first scan in the viewer, or None.
        remarks: such as "missed: ET".
    """

    name: str
    cells: Sequence[float | str | None]
    scan: int | None = None
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class PatientTable:
    """Table of patients that readers sort and filter, the worst first.

    Attributes:
        columns: of the cells.
        rows: patients.
        metrics: (name, heading) of the metrics that can be chosen.
        note: below it.
    """

    columns: Sequence[PatientColumn]
    rows: Sequence[PatientRow]
    metrics: Sequence[tuple[str, str]]
    note: str = ""

    @property
    def choices(self) -> dict[str, list[str]]:
        """Attribute -> its values, of those by which patients can be chosen."""
        columns = {column.name: place for place, column in enumerate(self.columns) if column.attribute}
        values = {name: {str(row.cells[place]) for row in self.rows if row.cells[place]} for name, place in columns.items()}
        return {name: sorted(each) for name, each in values.items() if 2 <= len(each) <= MOST_VALUES}


@dataclass(frozen=True)
class ScanViewer:
    """Viewer of scans.

    Attributes:
        scans: as of `volumes.packed`, with `name` and `caption`, the worst first.
        classes: names of the foreground classes.
        overlays: (name, heading) of what can be laid over a scan.
        module: JavaScript of NiiVue.
        note: what the volumes are.
    """

    scans: Sequence[dict[str, Any]]
    classes: Sequence[str]
    overlays: Sequence[tuple[str, str]]
    module: str
    note: str = ""


Block = Paragraph | FactList | TextTable | Chart | PatientTable | ScanViewer


@dataclass(frozen=True)
class Section:
    """Section of a report.

    Attributes:
        title: heading.
        blocks: in their order.
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """Content of a report.

    Attributes:
        title: of the page.
        subtitle: what it is a report of.
        sections: in their order; those without blocks are left out.
    """

    title: str
    subtitle: str
    sections: Sequence[Section] = field(default_factory=list)
