"""Benchmark data: scans as from another scanner, made by random changes of their intensities; annotations stay.

    python -m benchmarks.changed_scanner --source kaggle_3m --out changed
    python -m evaluation.predict --runs cv/lgg/fold0 --cases cv/lgg/fold0.txt --source changed \
        --labels kaggle_3m --out predictions/changed

Each channel has a gamma, a bias field, a contrast, a brightness and a blur of its own, and noise, each at random up to the
options. These are the changes of on-line augmentation, so they favour trainings that had them; other scanners differ in more.
"""

from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np

from common import cli
from common.errors import UserError
from common.files import write_text
from common.tables import csv_text
from data_prep.augmentation.apply import apply
from data_prep.augmentation.draw import AugmentConfig, case_rng, draw
from data_prep.scans.case import Case
from data_prep.sources import SourceConfig, open_source

LEVELS = 1000  # of the stored intensities


def _changes() -> AugmentConfig:
    """Strong changes of intensities alone."""
    return AugmentConfig(
        rank=3,
        flips=[],
        rotate_degrees=0,
        scale=0,
        elastic=0,
        gamma=0.4,
        bias=0.4,
        contrast=0.3,
        brightness=0.3,
        blur=1.5,
        noise=0.15,
        probability=1,
    )


@dataclass(kw_only=True)
class ChangedScannerConfig(SourceConfig):
    """Scans as from another scanner, made by random changes of their intensities."""

    source: Path
    """Annotated scans."""
    out: Path
    """New folder: a table of cases, and NIfTI files."""
    changes: AugmentConfig = field(default_factory=_changes)
    """Largest change of each kind."""
    seed: int = 0
    """Seed of the changes."""


def main(config: ChangedScannerConfig) -> None:
    """Write every case with changed intensities, and the table."""
    source = open_source(config.source, config)
    cases = [files for files in source.cases() if files.label is not None]
    if not cases:
        raise UserError(f"{config.source}: expected annotated scans; found none")
    config.out.mkdir(parents=True)
    rows = []
    for files in cases:
        case = source.read(files)
        row = {"patient_id": files.patient, "case_id": files.id, "label": f"{files.id}_label.nii.gz"}
        for name, image in _changed(case, config).items():
            row[name] = f"{files.id}_{name}.nii.gz"
            _save(case, image, config.out / row[name])
        _save(case, case.label, config.out / row["label"])
        rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_text(config.out / "cases.csv", csv_text([columns, *([row.get(name, "") for name in columns] for row in rows)]))
    print(f"{config.out}: {len(rows)} cases")


def _changed(case: Case, config: ChangedScannerConfig) -> dict[str, np.ndarray]:
    """Channels of a case with changed intensities, 0 to 1000."""
    images = {name: image for name, image in case.channels.items() if image is not None}
    channels = np.stack(list(images.values()), axis=-1).astype(np.float32)
    channels -= channels.min(axis=(0, 1, 2))
    channels /= np.maximum(channels.max(axis=(0, 1, 2)), 1e-6)
    drawn = draw(config.changes, case_rng(config.seed, case.files.id, 1), len(images))
    slices = np.ascontiguousarray(channels.transpose(2, 0, 1, 3))
    changed, _ = apply(drawn, slices, np.zeros(slices.shape[:3], np.uint8), unit_range=True)
    return {
        name: np.rint(LEVELS * changed[..., place]).astype(np.int16).transpose(1, 2, 0) for place, name in enumerate(images)
    }


def _save(case: Case, array: np.ndarray | None, path: Path) -> None:
    """NIfTI file of an array; rows and columns of a case without geometry become y and x, as `prepare` takes them."""
    if array is None:
        raise ValueError(f"{case.files.id}: expected an array")
    if case.affine is None:
        array = array.transpose(1, 0, 2)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if case.affine is None else case.affine), path)


if __name__ == "__main__":
    cli.run(main, ChangedScannerConfig)
