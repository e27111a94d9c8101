import io
import os
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.printable import PrintableStream, plain_cell, printable, printable_output, raw, safe_cell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nMüller 漢", "plain\ttext\nMüller 漢"),
        ("\x1b[2J\x07\r", "\\x1b[2J\\x07\\x0d"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("\x9b1m\u2028", "\\x9b1m\\u2028"),
        (os.fsdecode(b"scan\xff"), "scan\\xff"),
    ],
)
def test_control_characters_become_their_escapes(text, shown):
    assert printable(text) == shown


@given(st.text("=+-@\t\r'a1. ", max_size=6))
def test_no_cell_begins_as_a_formula_and_all_come_back(text):
    cell = safe_cell(text)
    assert plain_cell(cell) == text
    if cell[:1] in ("=", "@", "\t", "\r", "+", "-") and cell:
        float(cell)


def test_streams_of_a_block_are_printable_and_come_back(capsys):
    before = sys.stdout, sys.stderr
    with printable_output():
        print("\x1b[31mred")
        print("a\x00b", file=sys.stderr)
        assert raw(sys.stderr) is before[1]
    assert (sys.stdout, sys.stderr) == before
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("\\x1b[31mred\n", "a\\x00b\n")


def test_characters_that_the_stream_cannot_write_are_escaped():
    behind = io.BytesIO()
    stream = PrintableStream(io.TextIOWrapper(behind, encoding="ascii", write_through=True))
    stream.writelines(["Mü", "\n"])
    assert behind.getvalue() == b"M\\xfc\n"
    assert raw(SimpleNamespace()) == SimpleNamespace()
