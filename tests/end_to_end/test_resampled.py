"""Scans that are resampled: from thick oblique scans to records, a run, and predictions on the scanner's own grid."""

import nibabel
import numpy as np
from scipy.spatial.transform import Rotation

from data_prep.alignment import registration
from data_prep.labels import bits_to_classes
from data_prep.prepare import PrepareConfig, prepare
from data_prep.sources import open_source
from evaluation.heads.base import PredictionTask
from evaluation.heads.segmentation import SegmentationPredictor
from evaluation.inference.ensemble import InferenceConfig
from evaluation.inference.postprocess import PostprocessConfig
from tests.scans import save, write_rows
from tests.synthetic_heads import centred, head, tumour
from tests.training.runs import TOY

SHAPE = (40, 48, 16)
OBLIQUE = centred((2.0, 2.0, 6.0), SHAPE, Rotation.from_euler("xy", (12, -7), degrees=True).as_matrix() @ np.diag([-1, 1, 1]))
OTHER = centred((2.5, 2.5, 5.0), (34, 40, 20))
PREPARE = ("--prepare.intensity", "{T1: zscore, T2: minmax}", "--prepare.statistics", "head", "--workers", 1)
PREPARE += ("--split.fractions", "[1,0,0]")


def write(root, other):
    """A table of one case: T1 with its annotation on an oblique left-handed grid, T2 on the same or another one."""
    affine, shape = (OTHER, (34, 40, 20)) if other else (OBLIQUE, SHAPE)
    save(root / "t1.nii.gz", head(OBLIQUE, SHAPE).array, OBLIQUE)
    save(root / "t2.nii.gz", head(affine, shape, "T2").array, affine)
    save(root / "label.nii.gz", tumour(OBLIQUE, SHAPE), OBLIQUE)
    return write_rows(root / "cases.csv", [{"patient_id": "a", "T1": "t1.nii.gz", "T2": "t2.nii.gz", "label": "label.nii.gz"}])


def trained(command, source, folder, *options):
    """A run of one epoch on records of a source."""
    done = command("data_prep.make_records", "--source", source, "--out", folder / "records", *PREPARE, *options)
    assert done.status == 0, done.err
    done = command("training.train", "--records", folder / "records", "--out", folder / "run", *TOY, "--epochs", 1)
    assert done.status == 0, done.err
    return folder / "run"


def test_predictions_of_resampled_scans_lie_on_the_scanners_grid(command, tmp_path):
    source = write(tmp_path, other=False)
    run = trained(command, source, tmp_path, "--prepare.spacing_mm", 3, "--prepare.size", "[32,32,32]")
    options = ("--probabilities", "true", "--inside_only", "false", "--overlays", "false")
    done = command("evaluation.predict", "--runs", run, "--source", source, "--out", tmp_path / "out", *options)
    assert (done.status, done.errors) == (0, [])
    truth = nibabel.load(tmp_path / "label.nii.gz")
    classes, probabilities = (nibabel.load(tmp_path / "out" / f"{name}.nii.gz") for name in ("a", "a_probabilities"))
    assert classes.shape == SHAPE
    np.testing.assert_array_equal(classes.affine, truth.affine)
    shares = np.asarray(probabilities.dataobj)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-4)
    sure = np.abs(shares[..., 0] - shares[..., 1]) > 1e-3
    np.testing.assert_array_equal(np.asarray(classes.dataobj)[sure], shares.argmax(axis=-1)[sure])
    scored = command("evaluation.score", "--predictions", tmp_path / "out", "--source", source)
    assert scored.status == 0, scored.err


def test_predictions_of_aligned_scans_also_go_back_to_the_scanner(command, tmp_path, monkeypatch):
    monkeypatch.setattr(registration, "LEVELS_MM", (8.0, 4.0, 2.0))
    source, aligned = write(tmp_path, other=True), tmp_path / "aligned"
    options = ("--register", "never", "--spacing_mm", 3)
    done = command("data_prep.align", "--source", source, "--out", aligned, *options)
    assert done.status == 0, done.err
    run = trained(command, aligned, tmp_path, "--prepare.size", "[32,32,32]")
    done = command("evaluation.predict", "--runs", run, "--source", aligned, "--out", tmp_path / "out")
    assert (done.status, done.errors) == (0, [])
    assert nibabel.load(tmp_path / "out" / "a.nii.gz").shape == nibabel.load(aligned / "a" / "T1.nii.gz").shape
    scanner = nibabel.load(tmp_path / "out" / "scanner" / "a.nii.gz")
    assert scanner.shape == SHAPE
    np.testing.assert_allclose(scanner.affine, OBLIQUE, atol=1e-5)


def write_certain(source, config, out, **options):
    """Write a source's only case as a network would that finds the annotation with a probability of 0.9."""
    case = source.read(source.cases()[0])
    prepared = prepare(case, source.schema, config)
    classes = bits_to_classes(prepared.label)
    probabilities = np.where(np.arange(2) == classes[..., None], np.float32(0.9), np.float32(0.1))
    task = PredictionTask(
        source=source,
        out=out,
        schema=source.schema,
        engines={},
        inference=InferenceConfig(),
        postprocess=PostprocessConfig(),
        inside_only=False,
        overlays=False,
        **options,
    )
    predictor = SegmentationPredictor(None, task)
    if task.probabilities:
        predictor.write_probabilities(case, prepared, probabilities, None)
    else:
        predictor.write_case(case, prepared, classes, probabilities, out)


def test_a_prediction_lies_where_the_tumour_is_on_the_scanners_grid(command, tmp_path):
    source, aligned = write(tmp_path, other=True), tmp_path / "aligned"
    done = command("data_prep.align", "--source", source, "--out", aligned, "--register", "never", "--spacing_mm", 1.5)
    assert done.status == 0, done.err
    write_certain(open_source(aligned), PrepareConfig(crop=None, size=None), tmp_path / "out", probabilities=False)
    found = np.asarray(nibabel.load(tmp_path / "out" / "scanner" / "a.nii.gz").dataobj) > 0
    truth = tumour(OBLIQUE, SHAPE) > 0
    assert 2 * np.sum(found & truth) / (found.sum() + truth.sum()) > 0.9


def test_probabilities_add_up_to_1_where_the_prepared_volume_ends_before_the_scan(tmp_path):
    source = open_source(write(tmp_path, other=False))
    config = PrepareConfig(crop=None, size=None, spacing_mm=9.5)  # 40 rows of 2 mm are 8.4 of 9.5 mm, which become 8
    write_certain(source, config, tmp_path / "out", probabilities=True)
    shares = np.asarray(nibabel.load(tmp_path / "out" / "a_probabilities.nii.gz").dataobj)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-5)
