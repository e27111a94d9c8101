"""One harness that every layout goes through: what is written is read; what is bad is refused in one line."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from common.errors import Problems, UserError
from data_prep.sources import Source, SourceConfig, open_source
from tests.scans import (
    CHANNELS,
    KAGGLE_CHANNELS,
    LPS,
    Scan,
    save,
    save_slice,
    scan,
    write_brats,
    write_kaggle_3m,
    write_msd,
    write_table,
)


@dataclass
class Layout:
    name: str
    write: Callable[[Path, list[Scan]], Path]
    image: str  # a channel's file of case "a", below the root
    label: str
    ids: tuple[int, ...]
    labels: str  # schema to give
    schema: str
    other: str | None = None  # another channel's file, where each has its own
    channels: tuple[str, ...] = CHANNELS
    dtype: type = np.int16
    affine: np.ndarray | None = field(default_factory=LPS.copy)


LAYOUTS = [
    Layout("brats", write_brats, "a/a_flair.nii.gz", "a/a_seg.nii.gz", (0, 1, 2, 4), "auto", "brats2017-2021", "a/a_t2.nii.gz"),
    Layout("msd", write_msd, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", (0, 1, 2, 3), "auto", "msd_task01"),
    Layout(
        "table",
        write_table,
        "images/a.flair.nii.gz",
        "images/a.label.nii.gz",
        (0, 1, 2, 4),
        "brats2017-2021",
        "brats2017-2021",
        "images/a.t2.nii.gz",
    ),
    Layout(
        "kaggle_3m",
        write_kaggle_3m,
        "a/a_3.tif",
        "a/a_3_mask.tif",
        (0, 255),
        "auto",
        "kaggle_3m",
        channels=KAGGLE_CHANNELS,
        dtype=np.uint8,
        affine=None,
    ),
]
NIFTI = [layout for layout in LAYOUTS if layout.affine is not None]
of_nifti = pytest.mark.parametrize("layout", NIFTI, ids=lambda layout: layout.name)


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.name)
def layout(request) -> Layout:
    return request.param


def made(layout: Layout, names: str = "ba", **options) -> list[Scan]:
    options = {"ids": layout.ids, "channels": layout.channels, "dtype": layout.dtype} | options
    return [scan(name, seed=ord(name), **options) for name in names]


def opened(layout: Layout, tmp_path: Path, scans: list[Scan], **options) -> Source:
    return open_source(layout.write(tmp_path, scans), SourceConfig(labels=layout.labels, **options))


def test_what_is_written_is_read(layout, tmp_path):
    scans = made(layout)
    source = opened(layout, tmp_path, scans)
    assert (source.layout, source.schema.name, source.channels) == (layout.name, layout.schema, list(layout.channels))
    assert [(files.id, files.patient) for files in source.cases()] == [("a", "a"), ("b", "b")]
    for files, expected in zip(source.cases(), reversed(scans), strict=True):
        assert source.check(files) == source.check(files, deep=True) == source.warnings(files) == []
        case = source.read(files)
        assert list(case.channels) == source.channels
        assert case.shape == source.shape(files) == (10, 9, 8)
        for name, array in case.channels.items():
            assert array.dtype == layout.dtype
            np.testing.assert_array_equal(array, expected.images[name])
        np.testing.assert_array_equal(case.label, expected.label)
        np.testing.assert_array_equal(case.affine, layout.affine)


def test_the_annotation_is_read_alone(layout, tmp_path):
    scans = [*made(layout, "a"), replace(made(layout, "b")[0], label=None)]
    source = opened(layout, tmp_path, scans)
    labelled, bare = source.cases()
    label, affine = source.read_label(labelled)
    assert label.dtype.kind in "iu"
    np.testing.assert_array_equal(label, scans[0].label)
    np.testing.assert_array_equal(affine, layout.affine)
    with pytest.raises(ValueError, match="case b has no label"):
        source.read_label(bare)


def test_an_image_on_another_grid_than_the_annotation_gives_one_line(layout, tmp_path):
    scans = made(layout, "a")
    source = opened(layout, tmp_path, scans)
    files, affine = source.cases()[0], np.eye(4) if layout.affine is None else layout.affine
    path = save(tmp_path.parent / f"{layout.name}.nii.gz", scans[0].label, affine)
    assert source.grid_problem(path, files) is None
    save(path, scans[0].label[1:], affine)
    assert r"shape (9, 9, 8) differs from (10, 9, 8) of " in source.grid_problem(path, files)
    save(path, scans[0].label[0], affine)
    assert "expected a 3D image" in source.grid_problem(path, files)
    save(path, scans[0].label, affine @ np.diag([2.0, 2.0, 2.0, 1.0]))
    assert bool(source.grid_problem(path, files)) == (layout.affine is not None)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="empty file"):
        source.grid_problem(path, files)


def test_every_file_of_a_case_is_listed_once(layout, tmp_path):
    files = opened(layout, tmp_path, made(layout, "a")).cases()[0]
    assert sorted(files.paths) == sorted(path for path in tmp_path.rglob("*") if {".gz", ".tif"} & {path.suffix})


def test_the_order_of_channels_can_be_chosen(layout, tmp_path):
    scans = made(layout, "a")
    last, other = layout.channels[-1], "flair"
    source = opened(layout, tmp_path, scans, channels=[last, other])
    case = source.read(source.cases()[0])
    assert list(case.channels) == source.channels == [last, other]
    for name in (last, other):
        np.testing.assert_array_equal(case.channels[name], scans[0].images[name])


@pytest.mark.parametrize("wanted", [["flair", "pet"], ["flair", "flair"], []])
def test_channels_that_make_no_sense_are_refused(layout, tmp_path, wanted):
    with pytest.raises(UserError, match=f"--channels: expected different ones of {', '.join(layout.channels)}; received"):
        opened(layout, tmp_path, made(layout, "a"), channels=wanted)


def test_a_case_without_label_is_legal(layout, tmp_path):
    source = opened(layout, tmp_path, [*made(layout, "a"), replace(made(layout, "b")[0], label=None)])
    labelled, bare = source.cases()
    assert source.check(bare, deep=True) == []
    assert source.read(bare).label is None
    assert source.read(labelled).label is not None


@of_nifti
def test_whole_numbers_as_floats_are_labels(layout, tmp_path):
    scans = made(layout, "a")
    expected = scans[0].label.copy()
    scans[0].label = scans[0].label.astype(np.float32)
    source = opened(layout, tmp_path, scans)
    label = source.read(source.cases()[0]).label
    assert label.dtype.kind == "i"
    np.testing.assert_array_equal(label, expected)


@of_nifti
def test_affines_within_the_tolerance_are_the_same(layout, tmp_path):
    source = opened(layout, tmp_path, made(layout, "a"), tolerance_mm=0.2)
    path = tmp_path / layout.label
    move(path, 0.1)
    files = source.cases()[0]
    assert source.check(files) == []
    np.testing.assert_array_equal(source.read(files).affine, LPS)


@of_nifti
def test_files_without_affine_are_read_with_a_warning(layout, tmp_path):
    source = opened(layout, tmp_path, made(layout, "a"))
    save(tmp_path / layout.label, voxels(tmp_path / layout.label), None)
    files = source.cases()[0]
    assert source.check(files, deep=True) == []
    assert source.warnings(files) == [f"{files.label}: has neither sform nor qform: orientation and position are guessed"]
    np.testing.assert_array_equal(source.read(files).affine, LPS)


def test_an_id_stands_for_one_case(layout, tmp_path):
    twice = tmp_path / "one"
    write = {"brats": double_brats, "msd": double_msd, "table": double_table, "kaggle_3m": double_kaggle}[layout.name]
    with pytest.raises(Problems) as caught:
        open_source(write(layout.write(twice, made(layout))), SourceConfig(labels=layout.labels))
    assert len(caught.value.lines) == 1
    assert "duplicate case id a," in caught.value.lines[0]


def double_brats(root: Path) -> Path:
    (root / "again").mkdir()
    (root / "a").rename(root / "again" / "a")
    write_brats(root, [scan("a")])
    return root


def double_msd(root: Path) -> Path:
    manifest = root / "dataset.json"
    manifest.write_text(manifest.read_text().replace("b.nii.gz", "a.nii.gz"))
    return root


def double_table(table: Path) -> Path:
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[-1]]))
    return table


def double_kaggle(root: Path) -> Path:
    return write_kaggle_3m(root / "again", [scan("a", channels=KAGGLE_CHANNELS)]).parent


# What can be wrong with a file: each takes its path and spoils it.


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def move(path: Path, distance: float) -> None:
    affine = LPS.copy()
    affine[0, 3] += distance
    save(path, voxels(path), affine)


def with_voxel(path: Path, value: float, dtype: type) -> None:
    array = voxels(path).astype(dtype)
    array.flat[7] = value
    save(path, array)


def flatten(path: Path) -> None:
    affine = LPS.copy()
    affine[2] = 0
    image = nibabel.Nifti1Image(voxels(path), LPS)
    image.header.set_sform(affine, 1)
    image.header.set_qform(None, 0)
    image.header["vox_offset"] = 352
    # nibabel refuses to save such an affine through the image, so the header is written as it stands
    path.write_bytes(image.header.binaryblock + bytes(4) + voxels(path).tobytes("F"))


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def shorten(path: Path) -> None:
    """A gzip file that is whole, of an image that is not."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-2]))


BAD_LABELS = {
    "unknown id": (lambda path: with_voxel(path, 9, np.int16), "unknown label id 9 in 1 voxel; schema .* has 0, 1, 2, "),
    "negative id": (lambda path: with_voxel(path, -1, np.int16), "unknown label id -1 in 1 voxel"),
    "huge id": (lambda path: with_voxel(path, 1e9, np.float64), "unknown label id 1000000000 in 1 voxel"),
    "fraction": (lambda path: with_voxel(path, 1.5, np.float32), "expected whole label ids; received 1.5"),
    "NaN": (lambda path: with_voxel(path, np.nan, np.float32), "expected finite voxels; received 1 .* first at "),
    "shape": (lambda path: save(path, voxels(path)[1:]), r"shape \(9, 9, 8\) differs from \(10, 9, 8\) of .*a"),
    "affine": (lambda path: move(path, 2), r"\[-1 0 0 2; .* differs from \[-1 0 0 0; .* up to 2 mm \(tolerance 0.001\)"),
    "flat affine": (flatten, r"affine: expected an invertible one; received \[-1 0 0 0; 0 -1 0 239; 0 0 0 0\]"),
    "4D": (lambda path: save(path, np.stack([voxels(path)] * 2, -1)), r"expected a 3D image; received shape \(10, 9, 8, 2\)"),
    "2D": (lambda path: save(path, voxels(path)[0]), r"expected a 3D image; received shape \(9, 8\)"),
    "empty": (lambda path: path.write_bytes(b""), "empty file; expected a NIfTI image"),
    "truncated": (cut, "truncated or damaged .*; fetch it again"),
    "short": (shorten, r"truncated or damaged \(expected \d+ bytes, as its header says; received fewer\); fetch it again"),
    "damaged gzip": (damage, "its bytes changed after it was compressed"),
    "not NIfTI": (lambda path: path.write_text("patient,age\n" * 99), r"expected a NIfTI image; it is text"),
    "no file": (lambda path: path.unlink(), "file not found"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "scan is a folder"),
}
BAD_IMAGES = {
    name: BAD_LABELS[name]
    for name in ("NaN", "flat affine", "2D", "empty", "truncated", "short", "damaged gzip", "not NIfTI", "no file", "a folder")
} | {"infinite": (lambda path: with_voxel(path, -np.inf, np.float32), "expected finite voxels; received 1 ")}


def assert_one_line(source: Source, path: Path, message: str, shallow: bool = True) -> None:
    """The deep check, the shallow one where it applies, and reading give the same line, which names the file."""
    files = source.cases()[0]
    with pytest.raises(UserError, match=message) as caught:
        source.read(files)
    for lines in [source.check(files, deep=True), [str(caught.value)], *([source.check(files)] if shallow else [])]:
        assert len(lines) == 1
        assert lines[0].startswith(str(path))
        assert "\n" not in lines[0]


@of_nifti
@pytest.mark.parametrize("kind", BAD_LABELS)
def test_a_bad_label_gives_one_line(layout, tmp_path, kind):
    source = opened(layout, tmp_path, made(layout, "a"))
    spoil, message = BAD_LABELS[kind]
    spoil(tmp_path / layout.label)
    assert_one_line(source, tmp_path / layout.label, message)


@of_nifti
@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_gives_one_line(layout, tmp_path, kind):
    source = opened(layout, tmp_path, made(layout, "a"))
    spoil, message = BAD_IMAGES[kind]
    spoil(tmp_path / layout.image)
    stacked = "expected a 4D image of 4 channels" if layout.name == "msd" and kind == "2D" else message
    assert_one_line(source, tmp_path / layout.image, stacked, shallow=kind != "damaged gzip")


@pytest.mark.parametrize("kind", ["shape", "affine", "4D"])
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout.other], ids=lambda layout: layout.name)
def test_channels_on_different_grids_give_one_line(layout, tmp_path, kind):
    source = opened(layout, tmp_path, made(layout, "a"))
    spoil, message = BAD_LABELS[kind]
    spoil(tmp_path / layout.other)
    assert_one_line(source, tmp_path / layout.other, message)


def test_all_that_is_wrong_is_told(layout, tmp_path):
    source = opened(layout, tmp_path, made(layout, "a"))
    cut(tmp_path / layout.image)
    if layout in NIFTI:
        with_voxel(tmp_path / layout.label, 9, np.int16)
    else:
        save_slice(tmp_path / layout.label, np.full((10, 9), 9, np.uint8))
    files = source.cases()[0]
    assert [line.partition(":")[0] for line in source.check(files)] == [
        str(tmp_path / layout.image),
        str(tmp_path / layout.label),
    ]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_zeros_may_stand_for_a_missing_channel(tmp_path, suffix):
    root = write_brats(tmp_path, [scan("a")], suffix=suffix)
    (root / "a" / f"a_t1{suffix}").unlink()
    source = open_source(root, SourceConfig(missing_channels="zero"))
    case = source.read(source.cases()[0])
    assert source.check(case.files, deep=True) == []
    assert case.channels["t1"] is None
    assert case.missing == ["t1"]


@pytest.mark.parametrize(("name", "hint"), [("brats", "expected a name ending in t1ce or t1gd or t1c"), ("table", "none")])
def test_a_missing_channel_gives_one_line(tmp_path, name, hint):
    layout = next(layout for layout in LAYOUTS if layout.name == name)
    scans = made(layout, "ab")
    source_path = layout.write(tmp_path, scans)
    if name == "brats":
        (tmp_path / "a" / "a_t1ce.nii.gz").unlink()
    else:
        source_path.write_text(source_path.read_text().replace("images/a.t1ce.nii.gz", ""))
    source = open_source(source_path, SourceConfig(labels=layout.labels))
    (line,) = source.check(source.cases()[0])
    assert "case a lacks channel t1ce" in line
    assert hint in line
    assert "--missing_channels zero" in line
    with pytest.raises(UserError, match="case a lacks channel t1ce"):
        source.read(source.cases()[0])
    assert source.check(source.cases()[1]) == []


def test_a_case_without_any_channel_is_refused_even_with_zeros(tmp_path):
    root = write_brats(tmp_path, [scan("a"), scan("b", channels=())])
    source = open_source(root, SourceConfig(missing_channels="zero"))
    (line,) = source.check(source.cases()[1])
    assert "case b has none of the channels flair, t1, t1ce, t2" in line
