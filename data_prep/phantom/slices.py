"""Synthetic patient as TIFF slices, in the layout of the LGG Segmentation Dataset: three channels of 8 bits, and masks."""

from pathlib import Path

import numpy as np

from data_prep.phantom.patient import Patient
from data_prep.scans.tiff import write_slice

CHANNELS = ("t1", "flair", "t1ce")  # pre-contrast, FLAIR, post-contrast
INSTITUTIONS = ("CS", "DU", "FG", "HT")
GRADES = {"LGG": "1", "HGG": "2"}  # codes of neoplasm_histologic_grade: of little enhancement, and with more
BRIGHTEST = 99.9  # percentile of the head that 8 bits end at
DATE = "19900101"
TABLE = "data.csv"


def row_name(index: int) -> str:
    """Name of patient `index` in data.csv, such as TCGA_CS_0000: the second part is the institution, by pairs of patients.

    Grades may alternate from patient to patient, so an institution has both.
    """
    return f"TCGA_{INSTITUTIONS[index // 2 % len(INSTITUTIONS)]}_{index:04d}"


def slice_paths(out: Path, index: int, count: int) -> dict[str, Path]:
    """Files of patient `index`, from inferior to superior: `1` to `count`, and their masks `1_mask` to `count_mask`."""
    name = f"{row_name(index)}_{DATE}"
    parts = [f"{number}{ending}" for number in range(1, count + 1) for ending in ("", "_mask")]
    return {part: out / name / f"{name}_{part}.tif" for part in parts}


def write_slices(patient: Patient, paths: dict[str, Path]) -> None:
    """Write the slices of a patient and their masks, each file atomically; the whole tumour is 255 in a mask."""
    channels = np.stack([_bits8(patient.channels[name]) for name in CHANNELS], axis=-1)
    mask = np.where(patient.label > 0, 255, 0).astype(np.uint8)
    for k in range(patient.label.shape[2]):
        write_slice(paths[f"{k + 1}"], channels[:, :, k].swapaxes(0, 1))
        write_slice(paths[f"{k + 1}_mask"], mask[:, :, k].T)


def _bits8(channel: np.ndarray) -> np.ndarray:
    """Intensities of a channel as 0 to 255; 0 stays 0."""
    top = np.percentile(channel[channel > 0], BRIGHTEST)
    return np.rint(np.clip(channel / top, 0, 1) * 255).astype(np.uint8)
