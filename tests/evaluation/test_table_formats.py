"""Tables to paste: `--format` of score and compare."""

import csv
import shutil

import pytest

from evaluation.scores.folder import remove_scores

FORMS = [("markdown", ".md", "| WT (region) "), ("latex", ".tex", r"\begin{tabular}"), ("csv", ".csv", ",Dice ↑,")]


@pytest.fixture
def copy(predictions, tmp_path):
    """Predictions that a test may score again."""
    return shutil.copytree(predictions, tmp_path / "copy")


@pytest.mark.parametrize(("form", "suffix", "text"), FORMS)
def test_scores_of_predictions_are_a_table_to_paste(copy, source, command, form, suffix, text):
    done = command("evaluation.score", "--predictions", copy, "--source", source, "--format", form)
    assert done.status == 0, done.err
    table = (copy / "scores" / f"table{suffix}").read_text()
    assert text in table
    assert table.rstrip() in done.out
    assert f"wrote {copy / 'scores' / f'table{suffix}'}" in done.out
    assert (copy / "scores" / "table.txt").is_file()


def test_a_table_to_paste_says_what_is_averaged_in_one_line(copy, source, command):
    command("evaluation.score", "--predictions", copy, "--source", source, "--format", "latex")
    assert (copy / "scores" / "table.tex").read_text().splitlines()[-1].startswith("% Mean over 5 patients [95")


def test_tables_to_paste_are_removed_with_the_scores(copy, source, command):
    command("evaluation.score", "--predictions", copy, "--source", source, "--format", "latex")
    assert remove_scores(copy / "scores")
    assert not (copy / "scores").exists()


@pytest.mark.parametrize(("form", "suffix", "text"), FORMS)
def test_scores_of_a_run_are_a_table_to_paste(trained, records, command, tmp_path, form, suffix, text):
    words = ("--run", trained, "--records", records, "--out", tmp_path, "--format", form)
    done = command("evaluation.score", *words)
    assert done.status == 0, done.err
    table = (tmp_path / f"table{suffix}").read_text()
    assert "WT (region)" in table
    assert table.rstrip() in done.out


def test_a_comparison_is_a_table_to_paste(predictions, copy, command, tmp_path):
    words = ("--scores", predictions, copy, "--seen_patients", "warn", "--out", tmp_path / "out")
    done = command("evaluation.compare", *words, "--format", "latex")
    assert done.status == 0, done.err
    table = (tmp_path / "out" / "compare.tex").read_text()
    assert table.count(r"\begin{tabular}") == 2  # means, and differences
    assert table.rstrip() in done.out
    assert "| ---" in command("evaluation.compare", *words, "--format", "markdown").out


@pytest.mark.parametrize("ids", [True, False])
def test_patients_of_a_comparison_have_names_or_none(predictions, copy, command, tmp_path, ids):
    words = ("--scores", predictions, copy, "--seen_patients", "warn", "--out", tmp_path / "out", "--ids", str(ids).lower())
    assert command("evaluation.compare", *words).status == 0
    rows = list(csv.DictReader((tmp_path / "out" / "boxes_dice.csv").read_text().splitlines()))
    assert len(rows) == 10
    assert any(row["patient"] for row in rows) is ids
