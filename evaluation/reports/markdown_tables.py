"""Markdown tables and notes of a comparison or a study, as blocks of a report."""

import re
from collections.abc import Iterator
from itertools import groupby

from evaluation.reports.content import Block, Paragraph, TextTable

CELLS = re.compile(r"(?<!\\)\|")  # a vertical bar inside a cell is escaped


def blocks(text: str) -> Iterator[Block]:
    """Blocks of a Markdown text: tables, paragraphs, and list items as notes; headings are left out."""
    for is_table, lines in groupby(text.splitlines(), key=lambda line: line.startswith("|")):
        if is_table:
            head, _, *rows = [_cells(line) for line in lines]
            yield TextTable(head, rows)
            continue
        for line in lines:
            if line.startswith("- "):
                yield Paragraph(line.removeprefix("- "), "note")
            elif line and not line.startswith("#"):
                yield Paragraph(line)


def _cells(line: str) -> list[str]:
    """Cells of a row, without the padding around them."""
    return [cell.strip().replace("\\|", "|").replace("<br>", "\n") for cell in CELLS.split(line.strip())[1:-1]]
