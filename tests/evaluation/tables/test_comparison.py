from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from common.metrics.catalogue import METRICS, MISSED_MM
from common.metrics.statistics import FEWEST, INTERVAL, INTERVAL_NOTE
from evaluation.compare import repeated
from evaluation.tables.comparison import (
    Cell,
    ColumnHead,
    ScoredClassifier,
    ScoredSegmentation,
    common_keys,
    compare_classifiers,
    compare_scores,
    optimism_gaps,
    title,
)
from evaluation.tables.comparison_table import best_columns, csv_rows, format_markdown, format_text

DICE, IOU = ("region", "WT", "dice"), ("region", "WT", "iou")
HD95, VOLUME = ("region", "WT", "hd95"), ("region", "WT", "true_ml")
pairs_of_scores = st.tuples(st.floats(0, 1), st.floats(0, 1))
scores = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), pairs_of_scores, min_size=1, max_size=12)


def both_of(pairs):
    return {patient: pair[0] for patient, pair in pairs.items()}, {patient: pair[1] for patient, pair in pairs.items()}


def made(name, values, split="patient", keys=(DICE,), members=("edema",)):
    """Scores of patients p0, p1, ...; the same for each key."""
    table = {f"p{number}": value for number, value in enumerate(values)}
    return ScoredSegmentation(name, split, {key: dict(table) for key in keys}, {key[:2]: members for key in keys})


def paired(one, other, key=DICE):
    """The difference `one` minus `other` on the patients of both."""
    entries = [replace(made(name, []), values={key: each}) for name, each in (("one", other), ("other", one))]
    return compare_scores(entries, [key]).differences[key][0].paired


def random(seed, n=10, low=0.0):
    return low + (1 - low) * np.random.default_rng(seed).random(n)


@settings(max_examples=40, deadline=None)
@given(scores, st.randoms())
def test_the_order_of_patients_does_not_matter(pairs, shuffle):
    one, other = both_of(pairs)
    patients = list(pairs)
    shuffle.shuffle(patients)
    shuffled = {patient: one[patient] for patient in patients}
    assert paired(one, other) == paired(shuffled, other)


@settings(max_examples=40, deadline=None)
@given(scores)
def test_swapping_changes_the_sign(pairs):
    one, other = both_of(pairs)
    there, back = paired(one, other), paired(other, one)
    assert there.mean == pytest.approx(-back.mean)
    assert (there.n, there.p) == (back.n, pytest.approx(back.p))
    assert (there.low is None) == (back.low is None) == (there.n < FEWEST)
    if there.low is not None:
        assert (there.low, there.high) == (pytest.approx(-back.high, abs=1e-12), pytest.approx(-back.low, abs=1e-12))


@settings(max_examples=40, deadline=None)
@given(scores, st.floats(-2, 2))
def test_adding_a_constant_shifts_mean_and_interval(pairs, constant):
    one, other = both_of(pairs)
    before, after = paired(one, other, VOLUME), paired({p: v + constant for p, v in one.items()}, other, VOLUME)
    assert after.mean == pytest.approx(before.mean + constant, abs=1e-9)
    assert (before.low is None) == (after.low is None) == (before.n < FEWEST)
    if before.low is not None:
        assert after.low == pytest.approx(before.low + constant, abs=1e-9)
        assert after.high == pytest.approx(before.high + constant, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(scores)
def test_equal_scores_have_no_difference_and_p_1(pairs):
    one, _ = both_of(pairs)
    found = paired(one, dict(one))
    assert found.mean == 0
    assert found.p == (1 if len(one) >= 6 else None)


def test_patients_of_one_set_alone_are_left_out():
    found = paired({"a": 0.5, "b": 0.7, "x": 1.0}, {"a": 0.4, "b": 0.4, "y": 0.0})
    assert (found.n, found.mean) == (2, pytest.approx(0.2))


def test_no_patient_in_common_is_no_comparison():
    with pytest.raises(UserError, match="b and a: expected patients that both have"):
        compare_scores([made("a", [0.1]), replace(made("b", []), values={DICE: {"q": 0.3}})], [DICE])


def test_an_interval_by_another_method_than_that_of_its_metric_is_named():
    usual, far = 10 * random(1), 10 * random(2) + [MISSED_MM, *[0.0] * 9]
    notes = [
        compare_scores([made(name, each, keys=(HD95,)) for name, each in zip("ab", both, strict=True)], [HD95]).notes
        for both in ((usual, far), (usual, usual))
    ]
    assert ["HD95 of WT (region) (b)." in " ".join(each) for each in notes] == [True, False]
    assert "HD95 of WT (region) (a)" not in " ".join(notes[0])


def test_the_table_has_means_stars_and_differences_from_the_first():
    values = random(1, low=0.2)
    found = compare_scores([made("a", values), made("b", values - 0.1)], [DICE])
    assert found.rows[DICE][1].value == pytest.approx(values.mean() - 0.1)
    text = format_text(found)
    assert f"Mean over patients [{INTERVAL}]" in text
    assert INTERVAL_NOTE[-40:] in " ".join(text.split())
    assert f"*{values.mean():.3f} [" in text
    assert "-0.100 [-0.100, -0.100] worse, p 0.002" in text  # 2 / 2 ** 10: all ten are worse
    markdown = format_markdown(found)
    assert f"| WT (region) | Dice ↑ | **{values.mean():.3f} [" in markdown
    heads = [cell.strip() for cell in markdown.splitlines()[2].split("|")]
    assert heads == ["", "", "", "a<br>10 patients", "b<br>10 patients", ""]


def test_few_pairs_have_no_p():
    text = format_text(compare_scores([made("a", random(1, 5)), made("b", random(2, 5))], [DICE]))
    assert ", not tested" in text
    assert "fewer than 6 patients" in text


def test_several_comparisons_are_corrected():
    values = random(1, low=0.2)
    entries = [made("a", values), made("b", values - 0.1), made("c", values - 0.2)]
    found = compare_scores(entries, [DICE])
    assert [each.paired.p for each in found.differences[DICE]] == [2 / 2**10] * 2
    assert [each.p for each in found.differences[DICE]] == [4 / 2**10] * 2
    assert "Holm" in format_text(found)
    assert "Holm" not in format_text(compare_scores(entries[:2], [DICE]))


def test_patients_that_one_has_alone_are_told():
    found = compare_scores([made("a", random(1, 8)), made("b", random(2, 6))], [DICE])
    assert any(note.startswith("Only a has, not b") and "p6, p7 (2)" in note for note in found.notes)
    assert found.differences[DICE][0].paired.n == 6


def test_a_slice_split_is_told_and_never_the_best_of_others():
    entries = [made("a", random(1)), made("b", random(2)), made("s", random(3) / 10 + 0.9, "slice")]
    found = compare_scores(entries, [DICE])
    best = best_columns(found.columns, found.rows[DICE], METRICS["dice"])
    assert best < {0, 1}
    assert len(best) == 1
    text = format_text(found)
    assert "slice split" in text.splitlines()[4]
    assert "other split" in text
    gap = found.rows[DICE][2].value - found.rows[DICE][0].value
    assert f"optimism gap (slice split minus patient split), Dice, s minus a: WT (region) {gap:+.3f}" in text
    assert "a<br>patient split" in format_markdown(found)


def test_splits_without_a_patient_in_common_still_have_a_gap():
    other = replace(made("s", [], "slice"), values={DICE: {"q": 0.9}})
    found = compare_scores([made("a", [0.5]), other], [DICE])
    assert found.gaps == ["optimism gap (slice split minus patient split), Dice, s minus a: WT (region) +0.400"]
    assert "no patient in common" in format_text(found)


def test_one_split_has_no_gap():
    columns = [ColumnHead("a", "slice"), ColumnHead("b", "slice")]
    assert optimism_gaps(columns, {DICE: [Cell(0.1), Cell(0.2)]}) == []


@pytest.mark.parametrize(
    ("values", "best"),
    [([0.1, 0.2], {1}), ([0.3, 0.3], set()), ([0.2, 0.1, 0.2], {0, 2}), ([None, 0.1], set()), ([0.5, 0.50001], set())],
)
def test_the_best_is_the_highest_as_printed(values, best):
    columns = [ColumnHead(str(number), "patient") for number in range(len(values))]
    assert best_columns(columns, [Cell(value) for value in values], METRICS["dice"]) == best


def test_structures_of_other_classes_are_left_out():
    one, other = made("a", [0.1], keys=(DICE, ("region", "TC", "dice"))), made("b", [0.1], keys=(DICE,))
    keys, notes = common_keys([one, other])
    assert keys == [DICE]
    assert "TC (region)" in notes[0]
    with pytest.raises(UserError, match=r"received none \(a: WT"):
        common_keys([one, made("b", [0.1], members=("core",))])


def test_csv_has_a_row_per_mean_and_per_difference():
    entries = [made(name, random(seed), keys=(DICE, IOU)) for seed, name in enumerate("ab")]
    heading, *rows = csv_rows(compare_scores(entries, [DICE, IOU]))
    tables = [dict(zip(heading, row, strict=True)) for row in rows]
    assert [(row["table"], row["score"], row["name"]) for row in tables] == [
        *(("mean", score, name) for score in ("dice", "iou") for name in "ab"),
        *(("difference", score, "b") for score in ("dice", "iou")),
    ]
    assert tables[0]["n"] == tables[-1]["n"] == 10
    assert tables[-1]["minus"] == "a"
    assert tables[-1]["p"] == tables[-1]["p_holm"] > 0


def test_a_name_cannot_break_the_markdown_table():
    found = compare_scores([made("a|b", random(1)), made("c", random(2))], [DICE])
    assert "| a\\|b<br>" in format_markdown(found)


def categories(name, split, value, task="grade (II, III)"):
    key = ("level", "patient", "auc")
    return ScoredClassifier(ColumnHead(name, split, ("20 patients", "weights: scratch")), task, {key: Cell(value, 0.1, 0.9)})


def test_categories_side_by_side():
    key = ("level", "patient", "auc")
    found = compare_classifiers([categories("a", "patient", 0.7), categories("s", "slice", 0.95)], [key])
    text = format_text(found)
    assert "weights: scratch" in text
    assert "0.700 [0.100, 0.900]" in text
    assert "AUC, s minus a: per patient +0.250" in text
    assert "*0" not in text
    unknown = compare_classifiers([categories("a", "patient", None), categories("s", "slice", 0.9)], [key])
    assert "n/a" in format_text(unknown)
    with pytest.raises(UserError, match="one head"):
        compare_classifiers([categories("a", "patient", 0.7), categories("b", "patient", 0.7, "site (x, y)")], [key])


def test_of_distances_the_smallest_is_the_best_and_a_smaller_one_is_better():
    values = 10 + random(1)
    found = compare_scores([made("a", values, keys=(HD95,)), made("b", values - 2, keys=(HD95,))], [HD95])
    assert best_columns(found.columns, found.rows[HD95], METRICS["hd95"]) == {1}
    text = format_text(found)
    assert f"*{values.mean() - 2:.2f} [" in text
    assert "-2.00 [-2.00, -2.00] better, p 0.002" in text
    assert "WT (region)  HD95 (mm) ↓" in text
    assert "HD95: 0 mm and 374 mm" in " ".join(text.split())
    heading, *rows = csv_rows(found)
    assert dict(zip(heading, rows[-1], strict=True))["change"] == "better"
    assert [dict(zip(heading, row, strict=True))["best"] for row in rows[:2]] == [0, 1]


def test_of_volumes_none_is_the_best():
    found = compare_scores([made(name, random(seed), keys=(VOLUME,)) for seed, name in enumerate("ab")], [VOLUME])
    assert best_columns(found.columns, found.rows[VOLUME], METRICS["true_ml"]) == set()
    assert "better" not in format_text(found).split("Minus a")[1].split("\n\n")[1]


def test_a_metric_that_not_all_have_is_left_out_and_named():
    one, other = made("a", [0.1], keys=(DICE, HD95)), made("b", [0.1], keys=(DICE,))
    keys, notes = common_keys([one, other])
    assert keys == [DICE]
    assert notes == ["Left out, for not all columns have them: HD95."]


def test_hidden_rows_are_in_csv_alone():
    keys = [DICE, ("class", "tumor", "dice")]
    entries = [made(name, random(seed), keys=keys) for seed, name in enumerate("ab")]
    found = compare_scores(entries, keys, hidden=[("class", "tumor")])
    for text in (format_text(found), format_markdown(found)):
        assert "WT (region)" in text
        assert "tumor (class)" not in text
    assert {row[2] for row in csv_rows(found)[1:]} == {"WT", "tumor"}


def test_structures_of_the_same_classes_repeat_the_first():
    three = ("a", "b", "c")
    members = {("region", "WT"): three, ("region", "ET"): ("c",), ("class", "c"): ("c",), ("mean", "class_mean"): three}
    assert repeated(members) == {("class", "c"): ("region", "ET")}
    single = {("region", "t"): ("t",), ("class", "t"): ("t",), ("mean", "class_mean"): ("t",)}
    assert set(repeated(single)) == {("class", "t"), ("mean", "class_mean")}


def test_titles():
    assert [title(each) for each in (("region", "WT"), ("mean", "class_mean"), ("level", "slice"))] == [
        *("WT (region)", "class mean", "per slice")
    ]


LESIONS = ("region", "WT", "lesion_dice@brats2026-gli")


def test_patients_without_a_value_are_left_out_and_counted():
    one, other = ({"a": 0.5, "b": np.nan, "c": 0.7}, {"a": 0.6, "b": 0.9, "c": np.nan})
    entries = [replace(made(name, []), values={LESIONS: each}) for name, each in (("one", one), ("other", other))]
    found = compare_scores(entries, [LESIONS])
    assert [(cell.value, cell.n) for cell in found.rows[LESIONS]] == [(pytest.approx(0.6), 2), (pytest.approx(0.75), 2)]
    (difference,) = found.differences[LESIONS]
    assert (difference.paired.n, difference.paired.mean) == (1, pytest.approx(0.1))
    note = next(note for note in found.notes if "without a value" in note)
    assert "lesion Dice, brats2026-gli of WT (region) (one): 1" in note
    assert any(note.startswith("brats2026-gli: BraTS 2026 gli (brats-evaluation 0.0.10)") for note in found.notes)


def test_a_set_without_any_value_has_no_mean_and_no_difference():
    entries = [
        replace(made(name, []), values={LESIONS: {"a": value, "b": value}}) for name, value in (("one", 0.5), ("other", np.nan))
    ]
    found = compare_scores(entries, [LESIONS])
    assert [cell.value for cell in found.rows[LESIONS]] == [0.5, None]
    assert found.differences[LESIONS][0].paired is None
    assert "n/a" in format_text(found)
    assert "no value in common" in format_text(found)
    assert csv_rows(found)


def test_a_row_that_one_set_lacks_is_named():
    et = ("region", "ET", "dice")
    one, other = (made(name, [0.1, 0.2], keys=(DICE, IOU, et)) for name in "ab")
    del other.values[et]
    other.members.update(one.members)
    keys, notes = common_keys([one, other])
    assert keys == [DICE, IOU]
    assert any("ET (region)" in note for note in notes)
    other.values["region", "ET", "iou"] = one.values["region", "ET", "iou"] = {"p0": 0.1, "p1": 0.2}
    keys, notes = common_keys([one, other])
    assert set(keys) == {DICE, IOU, ("region", "ET", "iou")}
    assert notes == ["Left out, for not all columns have them: Dice of ET (region)."]
