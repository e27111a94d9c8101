"""Prediction on the patients' own grid: grid, ids, dtype, averages of runs, and what is refused."""

import json
import shutil

import nibabel
import numpy as np
import pytest

from common.files import read_lines, write_json
from data_prep.labels import LabelSchema
from evaluation.ensemble import softmax
from tests.scans import LPS, scan, write_brats

CASE = "case_4"


@pytest.fixture
def predict(command, trained, source, tmp_path):
    """`predict(*options)`: segment one case with the tiny run; later options win."""
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{CASE}\n")

    def run(*options, out=tmp_path / "out"):
        base = ("--runs", trained, "--source", source, "--out", out, "--cases", ids)
        return command("evaluation.predict", *base, *options)

    return run


def test_a_prediction_lies_on_the_patients_own_grid(predict, source, tmp_path):
    done = predict()
    assert (done.status, done.errors) == (0, [])
    image = nibabel.load(tmp_path / "out" / f"{CASE}.nii.gz")
    truth = nibabel.load(next(source.rglob(f"{CASE}_seg.nii.gz")))
    assert image.shape == truth.shape
    assert image.get_data_dtype() == truth.get_data_dtype()
    np.testing.assert_array_equal(image.affine, truth.affine)
    assert int(image.header["sform_code"]) == int(truth.header["sform_code"])
    assert set(np.unique(image.dataobj)) <= {0, 1, 2, 4}
    assert (tmp_path / "out" / "overlays" / f"{CASE}.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["cases"] == [CASE]


def test_a_turned_scan_gives_the_same_segmentation_turned(command, trained, tmp_path, rng):
    made = scan("case_x", seed=3, shape=(18, 20, 8))
    write_brats(tmp_path / "straight", [made])
    turned = write_brats(tmp_path / "turned", [made])
    for path in turned.rglob("*.nii.gz"):
        image = nibabel.load(path)
        flipped = np.asarray(image.dataobj).transpose(2, 0, 1)[:, ::-1]
        axes = image.affine @ np.array([[0, -1, 0, 17], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
        nibabel.save(nibabel.Nifti1Image(flipped, axes), path)
    found = []
    for name in ("straight", "turned"):
        options = ("--source", tmp_path / name, "--out", tmp_path / f"p_{name}", "--overlays", "false")
        assert command("evaluation.predict", "--runs", trained, *options).status == 0
        found.append(np.asarray(nibabel.load(tmp_path / f"p_{name}" / "case_x.nii.gz").dataobj))
    np.testing.assert_array_equal(found[1], found[0].transpose(2, 0, 1)[:, ::-1])


def test_probabilities_sum_to_one_and_agree_with_the_ids(predict, tmp_path):
    assert predict("--probabilities", "true", "--overlays", "false", "--inside_only", "false").status == 0
    probabilities = np.asarray(nibabel.load(tmp_path / "out" / f"{CASE}_probabilities.nii.gz").dataobj)
    ids = np.asarray(nibabel.load(tmp_path / "out" / f"{CASE}.nii.gz").dataobj)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(LabelSchema.load("brats2017-2021").to_ids(probabilities.argmax(axis=-1)), ids)


def test_outside_the_head_is_background(predict, trained, source, tmp_path):
    channels = [np.asarray(nibabel.load(path).dataobj) for path in source.rglob(f"{CASE}_[ft]*.nii.gz")]
    outside = ~np.any(channels, axis=0)
    assert (len(channels), outside.any()) == (4, True)
    found = {}
    for only in ("true", "false"):
        assert predict("--overlays", "false", "--inside_only", only, out=tmp_path / only).status == 0
        found[only] = np.asarray(nibabel.load(tmp_path / only / f"{CASE}.nii.gz").dataobj)
    assert not found["true"][outside].any()
    np.testing.assert_array_equal(found["true"][~outside], found["false"][~outside])


def test_the_average_of_a_run_with_itself_is_the_run(predict, trained, tmp_path):
    assert predict("--overlays", "false", out=tmp_path / "one").status == 0
    assert predict("--runs", json.dumps([str(trained)] * 2), "--overlays", "false", out=tmp_path / "two").status == 0
    one, two = (np.asarray(nibabel.load(tmp_path / name / f"{CASE}.nii.gz").dataobj) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_a_second_call_adds_its_cases(predict, command, trained, source, tmp_path):
    assert predict("--overlays", "false").status == 0
    (tmp_path / "more.txt").write_text("case_0\n")
    assert predict("--overlays", "false", "--cases", tmp_path / "more.txt").status == 0
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["cases"] == ["case_0", CASE]
    done = command("evaluation.score", "--predictions", tmp_path / "out", "--source", source)
    assert done.status == 0, done.err
    assert "2 patients" in done.out


def test_an_unannotated_patient_is_segmented(command, trained, tmp_path):
    made = scan("case_u", seed=1, shape=(18, 20, 8))
    made.label = None
    source = write_brats(tmp_path / "source", [made])
    assert command("evaluation.predict", "--runs", trained, "--source", source, "--out", tmp_path / "out").status == 0
    image = nibabel.load(tmp_path / "out" / "case_u.nii.gz")
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(image.affine, LPS)


def test_all_bad_cases_are_listed_before_work_starts(command, trained, tmp_path):
    source = write_brats(tmp_path / "source", [scan(f"case_{name}", seed=1, shape=(18, 20, 8)) for name in "abc"])
    for name in "ac":
        next(source.rglob(f"case_{name}_t2.nii.gz")).write_bytes(b"")
    done = command("evaluation.predict", "--runs", trained, "--source", source, "--out", tmp_path / "out")
    assert done.status == 2
    assert [("case_a" in line, "case_c" in line) for line in done.errors[:2]] == [(True, False), (False, True)]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--batch_size", 0), "--batch_size: expected at least 1"),
        (("--runs", "nowhere"), "expected a run"),
        (("--channels", "flair", "t2"), "sees flair, t1, t1ce, t2; received flair, t2"),
    ],
)
def test_a_mistake_is_told_in_one_line(predict, options, words):
    done = predict(*options)
    assert done.status == 2
    assert len(done.errors) == 1
    assert words in done.errors[0]


def test_nothing_is_written_into_a_source(predict, source):
    done = predict(out=source / "predictions")
    assert (done.status, len(done.errors)) == (2, 1)
    assert "never written to" in done.errors[0]
    assert not (source / "predictions").exists()


def test_predictions_of_other_runs_are_not_mixed(predict, trained, tmp_path):
    assert predict("--overlays", "false").status == 0
    other = shutil.copytree(trained, tmp_path / "other")
    done = predict("--runs", other)
    assert done.status == 2
    assert "holds predictions of other runs" in done.errors[0]


def test_a_run_that_lost_its_best_weights_is_refused(predict, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "best.weights.h5").unlink()
    done = predict("--runs", run)
    assert done.status == 2
    assert "best.weights.h5: not found" in done.errors[0]


def test_a_run_without_an_epoch_is_refused(predict, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    for name in ("best.weights.h5", "last.weights.h5"):
        (run / name).unlink()
    facts = json.loads((run / "run.json").read_text()) | {"best_epoch": None}
    write_json(run / "run.json", facts)
    assert "no epoch was finished" in predict("--runs", run).errors[0]


def test_softmax_of_large_logits_is_finite():
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]])), [[0.5, 0.5], [0, 1]])


def test_the_lists_of_the_records_name_the_cases(records):
    assert read_lines(records / "test.txt", "list") == json.loads((records / "dataset.json").read_text())["split"]["test"]
