"""Unusual and bad DICOM input: each kind is made, `glioskull check` is called, and what it prints becomes a row of a table.

python -m tests.dicom_input        # prints the table of docs/dicom_input.md
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import highdicom
import numpy as np
import pydicom
import yaml
from pydicom.uid import JPEG2000Lossless, RLELossless

from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import write_seg
from tests.conftest import run_command
from tests.dicom_files import AXIAL, blob, write_enhanced, write_junk, write_rtstruct, write_series
from tests.scans import save

SHAPE = (12, 10, 8)
T1 = {"channels": {"t1": {"description": "^t1"}}}
BOTH = {"channels": {"t1": {"description": "^t1"}, "t2": {"description": "^t2"}}}
Writer = Callable[[Path], dict[str, object]]
"""Writes a source of one patient and returns its rules."""


def series(folder: Path, **options) -> list[Path]:
    """T1 of 8 slices in a folder of its own."""
    options = {"description": "t1", "number": 1} | options
    return write_series(folder / f"series{options['number']}", blob(SHAPE), **options)


def tilted(folder: Path):
    affine = AXIAL.copy()
    affine[1, 2] = 0.5
    series(folder, affine=affine)
    return T1


def uneven(folder: Path):
    series(folder, places=[0, 1, 2, 3.3, 4, 5, 6, 7])
    return T1


def missing_end(folder: Path):
    for path in series(folder, ImagesInAcquisition=8)[5:]:
        path.unlink()
    return T1


def missing_slices(folder: Path):
    series(folder, places=[0, 1, 2, 3, 6, 7, 8, 9])
    return T1


def two_slices_at_one_place(folder: Path):
    for number in range(2):
        uids = [f"1.2.{number}.{k}" for k in range(8)]
        write_series(folder / str(number), blob(SHAPE, number), description="t1", SOPInstanceUID=uids)
    return T1


def duplicates(folder: Path):
    for path in series(folder):
        shutil.copyfile(path, folder / f"again_{path.name}")
    return T1


def single_slice(folder: Path):
    write_series(folder, blob((12, 10, 1)), description="t1")
    return {"channels": {"t1": {"description": "^t1", "min_slices": 1}}}


def no_series_fits(folder: Path):
    series(folder, description="localizer", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    return T1


def several_series_fit(folder: Path):
    for number in (1, 2):
        series(folder, number=number)
    return T1


def compressed(syntax: str) -> Writer:
    def write(folder: Path):
        write_series(folder, blob((48, 40, 8)), description="t1", syntax=syntax)
        return T1

    return write


def unknown_compression(folder: Path):
    for path in series(folder):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
        dataset.PixelData = pydicom.encaps.encapsulate([bytes(dataset.PixelData)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    return T1


def enhanced(folder: Path):
    write_enhanced(folder / "a.dcm", blob(SHAPE), AXIAL, "t1")
    return T1


def two_echoes(folder: Path):
    write_enhanced(folder / "a.dcm", blob(SHAPE), AXIAL, "t1", echoes=(10.0, 80.0))
    return T1


def mosaic(folder: Path):
    series(folder, ImageType=["DERIVED", "PRIMARY", "MOSAIC"])
    return T1


def truncated(folder: Path):
    path = series(folder)[3]
    path.write_bytes(path.read_bytes()[:-100])
    return T1


def empty_slice(folder: Path):
    series(folder)[-1].write_bytes(b"")
    return T1


def empty_slice_between(folder: Path):
    series(folder)[3].write_bytes(b"")
    return T1


def palette(folder: Path):
    series(folder, modality="CT", PhotometricInterpretation="PALETTE COLOR")
    return T1


def broken_header(folder: Path):
    path = series(folder)[3]
    dataset = pydicom.dcmread(path)
    dataset.ImagePositionPatient = ["0", "0"]
    dataset.save_as(path)
    return T1


def other_objects(folder: Path):
    series(folder)
    write_junk(folder / "junk")
    return T1


def no_dicom(folder: Path):
    (folder / "notes.txt").write_text("no scan")
    return T1


def other_space(folder: Path):
    series(folder)
    series(folder, description="t2", number=2, frame="planning")
    return BOTH


def other_grid(folder: Path):
    series(folder)
    series(folder, description="t2", number=2, affine=AXIAL @ np.diag([1, 1, 1.5, 1]))
    return BOTH


def segmentation(folder: Path, paths: list[Path], name: str = "seg.dcm") -> None:
    (found,) = index_files(paths).series
    ids = np.zeros(SHAPE, np.uint8)
    ids[3:8, 2:7, 2:6] = 1
    write_seg(folder / name, found, ids, {"GTV": [1]}, name, keep_identity=True)


def cropped_segmentation(folder: Path):
    paths = series(folder)
    (found,) = index_files(paths).series
    headers = [pydicom.dcmread(frame.path) for frame in found.frames[1:7]]
    mask = np.zeros((6, 7, 8), np.uint8)
    mask[1:5, 2:6, 2:7] = 1
    code = highdicom.sr.coding.CodedConcept("52988006", "SCT", "Lesion")
    words = highdicom.seg.SegmentDescription(1, "GTV", code, code, "MANUAL")
    volume = highdicom.get_volume_from_series(headers)[:, 2:9, 3:11].with_array(mask)
    uids = highdicom.UID(), 5, highdicom.UID(), 1
    highdicom.seg.Segmentation(headers, volume, "BINARY", [words], *uids, "tool", "tool", "1", "1").save_as(folder / "seg.dcm")
    return T1


def segmentation_of_other_space(folder: Path):
    series(folder)
    segmentation(folder, series(folder, description="t2", number=2, frame="planning"))
    return T1


def two_segmentations(folder: Path):
    paths = series(folder)
    for name in ("one.dcm", "two.dcm"):
        segmentation(folder, paths, name)
    return T1


def unnamed_structures(folder: Path):
    paths = series(folder)
    square = (np.array([[1.5, 1.5, 2, 1], [6.5, 1.5, 2, 1], [6.5, 5.5, 2, 1], [1.5, 5.5, 2, 1]]) @ AXIAL.T)[:, :3]
    write_rtstruct(folder / "plan" / "rt.dcm", paths[0], {"GTV": [square], "Brainstem": [square]})
    return T1


def contours_of_a_missing_series(folder: Path):
    series(folder)
    (image, *others) = write_series(folder / "gone", blob(SHAPE), description="t3", number=3)
    square = np.array([[2, 2, 3, 1], [6, 2, 3, 1], [6, 5, 3, 1], [2, 5, 3, 1]])
    path = write_rtstruct(folder / "plan" / "rt.dcm", image, {"GTV": [(square @ AXIAL.T)[:, :3]]})
    dataset = pydicom.dcmread(path)
    del dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    dataset.save_as(path)
    for gone in (image, *others):
        gone.unlink()
    return T1


def several_visits(folder: Path):
    for number, study in enumerate(("1.2.1", "1.2.2"), 1):
        series(folder / "anna", number=number, StudyInstanceUID=study)
    return T1 | {"prefer": "first"}


def label_without_position(folder: Path):
    series(folder)
    save(folder / "a_mask.nii.gz", np.zeros((5, 5, 5), np.uint8), None)
    return T1 | {"label": {"file": "*_mask.nii.gz"}}


def patients_without_id(folder: Path):
    series(folder / "all", patient="1")
    series(folder / "all", patient="", number=2)
    return T1


def wrong_rules(folder: Path):
    series(folder)
    return {"channels": {"t1": {"description": "t1("}}}


KINDS: dict[str, Writer] = {
    "gantry tilt of 14 degrees": tilted,
    "uneven distances of slices": uneven,
    "two slices missing": missing_slices,
    "three slices missing at the end, the header names their number": missing_end,
    "two different slices at each place": two_slices_at_one_place,
    "every file twice": duplicates,
    "a single slice": single_slice,
    "a scout alone": no_series_fits,
    "two series that fit one rule": several_series_fit,
    "RLE compression": compressed(RLELossless),
    "JPEG 2000 compression": compressed(JPEG2000Lossless),
    "a compression without decoder": unknown_compression,
    "enhanced multi-frame object": enhanced,
    "enhanced object of two echoes": two_echoes,
    "mosaic": mosaic,
    "a colour map in the place of a scan": palette,
    "a truncated file": truncated,
    "a file of no bytes, the last slice": empty_slice,
    "a file of no bytes between others": empty_slice_between,
    "a header with half a position": broken_header,
    "report, screenshot, DICOMDIR, texts, an empty file": other_objects,
    "no DICOM at all": no_dicom,
    "T2 in another frame of reference": other_space,
    "T2 on another grid of the same space": other_grid,
    "a SEG on a part of the grid": cropped_segmentation,
    "a SEG of another frame of reference": segmentation_of_other_space,
    "two SEG objects": two_segmentations,
    "RTSTRUCT of two structures without rule": unnamed_structures,
    "contours without frame of reference, whose series is not there": contours_of_a_missing_series,
    "series of two studies that fit one rule, with prefer": several_visits,
    "a NIfTI label without position, of another shape": label_without_position,
    "two patients in one folder, one without PatientID": patients_without_id,
    "a rule that is no regular expression": wrong_rules,
}


def table(folder: Path) -> str:
    """Markdown table of all kinds: input, printed lines (paths shortened, hashes of cases replaced), exit status."""
    rows = [["input", "printed", "exit status"]]
    for number, (kind, write) in enumerate(KINDS.items()):
        root = folder / f"{number:02d}" / "DIR"
        root.mkdir(parents=True)
        rules = root.parent / "rules.yaml"
        rules.write_text(yaml.safe_dump({"ids": "patient_id"} | write(root)))
        done = run_command("data_prep.check", "--source", root, "--series", rules, "--purpose", "prediction")
        rows.append([kind, shown(done, root), str(done.status)])
    lines = [" | ".join(row) for row in [rows[0], ["---"] * 3, *rows[1:]]]
    return "\n".join(f"| {line} |" for line in lines)


def shown(done, root: Path) -> str:
    """Lines that a call of check printed about its input: errors and warnings, else the shape and what was left out."""
    lines = [line for line in done.err.splitlines() if line.startswith(("error:", "warning:"))]
    lines = [line for line in lines if "are not 0" not in line]
    if not lines:
        wanted = ("shape", "spacing", "other files")
        lines = [" ".join(line.split()) for line in done.out.splitlines() if line.startswith(wanted)]
        lines += [" ".join(line.split()) for line in done.out.splitlines() if line.split()[1:2] == ["tumor"]]
    lines = [line for line in lines if not line.endswith("cannot be used")]
    text = "<br>".join(lines).replace(str(root), "DIR").replace(str(root.parent), "").replace("/rules.yaml", "rules.yaml")
    return text.replace("|", "\\|")


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        print(table(Path(temporary)))
