"""Prediction on the patients' own grid: grid, ids, dtype, averages of runs, and what is refused."""

import csv
import json
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from PIL import Image

from common.files import read_lines, write_json
from data_prep.labels import LabelSchema
from evaluation.inference.ensemble import softmax
from tests.evaluation.conftest import CASE
from tests.scans import KAGGLE_CHANNELS, LPS, scan, write_brats, write_kaggle_3m, write_table
from tests.training.runs import write_facts
from training.run import Run


def test_a_prediction_lies_on_the_patients_own_grid(predict, source, tmp_path):
    done = predict("--overlays", "true")
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
    assert predict("--probabilities", "true", "--inside_only", "false").status == 0
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
        assert predict("--inside_only", only, out=tmp_path / only).status == 0
        found[only] = np.asarray(nibabel.load(tmp_path / only / f"{CASE}.nii.gz").dataobj)
    assert not found["true"][outside].any()
    np.testing.assert_array_equal(found["true"][~outside], found["false"][~outside])


def test_the_average_of_a_run_with_itself_is_the_run(predict, trained, tmp_path):
    assert predict(out=tmp_path / "one").status == 0
    assert predict("--runs", json.dumps([str(trained)] * 2), out=tmp_path / "two").status == 0
    one, two = (np.asarray(nibabel.load(tmp_path / name / f"{CASE}.nii.gz").dataobj) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_a_second_call_adds_its_cases(predict, command, trained, source, tmp_path):
    assert predict().status == 0
    (tmp_path / "more.txt").write_text("case_0\n")
    assert predict("--cases", tmp_path / "more.txt").status == 0
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


def test_a_table_has_the_schema_of_the_run(command, trained, tmp_path):
    table = write_table(tmp_path / "scans", [scan("a", shape=(16, 14, 6))])  # ids 0, 1, 2, 4: not those of binary
    done = command("evaluation.predict", "--runs", trained, "--source", table, "--out", tmp_path / "p", "--overlays", "false")
    assert done.status == 0, done.err
    assert set(np.unique(nibabel.load(tmp_path / "p" / "a.nii.gz").dataobj)) <= {0, 1, 2, 4}
    refused = command(
        "evaluation.predict", "--runs", trained, "--source", table, "--labels", "binary", "--out", tmp_path / "other"
    )
    assert (refused.status, "unknown label id 2, 4" in refused.err) == (2, True)


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
        (("--least_size", "[-8, 8]"), "--least_size: expected at least 0; received -8"),
        (("--overlap", ".nan"), "--overlap: expected a finite number; received nan"),
        (("--tolerance_mm", ".nan"), "--tolerance_mm: expected at least 0; received nan"),
        (("--runs", "nowhere"), "expected a run"),
        (("--cases", "case_4"), "case_4: list of cases (a text file, one id a line) not found"),
        (("--channels", "flair", "t2"), "was trained on flair, t1, t1ce, t2; received flair, t2"),
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
    """Weights decide, not paths: those of a copy are equal, those after another epoch are not."""
    assert predict().status == 0
    other = shutil.copytree(trained, tmp_path / "other")
    assert predict("--runs", other).status == 0
    shutil.copyfile(other / "last.weights.h5", other / "best.weights.h5")
    with (other / "best.weights.h5").open("ab") as file:
        file.write(b"0")
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
    del facts["weights"]
    write_json(run / "run.json", facts)
    assert "no epoch was finished" in predict("--runs", run).errors[0]


def test_softmax_of_large_logits_is_finite():
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]])), [[0.5, 0.5], [0, 1]])


def test_the_lists_of_the_records_name_the_cases(records):
    assert read_lines(records / "test.txt", "list") == json.loads((records / "dataset.json").read_text())["split"]["test"]


def ids_of(folder, case=CASE):
    return np.asarray(nibabel.load(folder / f"{case}.nii.gz").dataobj)


def classes_of(folder):
    """Rows of classes.csv, by their column."""
    return list(csv.DictReader((folder / "classes.csv").read_text().splitlines()))


def with_rules(run, copy, rules):
    """A copy of a run with post-processing of its own."""
    copy = shutil.copytree(run, copy)
    (copy / "postprocess.yaml").write_text(rules)
    return copy


@pytest.fixture(scope="module")
def graded(command, trained, classified, source, tmp_path_factory):
    """Two cases, segmented and classified; to be read only."""
    folder = tmp_path_factory.mktemp("graded")
    (folder / "ids.txt").write_text(f"case_0\n{CASE}\n")
    runs = json.dumps([str(trained), str(classified)])
    options = ("--source", source, "--cases", folder / "ids.txt", "--overlays", "false")
    done = command("evaluation.predict", "--runs", runs, *options, "--out", folder / "out")
    assert done.status == 0, done.err
    assert f"classes in {folder / 'out' / 'classes.csv'}" in done.out
    return folder / "out"


def test_a_classifier_beside_a_segmentation_classifies_each_case(graded):
    rows = classes_of(graded)
    names = ["case", "patient", "grade", "predicted", "probability HGG", "probability LGG", "slices", "backbone"]
    assert list(rows[0]) == names
    assert [(row["case"], row["grade"]) for row in rows] == [("case_0", "HGG"), (CASE, "LGG")]
    for row in rows:
        told = {name: float(row[f"probability {name}"]) for name in ("HGG", "LGG")}
        assert sum(told.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(told, key=told.get)
        tumour = (ids_of(graded, row["case"]) > 0).any(axis=(0, 1)).sum()
        assert int(row["slices"]) == (tumour or 8)
        assert row["backbone"] == "random initialisation"


def test_a_classifier_changes_no_voxel(graded, predict, trained, tmp_path):
    assert predict().status == 0
    np.testing.assert_array_equal(ids_of(graded), ids_of(tmp_path / "out"))
    manifest = json.loads((graded / "predictions.json").read_text())
    assert manifest["cases"] == ["case_0", CASE]
    assert len(manifest["runs"]) == 2
    assert not (tmp_path / "out" / "classes.csv").exists()


def test_the_probability_is_the_mean_over_the_tumour_slices(graded, classified, source):
    from data_prep.prepare import prepare
    from data_prep.sources import open_source
    from evaluation.inference.ensemble import Classifiers, InferenceConfig

    run, opened = Run(classified), open_source(source)
    case = opened.read(next(files for files in opened.cases() if files.id == CASE))
    image = prepare(case, None, replace(run.preparation, crop=None)).image
    tumour = (ids_of(graded) > 0).any(axis=(0, 1))
    probabilities = Classifiers([run], [run.load_network()], InferenceConfig()).probabilities(image)
    expected = probabilities[tumour if tumour.any() else slice(None)].mean(axis=0)
    row = next(row for row in classes_of(graded) if row["case"] == CASE)
    np.testing.assert_allclose([float(row["probability HGG"]), float(row["probability LGG"])], expected, atol=1e-5)


def test_a_classifier_alone_segments_nothing(predict, classified, tmp_path):
    done = predict("--runs", classified)
    assert done.status == 0, done.err
    (row,) = classes_of(tmp_path / "out")
    assert (row["case"], row["slices"]) == (CASE, "4")  # those that the annotation shows tumour on
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["cases"] == []
    assert predict("--runs", classified).status == 0  # once more into the same folder


def test_a_second_call_keeps_the_classes_of_the_first(predict, classified, tmp_path):
    assert predict("--runs", classified).status == 0
    (tmp_path / "more.txt").write_text("case_0\n")
    assert predict("--runs", classified, "--cases", tmp_path / "more.txt").status == 0
    assert sorted(row["case"] for row in classes_of(tmp_path / "out")) == ["case_0", CASE]


def test_classifiers_of_other_classes_are_not_averaged(predict, classified, tmp_path):
    other = shutil.copytree(classified, tmp_path / "other")
    facts = json.loads((other / "run.json").read_text())
    facts["heads"]["classification"]["classes"] = {"II": ["HGG"], "III": ["LGG"]}
    write_facts(other, facts)
    done = predict("--runs", json.dumps([str(classified), str(other)]))
    assert done.status == 2
    assert "its classes differ" in done.errors[0]


def test_mirrored_views_are_averaged(predict, trained, source, tmp_path):
    from data_prep.prepare import prepare
    from data_prep.sources import open_source

    options = ("--flips", "x", "y", "--inside_only", "false", "--overlays", "false", "--probabilities", "true")
    assert predict(*options).status == 0
    run, opened = Run(trained), open_source(source)
    case = opened.read(next(files for files in opened.cases() if files.id == CASE))
    prepared = prepare(case, None, replace(run.preparation, crop=None))
    image, network = prepared.image.astype(np.float32), run.load_network()
    ways = [(y, x) for y in (1, -1) for x in (1, -1)]
    views = [np.asarray(network.predict_on_batch(image[:, ::y, ::x].copy())["segmentation"])[:, ::y, ::x] for y, x in ways]
    classes = prepared.geometry.to_native(np.mean(views, axis=0).argmax(axis=-1).astype(np.uint8))
    expected = LabelSchema.load("brats2017-2021").to_ids(classes)
    assert (ids_of(tmp_path / "out") == expected).mean() > 0.999  # but for ties in float32
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["flips"] == ["x", "y"]


def test_an_axis_that_is_none_is_refused(predict):
    done = predict("--flips", "up")
    assert (done.status, len(done.errors)) == (2, 1)


def test_postprocessing_of_a_file_goes_before_that_of_the_run(predict, trained, tmp_path):
    run = with_rules(trained, tmp_path / "run", "threshold: 0.0\n")  # every voxel of the head is tumour
    everything = tmp_path / "everything"
    assert predict("--runs", run, out=everything).status == 0
    assert (ids_of(everything) > 0).any()
    rules = tmp_path / "rules.yaml"
    rules.write_text("least_voxels: {foreground: 1000000}\n")
    assert predict("--runs", run, "--postprocess", rules, out=tmp_path / "nothing").status == 0
    assert not ids_of(tmp_path / "nothing").any()
    manifest = json.loads((tmp_path / "nothing" / "predictions.json").read_text())
    assert manifest["postprocess"]["least_voxels"] == {"foreground": 1000000}


def test_runs_of_different_postprocessing_need_a_choice(predict, trained, tmp_path):
    other = with_rules(trained, tmp_path / "other", "largest: true\n")
    runs = json.dumps([str(trained), str(other)])
    done = predict("--runs", runs)
    assert done.errors == ["error: --runs: their post-processing differs (postprocess.yaml); choose one by --postprocess FILE"]
    assert predict("--runs", runs, "--overlays", "false", "--postprocess", other / "postprocess.yaml").status == 0


def test_a_structure_that_no_schema_knows_is_refused(predict, tmp_path):
    (tmp_path / "rules.yaml").write_text("least_voxels: {spleen: 3}\n")
    done = predict("--postprocess", tmp_path / "rules.yaml")
    assert (done.status, len(done.errors)) == (2, 1)
    assert "spleen" in done.errors[0]


def test_slices_of_tiff_get_masks_of_tiff_too(command, tmp_path):
    names = [f"TCGA_CS_494{number}_19960909" for number in range(2)]
    scans = [
        scan(name, seed=seed, shape=(12, 10, 4), ids=(0, 255), channels=KAGGLE_CHANNELS, dtype=np.uint8)
        for seed, name in enumerate(names)
    ]
    root = write_kaggle_3m(tmp_path / "kaggle_3m", scans, numbers=[2, 3, 9, 10])
    whole = ("--prepare.crop=null", "--prepare.size=null", "--split.fractions", "[1,0,0]", "--workers", 1)
    assert command("data_prep.make_records", "--source", root, "--out", tmp_path / "records", *whole).status == 0
    tiny = (
        "--model.filters",
        2,
        "--model.depth",
        1,
        "--precision",
        "float32",
        "--input.batch_size",
        4,
        "--input.resize",
        "[8,8]",
    )
    short = ("--epochs", 1, "--steps_per_epoch", 2, "--loss.name", "bce_dice")
    done = command("training.train", "--records", tmp_path / "records", "--out", tmp_path / "run", *tiny, *short)
    assert done.status == 0, done.err
    options = ("--source", root, "--out", tmp_path / "out", "--overlays", "false")
    assert command("evaluation.predict", "--runs", tmp_path / "run", *options).status == 0
    for name in names:
        ids = ids_of(tmp_path / "out", name)
        assert ids.shape == (12, 10, 4)
        masks = [np.asarray(Image.open(tmp_path / "out" / name / f"{name}_{number}_mask.tif")) for number in (2, 3, 9, 10)]
        np.testing.assert_array_equal(np.stack(masks, axis=-1), np.where(ids > 0, 255, 0))
        assert masks[0].dtype == np.uint8
        assert len(list((tmp_path / "out" / name).iterdir())) == 4


def test_what_is_unusual_is_said_and_what_is_written_fits_the_scan(command, trained, tmp_path):
    """Labels of 64 bits, a qform beside another sform, voxels of 3 mm, a bright voxel, and the post-processing of the run."""
    made = scan("case_x", seed=3, shape=(18, 20, 8), affine=LPS @ np.diag([3.0, 3, 3, 1]))
    made.images["t2"][5, 5, 5] = 32000
    write_brats(tmp_path / "scans", [made])
    for path in (tmp_path / "scans").rglob("*.nii.gz"):
        image = nibabel.load(path)
        voxels = np.asarray(image.dataobj).astype(np.int64 if path.name.endswith("_seg.nii.gz") else np.int16)
        both = nibabel.Nifti1Image(voxels, image.affine, dtype=voxels.dtype)
        both.set_qform(np.diag([3.0, 3, 3, 1]), 1)
        nibabel.save(both, path)
    rules = tmp_path / "rules.yaml"
    rules.write_text("least_voxels: {WT: 5}\nchosen: {metric: dice, structure: WT, patients: 1, patient_ids: [case_x]}\n")
    out = tmp_path / "out"
    options = ("--source", tmp_path / "scans", "--out", out, "--overlays", "false", "--postprocess", rules)
    done = command("evaluation.predict", "--runs", trained, *options)
    assert done.status == 0, done.err
    for said in (
        "sform and qform place a voxel up to",
        "case_x: has voxels of 3 x 3 x 3 mm (z, y, x); its runs were trained on 1 x 1 x 1 mm",
        "t2: 99.9 % of its voxels lie in the lowest",
    ):
        assert said in done.err
    chosen = "post-processing: components of WT of 5 voxels or more; chosen on 1 validation patient by dice of WT"
    assert chosen in done.out
    image = nibabel.load(out / "case_x.nii.gz")
    assert image.get_data_dtype() == np.int32
    np.testing.assert_allclose(image.get_qform(), np.diag([3.0, 3, 3, 1]), atol=1e-5)
    np.testing.assert_allclose(image.get_sform(), made.affine)
    scored = command("evaluation.score", "--predictions", out, "--source", tmp_path / "scans")
    assert scored.status == 0, scored.err
    assert f"{chosen} (" in scored.out
    assert "; 1 of 1 scored patients are among them: optimistic" in scored.out
    (entry,) = json.loads((out / "scores" / "scores.json").read_text())["postprocessing"]
    assert entry["patient_ids"] == ["case_x"]
