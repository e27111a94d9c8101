"""Markdown tables and notes of a comparison or a study, as blocks of a report."""

from collections.abc import Iterator
from itertools import groupby

from common.tables import markdown_rows
from evaluation.reports.content import Block, Paragraph, TextTable


def blocks(text: str) -> Iterator[Block]:
    """Blocks of a Markdown text: tables, paragraphs, and list items as notes; headings are left out."""
    for is_table, lines in groupby(text.splitlines(), key=lambda line: line.startswith("|")):
        if is_table:
            head, *rows = markdown_rows(list(lines))
            yield TextTable(head, rows)
            continue
        for line in lines:
            if line.startswith("- "):
                yield Paragraph(line.removeprefix("- "), "note")
            elif line and not line.startswith("#"):
                yield Paragraph(line)
