"""The chain of skull-base patients: DICOM -> check -> align -> records -> run -> predictions on both grids and as DICOM SEG."""

import gzip
import json
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK

from data_prep.alignment import registration
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import read_seg, seg_masks
from data_prep.scans.itk import read_transform
from tests.dicom_files import BIRTH, NAME, STUDY_DATE
from tests.skull_base_dicom import write_patients
from tests.training.runs import TOY

SIZE = (40, 40, 32)
PREPARE = ("--prepare.intensity", "{T1: zscore, T2: zscore, T1FS: zscore, FLAIR: zscore, CT: window}")
PREPARE += ("--prepare.window", "[-160, 240]", "--prepare.statistics", "head", "--prepare.size", "[32,32,32]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two patients as DICOM, with rules and true transforms; to be read only."""
    out = tmp_path_factory.mktemp("skull_base")
    write_patients(out, 2, SIZE)
    return out


@pytest.fixture(scope="module")
def aligned(folder, command):
    """The patients, aligned at 5 mm; and how the command ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "LEVELS_MM", (8.0, 4.0, 3.0))
        patch.setattr(registration, "STEPS_MM", (2.0, 1.0, 0.5))
        options = ("--source", folder / "scans", "--series", folder / "rules.yaml", "--spacing_mm", 5)
        return folder / "aligned", command("data_prep.align", *options, "--out", folder / "aligned")


@pytest.fixture(scope="module")
def predicted(aligned, command, folder):
    """Predictions of the aligned patients by a run that was trained on them."""
    records, run, out = folder / "records", folder / "run", folder / "predictions"
    options = ("--split.fractions", "[1,0,0]", "--workers", 1)
    done = command("data_prep.make_records", "--source", aligned[0], "--out", records, *PREPARE, *options)
    assert done.status == 0, done.err
    done = command("training.train", "--records", records, "--out", run, *TOY, "--epochs", 1)
    assert done.status == 0, done.err
    done = command("evaluation.predict", "--runs", run, "--source", aligned[0], "--out", out, "--inside_only", "false")
    assert (done.status, done.errors) == (0, []), done.err
    assert "SEG" not in done.err
    return out


def test_check_reads_channels_on_their_own_grids(folder, command):
    options = ("--source", folder / "scans", "--series", folder / "rules.yaml")
    apart = command("data_prep.check", *options)
    assert apart.status == 2
    assert any("CT: series 5 (Schaedel nativ) is in another frame of reference" in line for line in apart.errors)
    assert all("register them first (glioskull align)" in line for line in apart.errors[:-1])
    done = command("data_prep.check", *options, "--own_grids", "true")
    assert (done.status, done.errors) == (0, [])
    assert "2, of 2 patients; 0 cannot be used" in done.out
    assert "grid of T1FS" in done.out
    assert "subtype          primary (1), secondary (1)" in done.out
    assert "other files, not read: 2 DICOMDIR, 2 OT, 2 SR, 6 not DICOM, 6 duplicates" in done.out


def test_examinations_are_registered_and_the_annotation_moves_with_its_series(folder, aligned):
    out, done = aligned
    assert done.status == 0, done.err
    assert [line.split(":")[0] for line in done.out.splitlines() if "registered" in line] == ["T1FS", "CT"]
    for index in range(2):
        facts = json.loads((out / f"case{index}" / "case.json").read_text())
        assert facts["label_channel"] == "T1FS"
        origins = {name: image["origin"] for name, image in facts["images"].items()}
        expected = {"T1": "reference", "T2": "headers", "FLAIR": "headers", "T1FS": "registration", "CT": "registration"}
        assert origins == expected
        label = nibabel.load(out / f"case{index}" / "label.nii.gz")
        points = np.argwhere(np.asarray(label.dataobj) > 0) @ label.affine[:3, :3].T + label.affine[:3, 3]
        for name in ("T1FS", "CT"):
            found = np.asarray(read_transform(out / f"case{index}" / f"{name}.tfm"))
            true = np.asarray(read_transform(folder / "truth" / f"case{index}_{name}.tfm"))
            difference = found - true
            assert np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).max() < 3


def test_predictions_lie_on_both_grids_and_the_seg_on_the_annotated_series(folder, predicted):
    for index in range(2):
        case = f"case{index}"
        paths = sorted((folder / "scans" / f"MUSTER{index:02d}").rglob("*.dcm"))
        series = next(each for each in index_files(paths).series if each.description == "t1 fs cor")
        common, scanner = (nibabel.load(place / f"{case}.nii.gz") for place in (predicted, predicted / "scanner"))
        assert common.shape == nibabel.load(folder / "aligned" / case / "T1.nii.gz").shape
        assert scanner.shape == series.stack.grid.shape
        np.testing.assert_allclose(scanner.affine, series.stack.grid.affine, atol=1e-3)
        seg = read_seg(predicted / "scanner" / f"{case}.seg.dcm")
        assert (seg.series_uid, seg.names) == (series.uid, {1: "tumor"})
        ids = np.asarray(scanner.dataobj)
        assert ids.any()
        np.testing.assert_array_equal(seg_masks(seg, series, series.stack.grid)[1], ids == 1)
        read = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(seg.path)))
        assert (read > 0).sum() == (ids > 0).sum()
        assert pydicom.dcmread(seg.path).PatientID == case


def test_predictions_are_scored_with_what_lies_beside_them(aligned, predicted, command):
    done = command("evaluation.score", "--predictions", predicted, "--source", aligned[0])
    assert (done.status, done.errors) == (0, [])


def test_no_name_and_no_date_reaches_an_output(folder, aligned, predicted):
    for place in (aligned[0], folder / "records", predicted):
        paths = [path for path in sorted(place.rglob("*")) if path.is_file()]
        assert paths
        for path in paths:
            content = path.read_bytes()
            content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
            for word in (NAME, BIRTH, STUDY_DATE, "MUSTER0", "SB0001"):
                assert word.encode() not in content, path


def test_without_the_dicom_predictions_are_nifti_alone(folder, aligned, predicted, command, tmp_path):
    moved = shutil.copytree(aligned[0], tmp_path / "aligned")
    manifest = json.loads((moved / "align.json").read_text())
    manifest["source"]["path"] = str(tmp_path / "gone")
    (moved / "align.json").write_text(json.dumps(manifest))
    done = command("evaluation.predict", "--runs", folder / "run", "--source", moved, "--out", tmp_path / "out")
    assert (done.status, done.errors) == (0, [])
    expected = f"warning: no DICOM SEG for 2 cases, NIfTI alone ({tmp_path / 'gone'}: source not found; "
    assert [line[: len(expected)] for line in done.err.splitlines() if "SEG" in line] == [expected]
    assert not list(tmp_path.rglob("*.dcm"))
    assert (tmp_path / "out" / "scanner" / "case0.nii.gz").is_file()
