"""Command: scans written as DICOM and read back: their voxels, their affine, and their annotation as DICOM SEG.

    python -m benchmarks.dicom_copy --source BRATS --cases 2

`tests/dicom_files.py` writes the series, so the command needs a checkout.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common import cli
from common.errors import UserError, expect_number
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import LabelSchema
from data_prep.scans.case import Case
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_image import read_series
from data_prep.scans.dicom_seg import read_seg, seg_masks, write_seg
from data_prep.sources import open_source
from tests.dicom_files import write_series


@dataclass(kw_only=True)
class DicomCopyConfig:
    """Compare scans and annotations with what is read after they were written as DICOM."""

    source: Path
    """Folder of annotated scans, such as BraTS."""
    cases: int = 2
    """Number of its cases."""


def main(config: DicomCopyConfig) -> None:
    """Print a row per image and annotation.

    Raises:
        UserError: a number out of range, or a case without annotation or geometry.
    """
    expect_number("cases", config.cases, 1)
    source = open_source(config.source)
    schema = source.schema or LabelSchema.load("binary")
    for files in source.cases()[: config.cases]:
        with TemporaryDirectory() as temporary:
            print("\n".join(copied(source.read(files), schema, Path(temporary))), flush=True)


def copied(case: Case, schema: LabelSchema, folder: Path) -> list[str]:
    """Lines on each channel of a case, and on its annotation, after the way through DICOM."""
    import SimpleITK

    if case.label is None or case.affine is None or case.missing:
        raise UserError(f"{case.files.id}: expected all channels, an annotation and voxel sizes")
    lines, grid = [], Grid(case.shape, case.affine)
    for number, (name, array) in enumerate(case.channels.items(), 1):
        paths = write_series(folder / name, array, case.affine, name, number=number)
        (series,) = index_files(paths).series
        volume = read_series(series)
        same = np.array_equal(volume.array, array)  # type: ignore[arg-type]  # no channel is missing
        distance = volume.grid.distance_mm(grid)
        lines.append(f"{case.files.id}  {name}: {len(paths)} files, voxels equal: {same}, affine within {distance:.2g} mm")
    segments = dict(list(schema.classes.items())[1:])
    write_seg(folder / "a.seg.dcm", series, case.label, segments, case.files.id)
    masks = seg_masks(read_seg(folder / "a.seg.dcm"), series, series.stack.grid)
    same = all(np.array_equal(masks[number], np.isin(case.label, ids)) for number, ids in enumerate(segments.values(), 1))
    voxels = int((SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "a.seg.dcm"))) > 0).sum())
    counts = f"{voxels} voxels by SimpleITK, {int((case.label > 0).sum())} in the annotation"
    return [*lines, f"{case.files.id}  SEG: segments equal: {same}; {counts}"]


if __name__ == "__main__":
    cli.run(main, DicomCopyConfig)
