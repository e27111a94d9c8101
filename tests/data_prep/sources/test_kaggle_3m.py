"""What the LGG Segmentation Dataset's layout has of its own; what it shares with the others is tested with them."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from common.errors import Problems, UserError
from data_prep.records.folder import Records
from data_prep.scans import tiff
from data_prep.sources import SourceConfig, open_source
from data_prep.sources.kaggle_3m import NAME
from tests.scans import KAGGLE_CHANNELS, save, save_slice, scan, write_brats, write_kaggle_3m, write_msd

FIRST, SECOND = "TCGA_CS_4941_19960909", "TCGA_HT_A61B_19991127"
ROWS = {
    "TCGA_CS_4941": {"RNASeqCluster": "2", "neoplasm_histologic_grade": "1", "death01": ""},
    "TCGA_HT_A61B": {"RNASeqCluster": "", "neoplasm_histologic_grade": "", "death01": "0"},
}


def made(name=FIRST, **options):
    return scan(name, **({"ids": (0, 255), "channels": KAGGLE_CHANNELS, "dtype": np.uint8, "seed": len(name)} | options))


def only(root, **options):
    """The source, its single case, and the case as read."""
    source = open_source(root, SourceConfig(**options))
    (files,) = source.cases()
    return source, files


@pytest.fixture
def root(tmp_path):
    return write_kaggle_3m(tmp_path / "lgg" / "kaggle_3m", [made(), made(SECOND)], ROWS)


@pytest.fixture
def patient(tmp_path):
    """A folder of one labelled patient without a table."""
    return write_kaggle_3m(tmp_path / "kaggle_3m", [made()]) / FIRST


@pytest.mark.parametrize("place", [".", ".."])
def test_the_folder_of_patients_or_one_above_is_the_root(root, place):
    source = open_source(root / place)
    assert [(files.id, files.patient, files.label.path.name) for files in source.cases()] == [
        (FIRST, FIRST, FIRST),
        (SECOND, SECOND, SECOND),
    ]
    assert [files.attributes for files in source.cases()] == [
        {"institution": "CS", "Patient": "TCGA_CS_4941", "RNASeqCluster": "2", "neoplasm_histologic_grade": "1"},
        {"institution": "HT", "Patient": "TCGA_HT_A61B", "death01": "0"},
    ]
    assert [source.warnings(files) for files in source.cases()] == [[], []]


def test_a_table_above_the_folder_of_patients_is_used(root):
    (root / "data.csv").rename(root.parent / "data.csv")
    assert open_source(root.parent).cases()[0].attributes["RNASeqCluster"] == "2"
    assert open_source(root).cases()[0].attributes == {"institution": "CS"}


@pytest.mark.parametrize("there", [True, False])
def test_one_patients_folder_is_a_root(root, there, monkeypatch):
    monkeypatch.chdir(root / FIRST)
    source, files = only(root / FIRST if there else ".")
    assert (files.id, files.attributes, source.warnings(files)) == (FIRST, {"institution": "CS"}, [])
    assert source.check(files, deep=True) == []


def test_slices_are_joined_by_number_whatever_they_begin_with(tmp_path):
    scans = [made()]
    root = write_kaggle_3m(tmp_path, scans, numbers=[2, 3, 4, 9, 10, 11, 100, 101])
    source, files = only(root)
    case = source.read(files)
    np.testing.assert_array_equal(case.channels["flair"], scans[0].images["flair"])
    np.testing.assert_array_equal(case.label, scans[0].label)
    assert source.warnings(files) == [f"{root / FIRST}: slice numbers are missing: 5-8, 12-99; the others are joined"]
    assert source.check(files, deep=True) == []


def test_a_single_missing_number_is_named_once(patient):
    for path in patient.glob(f"{FIRST}_4*.tif"):
        path.unlink()
    source, files = only(patient.parent)
    assert source.warnings(files) == [f"{patient}: slice numbers are missing: 4; the others are joined"]
    assert source.shape(files) == source.read(files).shape == (10, 9, 7)


def test_a_patient_without_a_row_is_warned_about(root):
    (root / "data.csv").write_text("Patient,grade\nTCGA_CS_4941,2\n")
    source = open_source(root)
    first, second = source.cases()
    assert (first.attributes["grade"], second.attributes, source.warnings(first)) == ("2", {"institution": "HT"}, [])
    assert source.warnings(second) == [
        f"{root / 'data.csv'}: has no row TCGA_HT_A61B for {SECOND}, which gets no attributes",
    ]


def test_rows_without_a_folder_are_one_warning_of_the_source(root):
    names = [f"TCGA_XX_{number:04}" for number in range(90)]
    (root / "data.csv").write_text("\n".join(["Patient,grade", "TCGA_CS_4941,1", "TCGA_HT_A61B,", *(f"{n},2" for n in names)]))
    source = open_source(root)
    assert [line for files in source.cases() for line in source.warnings(files)] == []
    shown = ", ".join(names[:5])
    assert source.source_warnings() == [
        f"{root / 'data.csv'}: 90 of 92 rows have no folder and are ignored: {shown} and 85 others"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,grade\nx,1\n", "data.csv: expected a column Patient; received name, grade"),
        ("Patient,grade\nTCGA_CS_4941,1\nTCGA_CS_4941,2\n", "expected one row per patient; received different ones of TCGA_CS"),
        ("Patient,grade\nTCGA_CS_4941\n", "data.csv: line 2: expected 2 cells"),
    ],
)
def test_a_table_that_makes_no_sense_gives_one_line(root, content, message):
    (root / "data.csv").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        open_source(root)
    assert "\n" not in str(caught.value)


def test_images_without_masks_are_an_unlabelled_case(tmp_path):
    source, files = only(write_kaggle_3m(tmp_path, [replace(made(), label=None)]))
    assert (files.label, source.check(files, deep=True), source.read(files).label) == (None, [], None)


def both(source, files, message):
    """The single line of check and read."""
    with pytest.raises(UserError, match=message) as caught:
        source.read(files)
    assert source.check(files) == source.check(files, deep=True) == [str(caught.value)]
    return str(caught.value)


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def with_value(path: Path, value: int) -> None:
    array = pixels(path)
    array.flat[7] = value
    save_slice(path, array)


BAD_SLICES = {
    "shape": (lambda path: save_slice(path, pixels(path)[1:]), r"shape \(9, 9\) differs from \(10, 9\) of .*_1.tif"),
    "empty": (lambda path: path.write_bytes(b""), "empty file; expected a TIFF image"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-20]), "truncated or damaged .*; fetch it again"),
    "no header": (lambda path: path.write_bytes(path.read_bytes()[:60]), "truncated or damaged|not a TIFF image, or damaged"),
    "not TIFF": (lambda path: path.write_text("patient,age\n" * 99), "expected a TIFF image; it is text"),
    "PNG": (lambda path: Image.open(path).save(path, format="PNG"), "it is a PNG picture"),
    "no file": (lambda path: path.unlink(), "file not found"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "slice is a folder"),
}
BAD_MASKS = {
    "16 bits": (lambda path: save_slice(path, pixels(path).astype(np.uint16)), "8-bit grey .*; received mode I;16 of 16 bits"),
    "unknown id": (lambda path: with_value(path, 7), "unknown label id 7 in 1 voxel; schema .* has 0, 255; write a schema"),
    "three channels": (lambda path: save_slice(path, np.stack([pixels(path)] * 3, -1)), "of one channel; received mode RGB"),
}
BAD_PICTURES = {
    "one channel": (lambda path: save_slice(path, pixels(path)[..., 0]), "of three channels; received mode L of 8 bits"),
    "four channels": (lambda path: save_slice(path, pixels(path)[..., [0, 1, 2, 0]]), "received mode RGBA of 8, 8, 8, 8 bits"),
}


@pytest.mark.parametrize(
    ("ending", "spoil", "message"),
    [
        *(pytest.param("3_mask", *bad, id=f"mask: {name}") for name, bad in (BAD_SLICES | BAD_MASKS).items()),
        *(pytest.param("3", *bad, id=f"image: {name}") for name, bad in (BAD_SLICES | BAD_PICTURES).items()),
    ],
)
def test_a_bad_slice_gives_one_line(patient, ending, spoil, message):
    source, files = only(patient)
    path = patient / f"{FIRST}_{ending}.tif"
    spoil(path)
    assert both(source, files, message).startswith(f"{path}: ")


def test_an_image_without_mask_is_refused_where_others_have_one(patient):
    for number in (3, 5):
        (patient / f"{FIRST}_{number}_mask.tif").unlink()
    line = both(*only(patient), r"has no mask, as other slices of its case have \(also slices 5\); add it")
    assert line.startswith(f"{patient}/{FIRST}_3.tif: ")


def test_a_mask_without_image_is_refused(patient):
    (patient / f"{FIRST}_8.tif").unlink()
    line = both(*only(patient), "mask without an image; add slice 8, or remove the mask")
    assert line.startswith(f"{patient}/{FIRST}_8_mask.tif: ")


def test_masks_alone_are_a_bad_case_but_no_source(root):
    for path in (root / FIRST).glob("*[0-9].tif"):
        path.unlink()
    source = open_source(root)
    assert len(source.check(source.cases()[0])) == 8
    with pytest.raises(UserError, match="mask without an image"):
        source.shape(source.cases()[0])
    with pytest.raises(UserError, match="no layout recognised"):
        open_source(root / FIRST)


@pytest.mark.parametrize("ending", ["_01.tif", "_1.TIFF", "_1_mask.tiff", "_001_MASK.tif"])
def test_a_number_in_two_files_is_refused(patient, ending):
    taken = "_1_mask.tif" if "mask" in ending.lower() else "_1.tif"
    shutil.copy(patient / f"{FIRST}{taken}", patient / f"{FIRST}{ending}")
    source, files = only(patient)
    assert patient / f"{FIRST}{ending}" in files.paths
    both(source, files, "slice number stands twice, also in .*; keep one")


def test_masks_of_0_and_1_are_refused_unless_they_are_meant(tmp_path):
    ones = made()
    ones.label[ones.label > 0] = 1
    root = write_kaggle_3m(tmp_path, [ones])
    line = both(
        *only(root),
        r"unknown label id 1 in .* voxels; schema kaggle_3m has 0, 255; if they mean 1 tumor, give --labels binary;",
    )
    assert line.startswith(f"{root / FIRST / FIRST}_2_mask.tif: ")
    assert line.endswith("(also slices 3, 4, 5, 6, 7)")
    source, files = only(root, labels="binary")
    np.testing.assert_array_equal(source.read(files).label, ones.label)


def test_masks_without_any_tumour_are_fine(tmp_path):
    bare = made()
    bare.label[...] = 0
    source, files = only(write_kaggle_3m(tmp_path, [bare]))
    assert source.check(files, deep=True) == []
    assert not source.read(files).label.any()


def test_a_slice_of_another_shape_than_most_is_named(patient):
    for path in patient.glob(f"{FIRST}_1*.tif"):
        save_slice(path, np.zeros((4, 5, 3) if "mask" not in path.name else (4, 5), np.uint8))
    source, files = only(patient)
    reason = f"shape (4, 5) differs from (10, 9) of {patient}/{FIRST}_2.tif; resample it onto that grid"
    assert source.check(files) == [f"{patient}/{FIRST}_1{end}.tif: {reason}" for end in ("", "_mask")]
    with pytest.raises(Problems):
        source.read(files)


def test_an_image_damaged_behind_its_header_is_found_by_the_deep_check(tmp_path):
    root = write_kaggle_3m(tmp_path, [made()])
    path = root / FIRST / f"{FIRST}_3.tif"
    Image.open(path).save(path, compression="tiff_deflate")
    data = bytearray(path.read_bytes())
    data[8:40] = bytes(32)
    path.write_bytes(data)
    source, files = only(root)
    assert source.check(files) == []
    (line,) = source.check(files, deep=True)
    assert line.startswith(f"{path}: ")


def test_other_files_are_warned_about_and_hidden_ones_are_not(patient):
    for name in ("notes.txt", "overview.tif", f"{FIRST}_x_mask.tif", ".DS_Store", f"._{FIRST}_1.tif"):
        (patient / name).write_bytes(b"")
    (patient / "drawings").mkdir()
    source, files = only(patient)
    assert source.check(files, deep=True) == []
    assert source.warnings(files) == [
        f"{patient}/{FIRST}_x_mask.tif: ignored; expected a name like NAME_1.tif or NAME_1_mask.tif",
        f"{patient}/notes.txt: ignored; expected TIFF slices alone in a patient's folder",
        f"{patient}/overview.tif: ignored; expected a name like NAME_1.tif or NAME_1_mask.tif",
    ]


def test_slices_of_different_names_are_warned_about(patient):
    for end in ("", "_mask"):
        (patient / f"{FIRST}_8{end}.tif").rename(patient / f"{SECOND}_8{end}.tif")
    source, files = only(patient)
    assert source.check(files) == []
    assert source.warnings(files) == [f"{patient}: slices have different names ({FIRST}, {SECOND}) and are taken as one scan"]


def test_the_same_folder_at_two_depths_is_one_case_too_many(root):
    shutil.copytree(root / FIRST, root / "kaggle_3m" / FIRST)
    with pytest.raises(Problems) as caught:
        open_source(root)
    (line,) = caught.value.lines
    assert line.startswith(f"{root / FIRST}: duplicate case id {FIRST}, which also stands in {root / 'kaggle_3m' / FIRST};")


def test_the_layout_is_named_or_recognised_and_takes_no_other(tmp_path, root):
    assert open_source(root).layout == open_source(root, SourceConfig(layout="kaggle_3m")).layout == "kaggle_3m"
    for layout, write in (("brats", write_brats), ("msd", write_msd)):
        other = write(tmp_path / layout, [scan("a")])
        save_slice(other / "picture_1.tif", np.zeros((2, 2, 3), np.uint8))
        assert open_source(other).layout == layout
    with pytest.raises(UserError, match=r"layout kaggle_3m looks for folders of slices named NAME_1\.tif.*; found none"):
        open_source(write_msd(tmp_path / "plain", [scan("a")]), SourceConfig(layout="kaggle_3m"))


def test_recognition_and_listing_open_no_slice(tmp_path):
    for name in (FIRST, SECOND):
        (tmp_path / name).mkdir()
        for number in range(1, 60):
            (tmp_path / name / f"{name}_{number}.tif").write_bytes(b"")
    source = open_source(tmp_path)
    assert [len(files.paths) for files in source.cases()] == [59, 59]
    assert [files.id for files in pickle.loads(pickle.dumps(source)).cases()] == [FIRST, SECOND]


def test_predictions_are_written_as_the_data_set_writes_masks(tmp_path):
    scans = [made()]
    source, files = only(write_kaggle_3m(tmp_path / "in", scans, numbers=[2, 3, 4, 9, 10, 11, 12, 13]))
    written = source.write_prediction(files, scans[0].label, tmp_path / "out")
    assert [path.name for path in written] == [f"{FIRST}_{number}_mask.tif" for number in (2, 3, 4, 9, 10, 11, 12, 13)]
    assert {path.parent for path in written} == {tmp_path / "out" / FIRST}
    for place, path in enumerate(written):
        np.testing.assert_array_equal(tiff.read_slice(path, 1), scans[0].label[:, :, place])
        assert path.read_bytes() == (files.label.path / path.name).read_bytes()
    with pytest.raises(ValueError, match="expected 8 slices; received 7"):
        source.write_prediction(files, scans[0].label[..., 1:], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_other_layouts_write_nothing_of_their_own(tmp_path):
    source, files = only(write_brats(tmp_path / "in", [scan("a")]))
    assert source.write_prediction(files, scan("a").label, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.from_regex(r"[A-Za-z_]{1,4}_?[0-9]{0,30}(_mask)?(\.tif|\.TIFF|\.txt)?", fullmatch=True), max_size=12))
def test_any_names_give_a_source_or_one_line(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("any")
    (root / "p").mkdir()
    for name in names:
        (root / "p" / name).write_bytes(b"")
    try:
        source, files = only(root)
    except UserError:
        assert not any(match and not match["mask"] for match in map(NAME.fullmatch, names))
        return
    lines = source.check(files, deep=True) + source.warnings(files)
    assert lines
    assert all("\n" not in line and line.startswith(str(root)) for line in lines)


def test_records_are_built_from_it(tmp_path, command):
    scans = [made(f"TCGA_XX_{number:04}_19990101", shape=(8, 8, 4 + number), seed=number) for number in range(4)]
    rows = {f"TCGA_XX_{number:04}": {"neoplasm_histologic_grade": grade} for number, grade in enumerate(("1", "2", "", "2"))}
    root = write_kaggle_3m(tmp_path / "kaggle_3m", scans, rows)
    options = ("--prepare.crop", "null", "--prepare.intensity", "zscore", "--split.folds", 2, "--workers", 1)
    stratify = ("--split.stratify", "neoplasm_histologic_grade", "--split.fractions", "[1,0,0]")
    arguments = ("data_prep.make_records", "--source", root, "--out", tmp_path / "out", *options, *stratify)
    done = command(*arguments)
    assert done.status == 0, done.err
    records = Records(tmp_path / "out")
    assert records.channels == list(KAGGLE_CHANNELS)
    facts = json.loads((tmp_path / "out" / "cases" / f"{scans[2].id}.json").read_text())
    assert (facts["geometry"]["affine"], facts["geometry"]["size"]) == (None, [6, 8, 8])
    assert len(facts["sources"]) == 12
    assert np.sum(facts["voxels"], axis=0).tolist() == [np.sum(scans[2].label == value) for value in (0, 255)]
    assert command(*arguments).status == 0
    save_slice(root / scans[2].id / f"{scans[2].id}_3_mask.tif", np.zeros((8, 8), np.uint8))
    assert any("has changed since" in line for line in command(*arguments).errors)


def test_a_nifti_file_among_the_slices_is_a_stranger(patient):
    save(patient / f"{FIRST}.nii.gz", np.zeros((10, 9, 8), np.uint8))
    source, files = only(patient)
    assert len(source.warnings(files)) == 1
