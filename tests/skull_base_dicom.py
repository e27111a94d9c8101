"""Synthetic skull-base patients as DICOM in the formats of several scanners; benchmarks.synthetic_dicom is their command.

OUT/scans      a folder per patient: T1, RLE-compressed T2, coronal T1FS with contrast agent, enhanced multi-frame FLAIR, CT
               with a tilted gantry, a SEG on T1FS, a scout, a report, a screenshot, duplicates, files that are not DICOM
OUT/rules.yaml rules by which the channels get their series, and a table with the patients' subtypes
OUT/truth      true transforms between the scans, as ITK files: points of T1 -> points of the channel's scan
"""

import csv
import shutil
from pathlib import Path

import numpy as np
import yaml
from pydicom.uid import RLELossless

from data_prep.grid.resampling import to_rows
from data_prep.phantom.patient import PhantomConfig
from data_prep.phantom.skull_base import (
    CHANNELS,
    DRAWN_ON,
    draw_label,
    make_head,
    random_motion,
    scan_grids,
    scan_head,
    subtype_of,
)
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import write_seg
from data_prep.scans.itk import write_transform
from tests.dicom_files import write_enhanced, write_junk, write_series

EXAMINATIONS = {"T1": "mr", "T2": "mr", "FLAIR": "mr", "T1FS": "planning", "CT": "ct"}
"""Frame of reference of each channel: the head moved between examinations, not within one."""
TILT_DEGREES = 12.0
RULES = {
    "channels": {
        "T1": {"modality": "MR", "description": "^t1", "contrast": False},
        "T2": {"modality": "MR", "description": "^t2"},
        "T1FS": {"modality": "MR", "description": "^t1.*fs", "contrast": True, "plane": "coronal"},
        "FLAIR": {"modality": "MR", "description": "dark-fluid"},
        "CT": {"modality": "CT", "min_slices": 10},
    },
    "prefer": "finest",
    "table": "patients.csv",
}


def write_patient(folder: Path, index: int = 0, size=(64, 64, 48)) -> dict[str, np.ndarray]:
    """Write one patient; returns the motion (4, 4) of each channel, millimetres of T1 -> millimetres of its scan.

    Raises:
        UserError: a size that is too small.
    """
    config = PhantomConfig(tumour="skull_base", size=size)
    config.check()
    rng = np.random.default_rng([index, 22])
    head = make_head(rng, 0.8 * 216 / size[0], subtype_of(config, index))
    grids = scan_grids(rng, config, has_whole_ct=True)
    grids["CT"].affine[1, 2] = np.tan(np.radians(TILT_DEGREES)) * grids["CT"].affine[2, 2]
    motions = {name: random_motion(rng, 1.0, config) for name in ("planning", "ct")} | {"mr": np.eye(4)}
    scans, patient = {}, f"SB{index:04d}"
    for number, name in enumerate(CHANNELS, 1):
        motion = motions[EXAMINATIONS[name]]
        volume = scan_head(rng, head, name, grids[name], motion, config)
        common = {"patient": patient, "number": number, "frame": EXAMINATIONS[name], "affine": volume.affine}
        place = folder / f"series{number}"
        if name == "CT":
            stored = (volume.array.astype(np.int32) + 1024).astype(np.uint16)
            scans[name] = write_series(place, stored, description="Schaedel nativ", modality="CT", scale=(1, -1024), **common)
        elif name == "FLAIR":
            stored = np.maximum((volume.array - 5) // 2, 0).astype(np.int16)  # the object rescales by 2 and 5
            write_enhanced(place / "IM0001.dcm", stored, volume.affine, "dark-fluid tra", patient, frame="mr")
        else:
            words = {"T1": "t1 mpr tra", "T2": "t2 tse tra", "T1FS": "t1 fs cor"}[name]
            extra = {"ContrastBolusAgent": "Gadobutrol"} if name == "T1FS" else {}
            syntax = RLELossless if name == "T2" else None
            scans[name] = write_series(place, volume.array, description=words, syntax=syntax, **common, **extra)
    (series,) = index_files(scans[DRAWN_ON]).series
    label = draw_label(head, series.stack.grid, motions[EXAMINATIONS[DRAWN_ON]])
    write_seg(folder / "seg" / "seg.dcm", series, label.array, {"tumour": [1]}, patient, keep_identity=True)
    write_junk(folder / "other", patient)
    for path in scans["T1"][:3]:
        shutil.copyfile(path, folder / "other" / f"copy_of_{path.name}")
    return {name: motions[EXAMINATIONS[name]] for name in CHANNELS}


def write_patients(out: Path, count: int, size=(64, 64, 48)) -> Path:
    """Write patients with rules, table and true transforms; returns the rules."""
    rows = []
    for index in range(count):
        name = f"MUSTER{index:02d}"
        for channel, motion in write_patient(out / "scans" / name, index, size).items():
            write_transform(out / "truth" / f"case{index}_{channel}.tfm", to_rows(motion))
        subtype = subtype_of(PhantomConfig(tumour="skull_base"), index)
        rows.append({"dicom_patient_id": f"SB{index:04d}", "case_id": f"case{index}", "subtype": subtype})
    with (out / "patients.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (out / "rules.yaml").write_text(yaml.safe_dump(RULES, sort_keys=False), encoding="utf-8")
    return out / "rules.yaml"
