"""Tiny made scans, written in every layout: for tests of whatever reads them."""

import csv
import json
import signal
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

LPS = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239], [0, 0, 1.0, 0], [0, 0, 0, 1]])  # as BraTS
CHANNELS = ("flair", "t1", "t1ce", "t2")
KAGGLE_CHANNELS = ("pre", "flair", "post")
NEWER_NAMES = {"flair": "t2f", "t1": "t1n", "t1ce": "t1c", "t2": "t2w"}


@dataclass
class Scan:
    """One made case: channel name -> array (i, j, k), ids, affine (4, 4)."""

    id: str
    images: dict[str, np.ndarray]
    label: np.ndarray | None
    affine: np.ndarray


def scan(
    identifier="case_a", seed=None, shape=(10, 9, 8), ids=(0, 1, 2, 4), channels=CHANNELS, dtype=np.int16, affine=LPS
) -> Scan:
    """Random voxels: a brain-like box of positive values in zeros, and an annotation that holds every id.

    The default seed follows from the identifier, for patients with equal images are refused.
    """
    rng = np.random.default_rng(zlib.crc32(identifier.encode()) if seed is None else seed)
    inside = tuple(slice(1, length - 1) for length in shape)
    images = {}
    for name in channels:
        images[name] = np.zeros(shape, dtype)
        images[name][inside] = rng.integers(1, 1000, images[name][inside].shape)
    label = np.zeros(shape, np.int16)
    label[inside] = rng.choice(ids, label[inside].shape)
    label[inside].flat[: len(ids)] = ids
    label[tuple(axis.start for axis in inside)] = ids[-1]
    return Scan(identifier, images, label, np.asarray(affine, float))


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = LPS) -> Path:
    """Write NIfTI-1 by nibabel, with the array's dtype; no sform and no qform where `affine` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine, dtype=array.dtype), path)
    return path


def write_brats(root: Path, scans: list[Scan], newer: bool = False, suffix: str = ".nii.gz") -> Path:
    """A folder per case, named as BraTS 2017-2021 or, if `newer`, as 2023 and later; returns `root`."""
    separator = "-" if newer else "_"
    for made in scans:
        named = {NEWER_NAMES[name] if newer else name: array for name, array in made.images.items()}
        for name, array in (named | ({} if made.label is None else {"seg": made.label})).items():
            save(root / made.id / f"{made.id}{separator}{name}{suffix}", array, made.affine)
    return root


def write_msd(root: Path, scans: list[Scan], labels: dict[str, str] | None = None) -> Path:
    """A Decathlon task: `dataset.json` and 4D images; returns `root`."""
    training = []
    for made in scans:
        entry = {"image": f"./imagesTr/{made.id}.nii.gz"}
        save(root / entry["image"], np.stack(list(made.images.values()), axis=-1), made.affine)
        if made.label is not None:
            entry["label"] = f"./labelsTr/{made.id}.nii.gz"
            save(root / entry["label"], made.label, made.affine)
        training.append(entry)
    names = {"flair": "FLAIR", "t1": "T1w", "t1ce": "t1gd", "t2": "T2w"}
    content = {
        "name": "made",
        "modality": {str(place): names.get(name, name) for place, name in enumerate(scans[0].images)},
        "labels": labels or {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": training,
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def write_table(root: Path, scans: list[Scan], attributes: dict[str, dict[str, str]] | None = None) -> Path:
    """A CSV table `cases.csv` and the images that it names; `attributes` by case id; returns the table's path."""
    rows = []
    for made in scans:
        row = {"patient_id": made.id} | (attributes or {}).get(made.id, {})
        for name, array in (made.images | ({} if made.label is None else {"label": made.label})).items():
            row[name] = f"images/{made.id}.{name}.nii.gz"
            save(root / row[name], array, made.affine)
        rows.append(row)
    return write_rows(root / "cases.csv", rows)


def write_rows(table: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV table with every column that any row has; returns its path."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return table


def write_kaggle_3m(
    root: Path, scans: list[Scan], attributes: dict[str, dict[str, str]] | None = None, numbers: list[int] | None = None
) -> Path:
    """A folder of TIFF slices per case, channels in the order of its images, masks if it has a label; returns `root`.

    `attributes` by the name of a patient's row makes `data.csv`; `numbers` are those of the slices, by default from 1.
    """
    for made in scans:
        (root / made.id).mkdir(parents=True, exist_ok=True)
        volume = np.stack(list(made.images.values()), axis=-1).astype(np.uint8)
        for place, number in enumerate(numbers or range(1, volume.shape[2] + 1)):
            save_slice(root / made.id / f"{made.id}_{number}.tif", volume[:, :, place])
            if made.label is not None:
                save_slice(root / made.id / f"{made.id}_{number}_mask.tif", made.label[:, :, place].astype(np.uint8))
    if attributes is not None:
        write_rows(root / "data.csv", [{"Patient": name} | row for name, row in attributes.items()])
    return root


def save_slice(path: Path, array: np.ndarray) -> Path:
    """Write a TIFF by Pillow, (rows, columns) or (rows, columns, 3), with the array's dtype."""
    Image.fromarray(np.ascontiguousarray(array)).save(path, format="TIFF")
    return path


@contextmanager
def within(seconds):
    """Raise TimeoutError where a block, such as one that must not wait for a pipe, takes longer."""

    def stop(*_):
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
