"""evaluation.score: lesion rules, further metrics, folders of other tools, and predictions that cannot be used."""

import csv
import json

import numpy as np
import pytest

from data_prep.labels import LabelSchema
from tests import scans
from tests.evaluation.test_score import AFFINE, read_scores, run, shifted, write_predictions


@pytest.fixture
def cases():
    return [scans.scan(f"case_{name}", seed, affine=AFFINE) for seed, name in enumerate("abc")]


@pytest.fixture
def source(tmp_path, cases):
    return scans.write_brats(tmp_path / "source", cases)


def test_another_tools_files_are_scored_by_a_list_of_cases(tmp_path, cases, source):
    predictions = write_predictions(tmp_path / "p", shifted(cases))
    (predictions / "predictions.json").unlink()
    (tmp_path / "ids.txt").write_text("case_c\ncase_a\ncase_a\n")
    run("--predictions", predictions, "--source", source, "--cases", tmp_path / "ids.txt")
    patients = {patient for patient, _, _ in read_scores(predictions / "scores" / "per_patient.csv")}
    assert patients == {"case_a", "case_c"}


def test_without_a_list_all_files_named_like_cases_are_scored(tmp_path, cases, source, capsys):
    files = {"case_a": cases[0].label, "case_c": cases[2].label, "other": cases[0].label}
    predictions = write_predictions(tmp_path / "p", files)
    (predictions / "predictions.json").unlink()
    (predictions / "plans.json").write_text("{}")
    run("--predictions", predictions, "--source", source)
    printed = capsys.readouterr().out
    assert "1 file of no annotated case left out: other.nii.gz" in printed
    assert "1 annotated case without a file left out; --missing worst" in printed
    patients = {patient for patient, _, _ in read_scores(predictions / "scores" / "per_patient.csv")}
    assert patients == {"case_a", "case_c"}


def test_a_folder_without_a_file_of_any_case_is_refused(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", {"other": cases[0].label})
    (predictions / "predictions.json").unlink()
    with pytest.raises(SystemExit):
        run("--predictions", predictions, "--source", source)
    assert "such as case_a.nii.gz; found other.nii.gz" in capsys.readouterr().err


def test_an_unfinished_prediction_is_refused(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", {"case_a": cases[0].label})
    (predictions / "predictions.json").unlink()
    (predictions / ".lock").touch()
    with pytest.raises(SystemExit):
        run("--predictions", predictions, "--source", source)
    assert (
        "expected predictions finished by glioskull predict, with predictions.json; received unfinished ones"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("damage", ["absent", "damaged", "other grid"])
def test_a_case_without_usable_prediction_counts_the_worst_values(tmp_path, cases, source, capsys, damage):
    predictions = write_predictions(tmp_path / "p", {case.id: case.label for case in cases})
    file = predictions / "case_b.nii.gz"
    if damage == "absent":
        file.unlink()
    elif damage == "damaged":
        file.write_bytes(file.read_bytes()[:-40])
    else:
        scans.save(file, np.zeros((3, 3, 3), np.int16), AFFINE)
    options = ("--predictions", predictions, "--source", source, "--lesions", "[brats2023-met,brats2026-mets]")
    with pytest.raises(SystemExit):
        run(*options)
    run(*options, "--missing", "worst")
    printed = capsys.readouterr().out
    assert "Counted with the worst value of every metric: 1 case of 3" in " ".join(printed.split())
    assert [line for line in printed.splitlines() if line.startswith(f"  {file}: ")], printed  # on a line of its own
    rows = read_scores(predictions / "scores" / "per_patient.csv")
    row = rows["case_b", "region", "WT"]
    names = ("dice", "hd95", "lesion_dice@brats2023-met", "lesion_hd95@brats2026-mets", "lesion_f1@brats2026-mets")
    assert [float(row[name]) for name in names] == [0, 374, 0, 373, 0]
    assert float(row["true_ml"]) > 0 == float(row["predicted_ml"])
    assert float(rows["case_a", "region", "WT"]["dice"]) == 1
    assert list(json.loads((predictions / "scores" / "scores.json").read_text())["missing"]) == ["case_b"]


def test_lesion_rules_add_their_columns_a_table_and_a_file_of_lesions(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", shifted(cases))
    options = ("--predictions", predictions, "--source", source, "--out", tmp_path / "s")
    run(*options, "--lesions", "[brats2023-met]", "--metrics", "[nsd,hd95_pooled]", "--workers", 2)
    printed = capsys.readouterr().out
    assert "Lesions by brats2023-met: BraTS 2023 MET (BraTS-2023-Metrics, metrics.py)" in printed
    assert "Lesions by volume, BraTS 2023 MET" in printed
    row = read_scores(tmp_path / "s" / "per_patient.csv")["case_a", "region", "WT"]
    assert {"nsd", "hd95_pooled", "lesion_dice@brats2023-met", "lesion_false@brats2023-met"} <= row.keys()
    assert "hd95_max_voxel" not in row
    facts = json.loads((tmp_path / "s" / "scores.json").read_text())["metrics"]
    assert facts["lesion_dice@brats2023-met"]["lesion_rule"]["version"] == "BraTS-2023-Metrics, metrics.py"
    lesions = list(csv.DictReader((tmp_path / "s" / "per_lesion.csv").open()))
    mine = [each for each in lesions if (each["case"], each["structure"]) == ("case_a", "WT")]
    true = [each for each in mine if each["lesion"] == "true" and each["counted"] == "True"]
    assert len(true) == float(row["lesions_true@brats2023-met"])
    assert sum(each["lesion"] == "false positive" for each in mine) == float(row["lesion_false@brats2023-met"])
    run(*options)
    assert not (tmp_path / "s" / "per_lesion.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--lesions", "[brats2023-mets]"), "did you mean brats2023-met"), (("--metrics", "[dise]"), "did you mean dice")],
)
def test_unknown_metrics_are_refused_before_anything_is_read(tmp_path, source, capsys, options, message):
    with pytest.raises(SystemExit):
        run("--predictions", tmp_path / "nowhere", "--source", source, *options)
    assert message in capsys.readouterr().err


def test_with_the_worst_values_all_annotated_cases_are_scored(tmp_path, cases, source):
    predictions = write_predictions(tmp_path / "p", {case.id: case.label for case in cases[:2]})
    (predictions / "predictions.json").unlink()
    run("--predictions", predictions, "--source", source, "--missing", "worst")
    rows = read_scores(predictions / "scores" / "per_patient.csv")
    assert [float(rows[case.id, "region", "WT"]["dice"]) for case in cases] == [1, 1, 0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--lesions", "[brats2023-met]", "--metrics", "[nsd]"), "for --metrics nsd and --lesions brats2023-met"),
        (("--metrics", "[nsd,nsd_2mm]"), "for --metrics nsd nsd_2mm"),
    ],
)
def test_named_metrics_that_need_a_spacing_are_refused_without_one(tmp_path, capsys, options, named):
    slices = [scans.scan(name, seed, (10, 9, 6), (0, 255), scans.KAGGLE_CHANNELS, np.uint8) for seed, name in enumerate("ab")]
    root = scans.write_kaggle_3m(tmp_path / "kaggle_3m", slices)
    labels = {each.id: each.label.astype(np.uint8) for each in slices}
    folder = write_predictions(tmp_path / "p", labels, LabelSchema.load("kaggle_3m"), np.eye(4))
    with pytest.raises(SystemExit):
        run("--predictions", folder, "--source", root, *options)
    error = capsys.readouterr().err
    assert f"expected an annotation with the distance of voxels {named}; received one without; leave" in error
    assert not (folder / "scores").exists()


def test_a_rule_of_other_regions_is_refused_and_missing_regions_are_named(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", {case.id: case.label for case in cases})
    options = ("--predictions", predictions, "--source", source, "--lesions")
    with pytest.raises(SystemExit):
        run(*options, "[brats2026-menrt]")
    assert "--lesions brats2026-menrt: expected one of the regions GTV" in capsys.readouterr().err
    run(*options, "[brats2024-met]")
    assert "Regions of brats2024-met that the label schema lacks, not scored: RC." in capsys.readouterr().out


@pytest.mark.parametrize("option", [("--missing", "worst"), ("--cases", "ids.txt")])
def test_options_of_predictions_are_refused_for_a_run(tmp_path, capsys, option):
    with pytest.raises(SystemExit):
        run("--run", tmp_path / "run", "--records", tmp_path / "records", *option)
    assert f"{option[0]}: expected with --predictions alone; received it with --run" in capsys.readouterr().err
