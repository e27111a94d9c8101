"""Text, Markdown and CSV of a comparison; what stands in them is tested with the comparison."""

import csv
import io
import math
from dataclasses import replace

from common.tables import WIDTH, csv_text
from evaluation.tables.comparison import ScoredSegmentation, compare_scores
from evaluation.tables.comparison_table import CSV_COLUMNS, csv_rows, format_markdown, format_text
from tests.evaluation.tables.test_comparison import DICE, HD95, made, random


def compared():
    entries = [made(name, 5 * random(seed), keys=(DICE, HD95)) for seed, name in enumerate("abc")]
    return compare_scores(entries, [DICE, HD95])


def test_all_forms_have_a_row_for_each_structure_and_metric_and_a_column_for_each_set():
    found = compared()
    markdown = [line for line in format_markdown(found).splitlines() if line.startswith("| WT (region)")]
    text = [line for line in format_text(found).splitlines() if line.startswith("WT (region)")]
    assert len(markdown) == 2 * 2  # means and differences
    assert len(text) == 2 * 3  # the differences of two sets are wider than a terminal, so they stand in two tables
    assert max(map(len, format_text(found).splitlines())) <= WIDTH
    assert {line.count("|") for line in markdown[:2]} == {2 + 3 + 1}
    assert sum(line.count("*") for line in text) == 2  # a best one in each row of means
    assert all("[" in line for line in text)


def test_csv_has_a_heading_and_cells_for_all_its_columns():
    rows = list(csv.reader(io.StringIO(csv_text(csv_rows(compared())))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert {len(row) for row in rows} == {len(CSV_COLUMNS)}
    assert [row[0] for row in rows[1:]] == ["mean"] * 6 + ["difference"] * 4
    assert {row[CSV_COLUMNS.index("change")] for row in rows if row[0] == "difference"} <= {"better", "worse", "equal"}


LESION = ("region", "WT", "lesion_dice@brats2026-gli")


def rule_that_gives_no_value():
    """A has no value in 6 of 8 patients, where B has a false positive; a third row is of fewer patients in both."""
    members, dice = {("region", "WT"): ("edema",)}, {f"p{n}": 0.5 + n / 100 for n in range(8)}
    entries = [
        ScoredSegmentation(name, "patient", {DICE: dice, LESION: {f"p{n}": first if n < 6 else 0.8 for n in range(8)}}, members)
        for name, first in (("A", math.nan), ("B", 0.0))
    ]
    return entries


def test_a_value_in_one_set_alone_makes_a_difference_neither_equal_nor_tested():
    found = compare_scores(rule_that_gives_no_value(), [DICE, LESION])
    pair = found.differences[LESION][0]
    assert (pair.paired.n, pair.paired.mean, pair.paired.p, pair.one_sided) == (2, 0, None, 6)
    text = format_text(found)
    (row,) = [line for line in text.splitlines() if "lesion Dice" in line and "alone" in line]
    assert row.endswith("+0.000, 6 in one set alone (n 2)")
    assert "B (8 patients)" in text
    assert "called neither better nor worse, and is not tested: lesion Dice, brats2026-gli of WT (region) (B): 6." in " ".join(
        text.split()
    )
    rows = [dict(zip(CSV_COLUMNS, row, strict=True)) for row in csv_rows(found)[1:]]
    (cells,) = [row for row in rows if row["table"] == "difference" and row["score"] == LESION[2]]
    assert (cells["n"], cells["change"], cells["one_sided"], cells["p"]) == (2, "", 6, None)


def test_a_row_of_fewer_patients_than_the_head_has_its_number():
    entries = rule_that_gives_no_value()
    entries[1].values[LESION] = {name: value + 0.1 for name, value in entries[0].values[LESION].items()}
    text = format_text(compare_scores(entries, [DICE, LESION]))
    assert [line.endswith("better, not tested (n 2)") for line in text.splitlines() if "+0.100" in line] == [True]
    assert "alone" not in text


def test_cases_counted_with_the_worst_values_are_named():
    one, other = (made(name, random(seed)) for seed, name in enumerate("ab"))
    found = compare_scores([one, replace(other, missing={"p3": "missing prediction"})], [DICE])
    note = "Without usable prediction, counted with the worst value of every metric that has one: b: 1 case (p3)."
    assert note in " ".join(format_text(found).split())
    assert "Without usable" not in format_text(compare_scores([one, other], [DICE]))
