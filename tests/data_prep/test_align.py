import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep.alignment import registration
from data_prep.scans.itk import read_transform
from data_prep.sources import open_source
from tests.scans import save, write_rows
from tests.synthetic_heads import centred, head, tumour

SHAPE, THICK = (46, 56, 50), (40, 48, 30)
REFERENCE = centred((2.0, 2.0, 2.0), SHAPE)
OBLIQUE = centred((2.4, 2.4, 3.5), THICK, Rotation.from_euler("x", 12, degrees=True).as_matrix() @ np.diag([-1, 1, 1]))


def displacement():
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", (6, -4, 9), degrees=True).as_matrix()
    transform[:3, 3] = (6, -5, 4)
    return transform


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(registration, "LEVELS_MM", (8.0, 4.0, 2.0))
    monkeypatch.setattr(registration, "STEPS_MM", (2.0, 1.0, 0.5))


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A table of two cases, T1 with the annotation and a displaced oblique T2, and of one whose T1 is missing."""
    root = tmp_path_factory.mktemp("scans")
    rows = []
    for number, name in enumerate(("anna", "bert"), start=1):  # equal images of two patients are refused
        row = {"patient_id": name, "side": "left"}
        volumes = {"T1": head(REFERENCE, SHAPE).array, "T2": head(OBLIQUE, THICK, "T2", displacement()).array}
        for channel, affine in (("T1", REFERENCE), ("T2", OBLIQUE)):
            row[channel] = f"{name}_{channel}.nii.gz"
            save(root / row[channel], number * volumes[channel], affine)
        row["label"] = f"{name}_label.nii.gz"
        save(root / row["label"], tumour(REFERENCE, SHAPE), REFERENCE)
        rows.append(row)
    return write_rows(root / "cases.csv", [*rows, {"patient_id": "zoe", "T2": rows[0]["T2"]}])


@pytest.fixture(scope="module")
def aligned(scans, command, tmp_path_factory):
    """Both good cases, aligned at 2.5 mm; and how the command ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "LEVELS_MM", (8.0, 4.0, 2.0))
        patch.setattr(registration, "STEPS_MM", (2.0, 1.0, 0.5))
        out = tmp_path_factory.mktemp("aligned") / "out"
        return out, command(
            "data_prep.align", "--source", scans, "--out", out, "--spacing_mm", 2.5, "--missing_channels", "zero"
        )


def test_a_case_that_fails_is_listed_and_loses_no_other(aligned):
    out, done = aligned
    assert done.status == 2
    assert done.errors == [
        "error: zoe: lacks channel T1, to which the others are to be registered",
        "error: 1 of 3 cases could not be aligned; the others are written",
    ]
    assert done.out.splitlines()[-1] == f"aligned scans: {out} (2 cases)"
    assert done.out.startswith("T2: registered in 2 cases, mean similarity 1.0")
    rows = list(csv.DictReader((out / "cases.csv").open()))
    assert [row["case_id"] for row in rows] == ["anna", "bert"]
    assert rows[0]["side"] == "left"


def test_all_images_lie_on_one_grid_and_the_transform_is_the_displacement(aligned):
    out = aligned[0]
    images = {name: nibabel.load(out / "anna" / f"{name}.nii.gz") for name in ("T1", "T2", "label")}
    for image in images.values():
        np.testing.assert_array_equal(image.affine, images["T1"].affine)
        assert image.shape == (37, 45, 40)
    found = np.asarray(read_transform(out / "anna" / "T2.tfm"))
    point = np.array([12.0, 14.0, -8.0, 1.0])
    assert np.linalg.norm((found - displacement()) @ point) < 1
    np.testing.assert_allclose(read_transform(out / "anna" / "T1.tfm"), np.eye(4))
    label = np.asarray(images["label"].dataobj)
    assert label.dtype == np.uint8
    assert label.sum() * 2.5**3 == pytest.approx(4 / 3 * np.pi * 8 * 7 * 6, rel=0.2)


def test_pictures_and_numbers_of_each_registered_channel_are_written(aligned):
    folder = aligned[0] / "anna"
    assert {path.name for path in folder.glob("*.png")} == {"T1.png", "T2_checkerboard.png", "T2_edges.png"}
    facts = json.loads((folder / "case.json").read_text())
    t2 = facts["images"]["T2"]
    assert t2["origin"] == "registration"
    assert t2["after"] > t2["before"] + 0.1
    assert t2["degrees"] == pytest.approx(11.6, abs=1.5)
    assert facts["images"]["T1"]["origin"] == "reference"
    assert "scans" not in json.dumps(facts["sources"])


def test_every_command_reads_the_output_as_a_source(aligned, command):
    source = open_source(aligned[0])
    assert (source.layout, source.channels, source.schema.name) == ("aligned", ["T1", "T2"], "binary")
    case = source.read(source.cases()[0])
    assert case.missing == []
    whole = ("--split.fractions", "[1, 0, 0]", "--workers", 1, "--prepare.size", "[16, 16, 16]")
    done = command("data_prep.make_records", "--source", aligned[0], "--out", aligned[0].parent / "records", *whole)
    assert done.status == 0, done.err


def test_the_same_call_goes_on_where_it_was_from_moved_scans_and_gives_equal_bits(aligned, scans, command, tmp_path):
    out = shutil.copytree(aligned[0], tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (out / "bert").iterdir()}
    image = np.asarray(nibabel.load(out / "anna" / "T2.nii.gz").dataobj)
    facts = (out / "anna" / "case.json").read_bytes()
    (out / "anna" / "case.json").unlink()
    options = ("--source", scans, "--out", out, "--missing_channels", "zero", "--spacing_mm")
    moved = shutil.copytree(scans.parent, tmp_path / "moved", copy_function=shutil.copy2) / scans.name
    options = ("--source", moved, *options[2:])
    assert command("data_prep.align", *options, 2.5).status == 2
    assert {path: path.stat().st_mtime_ns for path in (out / "bert").iterdir()} == before
    assert (out / "anna" / "case.json").read_bytes() == facts
    np.testing.assert_array_equal(nibabel.load(out / "anna" / "T2.nii.gz").dataobj, image)
    other = command("data_prep.align", *options, 2.0)
    assert (other.status, other.errors[-1][:60]) == (2, "error: these aligned scans were begun with another config; c")
    changed = shutil.copytree(scans.parent, tmp_path / "changed", copy_function=shutil.copy2) / scans.name
    (changed.parent / "bert_T1.nii.gz").touch()
    other = command("data_prep.align", "--source", changed, *options[2:], 2.5)
    assert (other.status, "source was" in other.errors[0]) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--reference", "T3"), "--reference: expected one of T1, T2; received T3"),
        (("--label_channel", "CT"), "--label_channel: expected one of T1, T2; received CT"),
        (("--spacing_mm", 0), "--spacing_mm: expected 0.05 to 25; received 0"),
        (("--spacing_mm", "[1, 1, 1000]"), "--spacing_mm: expected 0.05 to 25; received 1000"),
        (("--largest_shift_mm", -3), "--largest_shift_mm: expected at least 0; received -3"),
        (("--register", "never", "--transform", "affine"), "--transform affine: --register never finds no transform"),
        (("--least_similarity", 3), "--least_similarity: expected 1 to 2; received 3"),
    ],
)
def test_wrong_options_are_one_line(options, message, scans, command, tmp_path):
    done = command("data_prep.align", "--source", scans, "--out", tmp_path / "out", *options)
    assert done.status == 2
    assert done.errors[0].startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


def test_an_annotation_that_is_cut_off_is_warned_of(command, tmp_path):
    slab = (46, 56, 20)
    above = REFERENCE.copy()
    above[:3, 3] += REFERENCE[:3, :3] @ [0, 0, 22]  # the tumour lies 8 mm below the middle
    save(tmp_path / "t1.nii.gz", head(above, slab).array, above)
    save(tmp_path / "t2.nii.gz", head(REFERENCE, SHAPE, "T2").array, REFERENCE)
    save(tmp_path / "label.nii.gz", tumour(REFERENCE, SHAPE), REFERENCE)
    row = {"patient_id": "anna", "T1": "t1.nii.gz", "T2": "t2.nii.gz", "label": "label.nii.gz"}
    source = write_rows(tmp_path / "cases.csv", [row])
    options = ("--source", source, "--register", "never", "--out")
    done = command("data_prep.align", *options, tmp_path / "out", "--label_channel", "T2")
    assert done.status == 0
    (line,) = [line for line in done.err.splitlines() if "annotation" in line]
    assert "% of it lies outside T1 and is cut off" in line
    done = command("data_prep.align", *options, tmp_path / "other", "--label_channel", "T1")
    assert any(
        "annotation: has another grid than T1; its place is taken from its header" in line for line in done.err.splitlines()
    )
