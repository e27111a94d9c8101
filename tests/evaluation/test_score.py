import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from common import cli
from common.exit_status import USER_ERROR
from common.metrics.catalogue import MISSED_MM, chosen_metrics
from data_prep.labels import LabelSchema
from evaluation.score import ScoreConfig, main
from tests import scans

SCHEMA = LabelSchema.load("brats2017-2021")
AFFINE = np.diag([-2.0, -1.0, 3.0, 1.0])  # 6 mm3 a voxel


@pytest.fixture
def cases():
    return [scans.scan(f"case_{name}", seed, affine=AFFINE) for seed, name in enumerate("abc")]


@pytest.fixture
def source(tmp_path, cases):
    return scans.write_brats(tmp_path / "source", cases)


def write_predictions(folder, labels, schema=SCHEMA, affine=AFFINE):
    """A predictions folder from case id -> array of ids."""
    folder.mkdir()
    for case, label in labels.items():
        scans.save(folder / f"{case}.nii.gz", label, affine)
    manifest = {"format": 1, "runs": ["run"], "schema": schema.to_dict(), "cases": list(labels)}
    (folder / "predictions.json").write_text(json.dumps(manifest))
    return folder


def run(*arguments):
    cli.run(main, ScoreConfig, [str(argument) for argument in arguments])


def read_scores(path):
    """(patient, structure) -> row of per_patient.csv."""
    with path.open() as file:
        return {(row["patient"], row["kind"], row["structure"]): row for row in csv.DictReader(file)}


def shifted(cases):
    return {case.id: np.roll(case.label, 1, axis=0) for case in cases}


def test_scores_of_each_patient_equal_those_of_its_masks(tmp_path, cases, source):
    predicted = shifted(cases)
    run("--predictions", write_predictions(tmp_path / "p", predicted), "--source", source)
    rows = read_scores(tmp_path / "p" / "scores" / "per_patient.csv")
    groups = {
        ("region", "WT"): (1, 2, 4),
        ("region", "TC"): (1, 4),
        ("class", "edema"): (2,),
        ("class", "enhancing tumor"): (4,),
    }
    for case in cases:
        for (kind, name), ids in groups.items():
            row = rows[case.id, kind, name]
            true, found = np.isin(case.label, ids), np.isin(predicted[case.id], ids)
            both = (true & found).sum()
            assert float(row["dice"]) == pytest.approx(2 * both / (true.sum() + found.sum()), abs=1e-6)
            assert float(row["iou"]) == pytest.approx(both / (true | found).sum(), abs=1e-6)
            assert float(row["sensitivity"]) == pytest.approx(both / true.sum(), abs=1e-6)
            assert float(row["precision"]) == pytest.approx(both / found.sum(), abs=1e-6)
            assert float(row["true_ml"]) == pytest.approx(true.sum() * 0.006, abs=1e-6)
            assert float(row["predicted_ml"]) == pytest.approx(found.sum() * 0.006, abs=1e-6)


def test_the_class_mean_is_taken_per_patient_over_the_foreground_classes(tmp_path, cases, source):
    run("--predictions", write_predictions(tmp_path / "p", shifted(cases)), "--source", source)
    rows = read_scores(tmp_path / "p" / "scores" / "per_patient.csv")
    for case in cases:
        classes = [float(rows[case.id, "class", name]["dice"]) for name in SCHEMA.class_names[1:]]
        assert float(rows[case.id, "mean", "class_mean"]["dice"]) == pytest.approx(np.mean(classes), abs=1e-6)


def test_a_perfect_prediction_scores_1_everywhere(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", {case.id: case.label for case in cases})
    run("--predictions", predictions, "--source", source, "--out", tmp_path / "s")
    summary = list(csv.DictReader((tmp_path / "s" / "summary.csv").open()))
    ratios = [row for row in summary if row["score"] in ("dice", "iou", "sensitivity", "precision")]
    assert len(ratios) == 7 * 4
    distances = [row for row in summary if row["score"] == "hd95"]
    assert {(row["mean"], row["median"]) for row in distances} == {("0.000000",) * 2}
    assert len(distances) == 7
    assert all((row["mean"], row["median"], row["patients"]) == ("1.000000", "1.000000", "3") for row in ratios)
    assert all(row["low_95"] == row["high_95"] == "" for row in ratios)  # none for fewer than five patients
    printed = capsys.readouterr().out
    assert "WT (region)" in printed
    assert "class mean" in printed
    assert str(tmp_path / "s" / "scores.json") in printed


def test_scores_json_explains_the_table(tmp_path, cases, source):
    run("--predictions", write_predictions(tmp_path / "p", shifted(cases)), "--source", source)
    facts = json.loads((tmp_path / "p" / "scores" / "scores.json").read_text())
    assert facts["options"]["source"] == str(source)
    assert facts["cases"] == [case.id for case in cases]
    assert facts["schema"] == SCHEMA.to_dict()
    assert {"metrics", "averaging", "absent_rule", "interval", "runs"} <= facts.keys()
    assert (facts["metrics"]["hd95"]["unit"], facts["metrics"]["hd95"]["better"]) == ("mm", "smaller")
    assert facts["metrics"]["dice"]["definition"] == "2 |T and P| / (|T| + |P|)"
    assert {entry["structure"] for entry in facts["summary"]} == {*SCHEMA.regions, *SCHEMA.class_names[1:], "class_mean"}


@pytest.mark.parametrize(("predicted_et", "expected"), [(False, 1.0), (True, 0.0)])
def test_a_region_absent_in_truth(tmp_path, predicted_et, expected):
    case = scans.scan("case_a", ids=(0, 1, 2))
    prediction = case.label.copy()
    if predicted_et:
        prediction[prediction == 1] = 4
    source = scans.write_brats(tmp_path / "source", [case])
    run("--predictions", write_predictions(tmp_path / "p", {"case_a": prediction}, affine=scans.LPS), "--source", source)
    row = read_scores(tmp_path / "p" / "scores" / "per_patient.csv")["case_a", "region", "ET"]
    assert {float(row[name]) for name in ("dice", "iou", "sensitivity", "precision")} == {expected}
    assert row["cases_absent_in_truth"] == "1"
    summary = list(csv.DictReader((tmp_path / "p" / "scores" / "summary.csv").open()))
    absent = {row["structure"]: row["patients_absent_in_truth"] for row in summary if row["score"] == "dice"}
    assert absent["ET"] == "1"
    assert absent["WT"] == "0"


def test_few_patients_have_no_interval(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", {cases[0].id: cases[0].label})
    run("--predictions", predictions, "--source", source)
    summary = list(csv.DictReader((tmp_path / "p" / "scores" / "summary.csv").open()))
    assert {(row["low_95"], row["high_95"], row["sd"]) for row in summary} == {("", "", "")}
    assert "fewer than 5 patients, so no interval" in " ".join(capsys.readouterr().out.split())


def test_a_patient_with_several_cases_counts_once_with_their_mean(tmp_path, cases):
    table = scans.write_table(tmp_path / "source", cases)
    rows = list(csv.DictReader(table.open()))
    for row, patient in zip(rows, ("first", "first", "second"), strict=True):
        row.update(case_id=row["patient_id"], patient_id=patient)
    scans.write_rows(table, rows)
    labels = {cases[0].id: cases[0].label, cases[1].id: np.zeros_like(cases[1].label), cases[2].id: cases[2].label}
    predictions = write_predictions(tmp_path / "p", labels)
    run("--predictions", predictions, "--source", table)  # a table: the schema of the predictions
    scored = read_scores(predictions / "scores" / "per_patient.csv")
    assert {patient for patient, _, _ in scored} == {"first", "second"}
    assert float(scored["first", "region", "WT"]["dice"]) == 0.5
    assert scored["first", "region", "WT"]["cases"] == "2"
    mean_wt = next(row for row in csv.DictReader((predictions / "scores" / "summary.csv").open()) if row["structure"] == "WT")
    assert float(mean_wt["mean"]) == 0.75


def test_a_prediction_in_another_order_and_direction_of_axes_is_turned(tmp_path, cases, source):
    """RAS+ against LPS, with two axes swapped: the same voxels, so a perfect prediction stays perfect."""
    folder = tmp_path / "p"
    i, j, _ = cases[0].label.shape
    affine = AFFINE @ np.array([[0, -1.0, 0, i - 1], [-1, 0, 0, j - 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = {case.id: np.ascontiguousarray(case.label[::-1, ::-1].transpose(1, 0, 2)) for case in cases}
    run("--predictions", write_predictions(folder, turned, affine=affine), "--source", source)
    rows = read_scores(folder / "scores" / "per_patient.csv")
    assert {row["dice"] for row in rows.values()} == {"1.000000"}
    assert rows["case_a", "region", "WT"]["hd95"] == "0.000000"


def test_predictions_of_another_tool_may_have_ids_of_their_own(tmp_path, cases, source, capsys):
    other = LabelSchema.load("brats2023")
    predicted = {case.id: np.where(case.label == 4, 3, case.label) for case in cases}
    folder = write_predictions(tmp_path / "p", predicted)
    options = ("--predictions", folder, "--source", source, "--prediction_labels", other.name)
    with pytest.raises(SystemExit):
        run(*options)
    assert "predictions.json names the predictions' schema; leave it out" in capsys.readouterr().err
    (folder / "predictions.json").unlink()
    run(*options)
    rows = read_scores(folder / "scores" / "per_patient.csv")
    assert {row["dice"] for row in rows.values()} == {"1.000000"}


def test_truth_and_prediction_may_use_different_ids_for_the_same_classes(tmp_path, cases, source):
    newer = LabelSchema.load("brats2023")
    labels = {case.id: np.where(case.label == 4, 3, case.label).astype(np.int16) for case in cases}
    run("--predictions", write_predictions(tmp_path / "p", labels, newer), "--source", source)
    rows = read_scores(tmp_path / "p" / "scores" / "per_patient.csv")
    assert {row["dice"] for row in rows.values()} == {"1.000000"}


def remove(folder):
    (folder / "case_b.nii.gz").unlink()


def add(folder):
    scans.save(folder / "case_x.nii.gz", np.zeros((10, 9, 8), np.int16))


def name_in_manifest(folder):
    manifest = json.loads((folder / "predictions.json").read_text())
    manifest["cases"].append("case_x")
    (folder / "predictions.json").write_text(json.dumps(manifest))


def other_shape(folder):
    scans.save(folder / "case_b.nii.gz", np.zeros((10, 9, 7), np.int16), AFFINE)


def other_affine(folder):
    scans.save(folder / "case_b.nii.gz", np.zeros((10, 9, 8), np.int16), AFFINE + np.eye(4) * [0.01, 0, 0, 0])


def unknown_id(folder):
    scans.save(folder / "case_b.nii.gz", np.full((10, 9, 8), 7, np.int16), AFFINE)


def fractions(folder):
    scans.save(folder / "case_b.nii.gz", np.full((10, 9, 8), 0.5, np.float32), AFFINE)


def truncate(folder):
    file = folder / "case_b.nii.gz"
    file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (remove, "case_b.nii.gz: missing prediction"),
        (add, "case_x.nii.gz: extra prediction"),
        (name_in_manifest, "case_x.nii.gz: extra prediction: the source has no case case_x"),
        (other_shape, "shape (10, 9, 7) differs from (10, 9, 8)"),
        (other_affine, "case_b.nii.gz: affine"),
        (unknown_id, "case_b.nii.gz: unknown label id 7"),
        (fractions, "case_b.nii.gz: expected whole label ids"),
        (truncate, "case_b.nii.gz: truncated"),
    ],
)
def test_predictions_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, cases, source, capsys, spoil, told):
    predictions = write_predictions(tmp_path / "p", shifted(cases))
    spoil(predictions)
    with pytest.raises(SystemExit) as stopped:
        run("--predictions", predictions, "--source", source)
    assert stopped.value.code == USER_ERROR
    assert told in capsys.readouterr().err
    assert not (predictions / "scores").exists()


def test_all_bad_predictions_are_listed_at_once(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", shifted(cases))
    remove(predictions)
    scans.save(predictions / "case_c.nii.gz", np.zeros((3, 3, 3), np.int16), AFFINE)
    with pytest.raises(SystemExit):
        run("--predictions", predictions, "--source", source)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    assert "case_b" in lines[0]
    assert "case_c" in lines[1]
    assert "2 problems in 3 cases" in lines[2]


def test_damaged_voxels_are_listed_beside_what_headers_show(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", shifted(cases))
    remove(predictions)
    (predictions / "case_c.nii.gz").write_bytes((predictions / "case_c.nii.gz").read_bytes()[:200])
    with pytest.raises(SystemExit):
        run("--predictions", predictions, "--source", source)
    printed = capsys.readouterr().err
    assert "case_c.nii.gz: truncated" in printed
    assert "2 problems in 3 cases" in printed


def test_predictions_of_other_scans_are_one_line(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", {f"other_{number}": cases[0].label for number in range(2)})
    with pytest.raises(SystemExit):
        run("--predictions", predictions, "--source", source)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.startswith(
        f"error: {predictions}: expected predictions of {source}, such as of case case_a; received those of "
    )
    assert line.endswith("other cases, such as other_0; name the scans that were predicted by --source")


def test_a_case_without_annotation_cannot_be_scored(tmp_path, cases, capsys):
    source = scans.write_brats(tmp_path / "source", [cases[0], replace(cases[1], label=None)])
    predictions = write_predictions(tmp_path / "p", {case.id: case.label for case in cases[:2]})
    with pytest.raises(SystemExit):
        run("--predictions", predictions, "--source", source)
    assert "case_b has no annotation" in capsys.readouterr().err


def test_other_classes_are_refused(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", shifted(cases), LabelSchema.load("binary"))
    with pytest.raises(SystemExit):
        run("--predictions", predictions, "--source", source)
    assert "classes background, tumor differ from those of" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 1}', '{"format": 1, "cases": [], "schema": 3}'])
def test_a_broken_manifest_is_told_in_a_line(tmp_path, source, capsys, content):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "predictions.json").write_text(content)
    with pytest.raises(SystemExit):
        run("--predictions", tmp_path / "p", "--source", source)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "predictions.json" in lines[0]


@pytest.mark.parametrize(("option", "value"), [("--batch_size", "0"), ("--workers", "0"), ("--tolerance_mm", "-1")])
def test_numbers_out_of_range_are_refused_first(capsys, option, value):
    with pytest.raises(SystemExit):
        run("--predictions", "nowhere", "--source", "nowhere", option, value)
    assert capsys.readouterr().err.startswith(f"error: {option}: expected at least")


@pytest.mark.parametrize(
    "given",
    [(), ("predictions",), ("run",), ("source", "records"), ("predictions", "source", "run"), ("run", "records", "source")],
)
def test_exactly_one_form_is_taken(tmp_path, capsys, given):
    with pytest.raises(SystemExit) as stopped:
        run(*(f"--{name}={tmp_path}" for name in given))
    assert stopped.value.code == USER_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "either --predictions P --source DIR or --run RUN --records R" in lines[0]


@pytest.fixture
def slices():
    """Cases of TIFF slices, which have no spacing."""
    return [
        scans.scan(name, seed, (10, 9, 6 + seed), (0, 255), scans.KAGGLE_CHANNELS, np.uint8) for seed, name in enumerate("ab")
    ]


def test_a_source_without_spacing_is_scored_and_has_no_volumes(tmp_path, slices):
    root = scans.write_kaggle_3m(tmp_path / "kaggle_3m", slices)
    predicted = {case.id: np.roll(case.label, 1, axis=0).astype(np.uint8) for case in slices}
    folder = write_predictions(tmp_path / "p", predicted, LabelSchema.load("kaggle_3m"), np.eye(4))
    run("--predictions", folder, "--source", root)
    rows = read_scores(folder / "scores" / "per_patient.csv")
    for case in slices:
        true, found = case.label == 255, predicted[case.id] == 255
        row = rows[case.id, "region", "tumor"]
        assert float(row["dice"]) == pytest.approx(2 * (true & found).sum() / (true.sum() + found.sum()), abs=1e-6)
        assert (row["true_ml"], row["predicted_ml"], row["hd95"]) == ("", "", "")
    summary = list(csv.DictReader((folder / "scores" / "summary.csv").open()))
    assert {row["score"] for row in summary} == {"dice", "iou", "sensitivity", "precision"}


def test_slices_that_do_not_fit_are_refused(tmp_path, slices, capsys):
    root = scans.write_kaggle_3m(tmp_path / "kaggle_3m", slices)
    labels = {"a": slices[0].label[..., 1:], "b": slices[1].label}
    folder = write_predictions(tmp_path / "p", labels, LabelSchema.load("kaggle_3m"), np.eye(4))
    with pytest.raises(SystemExit):
        run("--predictions", folder, "--source", root)
    assert f"shape (10, 9, 5) differs from (10, 9, 6) of {root / 'a'}" in capsys.readouterr().err
    scans.save(folder / "a.nii.gz", slices[0].label, np.eye(4))
    (root / "b" / "b_2_mask.tif").write_bytes(b"")
    with pytest.raises(SystemExit):
        run("--predictions", folder, "--source", root)
    assert "b_2_mask.tif: empty file; expected a TIFF image" in capsys.readouterr().err
    assert not (folder / "scores").exists()


def test_the_printed_table_stays_within_a_terminal(tmp_path, cases, source, capsys):
    run("--predictions", write_predictions(tmp_path / "p", shifted(cases)), "--source", source)
    table = capsys.readouterr().out
    assert "HD95 (mm) ↓" in table
    assert max(len(line) for line in table.splitlines() if not line.startswith("wrote")) <= 110


def test_equal_structures_are_printed_once_and_kept_in_the_files(tmp_path, cases, source, capsys):
    predictions = write_predictions(tmp_path / "p", shifted(cases))
    run("--predictions", predictions, "--source", source)
    starts = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert "ET (region)" in starts
    assert "enhancing tumor (class)" not in starts
    assert "Equal structures are printed once: enhancing tumor (class) = ET (region)." in starts
    rows = read_scores(predictions / "scores" / "per_patient.csv")
    one, other = rows["case_a", "region", "ET"], rows["case_a", "class", "enhancing tumor"]
    shared = [metric.name for metric in chosen_metrics()]
    assert {key: one[key] for key in shared} == {key: other[key] for key in shared}


def test_hd95_has_a_column_and_the_penalty_of_a_missed_structure(tmp_path, cases, source):
    labels = shifted(cases)
    labels["case_c"] = np.zeros_like(labels["case_c"])
    predictions = write_predictions(tmp_path / "p", labels)
    run("--predictions", predictions, "--source", source)
    rows = read_scores(predictions / "scores" / "per_patient.csv")
    assert float(rows["case_a", "region", "WT"]["hd95"]) == pytest.approx(2, abs=2)  # shifted by a voxel of 2 mm
    assert float(rows["case_c", "region", "WT"]["hd95"]) == MISSED_MM
    summary = {(row["structure"], row["score"]): row for row in csv.DictReader((predictions / "scores" / "summary.csv").open())}
    row = summary["WT", "hd95"]
    values = [float(rows[case.id, "region", "WT"]["hd95"]) for case in cases]
    assert float(row["mean"]) == pytest.approx(np.mean(values), abs=1e-5)
