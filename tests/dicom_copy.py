"""Real scans written as DICOM and read back: voxels, affine, and their annotation as DICOM SEG; run by hand.

python -m tests.dicom_copy BRATS 2
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK

from data_prep.grid.voxel_grid import Grid
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_image import read_series
from data_prep.scans.dicom_seg import read_seg, seg_masks, write_seg
from data_prep.sources import open_source
from tests.dicom_files import write_series


def copied(case, folder: Path) -> list[str]:
    """Lines on each channel of a case, and on its annotation, after the way through DICOM."""
    lines, grid = [], Grid(case.shape, case.affine)
    for number, (name, array) in enumerate(case.channels.items(), 1):
        paths = write_series(folder / name, array, case.affine, name, number=number)
        (series,) = index_files(paths).series
        volume = read_series(series)
        same = np.array_equal(volume.array, array)
        distance = volume.grid.distance_mm(grid)
        lines.append(f"{case.files.id}  {name}: {len(paths)} files, voxels equal: {same}, affine within {distance:.2g} mm")
    segments = {"necrosis": [1], "edema": [2], "enhancing": [3, 4]}
    write_seg(folder / "a.seg.dcm", series, case.label, segments, case.files.id)
    masks = seg_masks(read_seg(folder / "a.seg.dcm"), series, series.stack.grid)
    same = all(np.array_equal(masks[number], np.isin(case.label, ids)) for number, ids in enumerate(segments.values(), 1))
    voxels = int((SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "a.seg.dcm"))) > 0).sum())
    counts = f"{voxels} voxels by SimpleITK, {int((case.label > 0).sum())} in the annotation"
    return [*lines, f"{case.files.id}  SEG: segments equal: {same}; {counts}"]


if __name__ == "__main__":
    source = open_source(Path(sys.argv[1]))
    for files in source.cases()[: int(sys.argv[2])]:
        with TemporaryDirectory() as temporary:
            print("\n".join(copied(source.read(files), Path(temporary))), flush=True)
