import csv
import io
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.errors import UserError
from common.input_files import TABLE_COLUMNS
from common.printable import plain_cell
from common.tables import (
    WIDTH,
    aligned,
    counted,
    csv_text,
    folded,
    for_terminal,
    formatted,
    latex,
    latex_of,
    markdown,
    markdown_rows,
    read_rows,
    score_column,
    wrapped,
)

cells = st.text("ab |-é", max_size=6)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=5)
)


def test_csv_has_six_decimals_and_empty_cells_for_what_is_unknown():
    assert csv_text([["a", "b", "c", "d"], [1 / 3, None, math.nan, 7]]) == "a,b,c,d\n0.333333,,,7\n"
    assert csv_text([[1 / 3]], decimals=None) == f"{1 / 3}\n"


@given(st.lists(st.lists(st.text(max_size=5), min_size=2, max_size=2), min_size=1))
@example([["", "\r"], ["a\r\n", "\n"]])
@example([["=1+1", "'@a"], ["-x", "-1.5"]])
def test_csv_reads_back_any_text(rows):
    text = csv_text(rows)
    assert [[*map(plain_cell, row)] for row in csv.reader(io.StringIO(text, newline=""))] == rows


def test_cells_that_a_spreadsheet_would_compute_are_escaped_and_read_back(tmp_path):
    cells = ["=1+1", "@SUM(1)", "+cmd", "-x", "'=1", "-1.5", "+2e3", "a=b"]
    path = tmp_path / "t.csv"
    path.write_text(csv_text([["name"], *([cell] for cell in cells)]))
    assert path.read_text().splitlines() == ["name", "'=1+1", "'@SUM(1)", "'+cmd", "'-x", "''=1", "-1.5", "+2e3", "a=b"]
    assert [row["name"] for row in read_rows(path)] == cells


@given(tables)
def test_columns_of_a_text_table_begin_at_one_place(rows):
    lines = aligned(rows)
    assert len(lines) == len(rows)
    start = 0
    for c in range(len(rows[0])):
        width = max(len(row[c]) for row in rows)
        for line, row in zip(lines, rows, strict=True):
            assert line[start : start + width].rstrip() == row[c].rstrip()
        start += width + 2


@given(tables)
def test_markdown_has_as_many_cells_in_each_line(rows):
    lines = markdown(rows).splitlines()
    assert len(lines) == len(rows) + 1
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(rows[0]) + 1}


def test_markdown_aligns_columns_to_the_right():
    assert markdown([["run", "n"], ["a", "10"]], right=[1]) == "| run |   n |\n| --- | --: |\n| a   |  10 |"


def test_notes_are_folded():
    lines = wrapped(["word " * 60, "short"])
    assert max(map(len, lines)) <= WIDTH
    assert lines[-1] == "short"
    path = "/a/folder/" + "BraTS-MET-00110-000-" * 8
    assert path in wrapped([f"a note on {path} and more"])


def test_a_number_and_its_noun():
    assert [counted(n, "patient") for n in (0, 1, 2)] == ["0 patients", "1 patient", "2 patients"]
    assert [counted(n, "patch") for n in (1, 2)] == ["1 patch", "2 patches"]
    assert [counted(2, noun) for noun in ("copy", "day", "class")] == ["2 copies", "2 days", "2 classes"]


def test_a_structures_column_has_no_blanks_or_hyphens():
    assert score_column("iou", "non-enhancing tumor") == "iou_non_enhancing_tumor"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_separators_marks_and_newlines_of_spreadsheets_are_read(tmp_path, separator, mark, newline):
    lines = [["id", "grade"], ["a", " II "], [], ['"b"', ""]]
    text = mark + newline.join(separator.join(cells) for cells in lines) + newline
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert read_rows(tmp_path / "t.csv") == [{"id": "a", "grade": "II"}, {"id": "b", "grade": ""}]


@pytest.mark.parametrize(
    "text", ["sep=;\r\nid;grade\r\na;II\r\n", '"sep=|"\nid|grade\na|II\n', "id,grade,,\na,II,,\n", "id,grade\na,II,,,\n"]
)
def test_what_excel_adds_to_a_table_is_left_out(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    assert read_rows(tmp_path / "t.csv") == [{"id": "a", "grade": "II"}]


def test_unicode_text_of_excel_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes("id\tname\r\na\tMüller\r\n".encode("utf-16"))
    assert read_rows(tmp_path / "t.csv") == [{"id": "a", "name": "Müller"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected different column names; received nothing"),
        ("a,a\n1,2\n", "line 1: expected different column names; received a, a"),
        ("a,,\n1,2,\n", "line 1: expected different column names; received a, "),
        ("sep=;\na;b\n1\n", "line 3: expected 2 cells, as in the header; received 1"),
        (",".join("a" * (TABLE_COLUMNS + 1)), f"expected a table of at most {TABLE_COLUMNS} columns; received more"),
        ("a,b\n1,2\n1,2,3\n", "line 3: expected 2 cells, as in the header; received 3"),
        ('a,b\n1,"2\n', "line 2: not a CSV table"),
    ],
)
def test_other_text_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_rows(tmp_path / "t.csv")


@given(tables, st.integers(0, 2))
def test_a_folded_table_has_every_cell_and_repeats_the_first_columns(rows, first):
    lines = folded(rows, first)
    text = " ".join(lines)
    assert all(cell.strip() in text for row in rows for cell in row)


def test_a_wide_table_is_folded_to_the_width_of_a_terminal():
    rows = [["", *(f"metric {number}" for number in range(12))], ["WT (region)", *["0.850 [0.700, 1.000]"] * 12]]
    lines = folded(rows)
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.startswith("WT (region)") for line in lines) == 3
    assert sum(line.count("0.850") for line in lines) == 12
    assert folded([["a", "b"]]) == ["a  b"]
    long = [["", "x" * 200]]
    assert folded(long) == aligned(long)


ROWS = [["", "Dice ↑", "HD95 (mm) ↓"], ["WT_1 & more", "**0.850 [0.700, 1.000]**", "5 %"]]


def test_a_latex_table_is_escaped_and_ruled():
    assert latex(ROWS) == (
        "\\begin{tabular}{lll}\n\\toprule\n"
        " & Dice $\\uparrow$ & HD95 (mm) $\\downarrow$ \\\\\n\\midrule\n"
        "WT\\_1 \\& more & \\textbf{0.850 [0.700, 1.000]} & 5 \\% \\\\\n\\bottomrule\n\\end{tabular}\n"
    )


@given(st.text(max_size=8))
def test_no_cell_breaks_a_latex_table(text):
    line = latex([["a", "b"], [text, "c"]]).split("\\midrule\n")[1].split("\\bottomrule")[0]
    unescaped = line.replace("\\&", "").replace("\\%", "")
    assert unescaped.count("&") == 1
    assert "%" not in unescaped


def test_markdown_becomes_latex_with_its_words_as_comments():
    text = f"# study\n\n{markdown(ROWS)}\n\n- a note\n"
    assert latex_of(text) == f"% # study\n\n{latex(ROWS)}\n% - a note\n"


def test_a_table_has_four_forms():
    assert formatted(ROWS, "csv") == ',Dice ↑,HD95 (mm) ↓\nWT_1 & more,"0.850 [0.700, 1.000]",5 %\n'
    assert formatted(ROWS, "latex", "a note").endswith("\\end{tabular}\n% a note\n")
    assert formatted(ROWS, "markdown", "a note").splitlines()[2].startswith("| WT_1 & more | **0.850")
    text = formatted(ROWS, "text", "a note")
    assert "**" not in text
    assert text.endswith("\n\na note\n")


def test_markdown_is_read_and_shown_on_a_terminal():
    rows = [["", "a | b"], ["x", "**1**"]]
    assert markdown_rows(markdown(rows).splitlines()) == rows
    shown = for_terminal(f"# title\n\n{markdown(rows)}\n\n- {'word ' * 40}\n")
    assert shown.splitlines()[:4] == ["# title", "", "   a | b", "x  *1"]
    assert max(map(len, shown.splitlines())) <= WIDTH
