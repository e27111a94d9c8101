"""Command: write synthetic skull-base patients as DICOM, for trying out the way from a scanner to aligned records.

    python -m benchmarks.synthetic_dicom --out skull --patients 6

The files have the formats of several scanners. `tests/skull_base_dicom.py` makes them, so the command needs a checkout.
"""

from dataclasses import dataclass
from pathlib import Path

from common import cli
from common.errors import UserError, expect_number
from common.tables import counted
from tests.skull_base_dicom import write_patients


@dataclass(kw_only=True)
class SyntheticDicomConfig:
    """Write synthetic skull-base patients as DICOM: series, segmentations, and other objects beside them."""

    out: Path
    """New folder for scans/ (DICOM), rules.yaml and patients.csv, and truth/ (the transforms between the scans)."""
    patients: int = 6
    """Number of patients; primary and secondary tumours in turn."""
    size: tuple[int, int, int] = (96, 96, 64)
    """Voxels of T1."""


def main(config: SyntheticDicomConfig) -> None:
    """Write the patients and print their place.

    Raises:
        UserError: the folder is there already, or a size is too small.
    """
    expect_number("patients", config.patients, 1, 100)
    if config.out.exists():
        raise UserError(f"--out {config.out}: expected a new folder; it is there already")
    write_patients(config.out, config.patients, config.size)
    made = f"{config.out / 'scans'} ({counted(config.patients, 'patient')})"
    print(f"synthetic DICOM: {made}; rules: {config.out / 'rules.yaml'}")


if __name__ == "__main__":
    cli.run(main, SyntheticDicomConfig)
