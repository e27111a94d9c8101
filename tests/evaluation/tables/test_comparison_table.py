"""Text, Markdown and CSV of a comparison; what stands in them is tested with the comparison."""

import csv
import io

from common.tables import csv_text
from evaluation.tables.comparison import compare_scores
from evaluation.tables.comparison_table import CSV_COLUMNS, csv_rows, format_markdown, format_text
from tests.evaluation.tables.test_comparison import DICE, HD95, made, random


def compared():
    entries = [made(name, 5 * random(seed), keys=(DICE, HD95)) for seed, name in enumerate("abc")]
    return compare_scores(entries, [DICE, HD95])


def test_all_forms_have_a_row_for_each_structure_and_metric_and_a_column_for_each_set():
    found = compared()
    markdown = [line for line in format_markdown(found).splitlines() if line.startswith("| WT (region)")]
    text = [line for line in format_text(found).splitlines() if line.startswith("WT (region)")]
    assert len(markdown) == len(text) == 2 * 2  # means and differences
    assert {line.count("|") for line in markdown[:2]} == {2 + 3 + 1}
    assert sum(line.count("*") for line in text) == 2  # a best one in each row of means
    assert all("[" in line for line in text)


def test_csv_has_a_heading_and_cells_for_all_its_columns():
    rows = list(csv.reader(io.StringIO(csv_text(csv_rows(compared())))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert {len(row) for row in rows} == {len(CSV_COLUMNS)}
    assert [row[0] for row in rows[1:]] == ["mean"] * 6 + ["difference"] * 4
    assert {row[CSV_COLUMNS.index("change")] for row in rows if row[0] == "difference"} <= {"better", "worse", "equal"}
