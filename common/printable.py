"""Escapes of text that comes from files: for terminals, and for spreadsheets that open our CSV.

Names, attributes, DICOM strings and errors of libraries may hold anything: sequences that move the cursor or hide lines, marks
that reverse the order of letters, and cells that a spreadsheet would take for a formula.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters but tab and line feed, marks of the direction of text, separators of lines, halves of characters."""
FORMULA = re.compile(r"'*[=+\-@\t\r]")  # at the beginning of a cell
QUOTE = "'"  # put before such a cell: spreadsheets show it, or take it as the mark of text


def printable(text: str) -> str:
    """Text with each control character as its escape, and so each byte of a name that is not UTF-8."""
    return CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # stands for a byte of a file's name
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def safe_cell(text: str) -> str:
    """Cell of a CSV file that no spreadsheet takes for a formula: one that begins with = + - @ gets an apostrophe in front.

    Numbers stay as they are. `plain_cell` is the inverse.
    """
    return QUOTE + text if FORMULA.match(text) and not _is_number(text) else text


def plain_cell(text: str) -> str:
    """Cell as it was before `safe_cell`."""
    return text[1:] if text.startswith(QUOTE) and FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


class PrintableStream:
    """Text stream whose text is made printable before another stream writes it.

    Args:
        stream: standard output or error.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text; characters that the stream's encoding lacks are escaped too."""
        shown = printable(text)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def raw(stream: TextIO) -> TextIO:
    """The stream behind a `PrintableStream`, for bars of progress, which move the cursor; any other stream is given back."""
    return stream.stream if isinstance(stream, PrintableStream) else stream


@contextmanager
def printable_output() -> Iterator[None]:
    """Standard output and error of a block print control characters as their escapes."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, PrintableStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
