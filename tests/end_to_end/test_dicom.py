"""From a folder of DICOM to predictions: NIfTI and DICOM SEG on the grid of the reference series."""

import nibabel
import numpy as np
import pydicom
import SimpleITK

from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import read_seg, seg_masks
from tests.conftest import learnable
from tests.dicom_files import BIRTH, NAME, STUDY_DATE, oblique, write_junk, write_series

IDS = {"edema": 2, "non-enhancing tumor": 1, "enhancing tumor": 4}  # of the schema of the run


def test_predictions_of_dicom_are_nifti_and_seg_of_one_content(trained, command, tmp_path):
    root, out = tmp_path / "scans", tmp_path / "predictions"
    affine = oblique()
    made = learnable("a", seed=40)
    for number, (name, array) in enumerate(made.images.items()):
        paths = write_series(root / "MUSTERMANN" / name, array, affine, f"{name} tra", number=number)
    write_junk(root / "MUSTERMANN" / "junk")
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "channels:\n" + "".join(f"  {name}: {{description: '^{name} '}}\n" for name in made.images) + "reference: t1\n"
    )
    done = command(
        "evaluation.predict", "--runs", trained, "--source", root, "--series", rules, "--overlays", "false", "--out", out
    )
    assert done.status == 0, done.err
    (image,), (path,) = out.glob("*.nii.gz"), out.glob("*.seg.dcm")
    written = nibabel.load(image)
    ids = np.asarray(written.dataobj)
    np.testing.assert_allclose(written.affine, affine, atol=1e-4)
    assert ids.any()
    series = next(each for each in index_files(sorted(root.rglob("*.dcm"))).series if each.description == "t1 tra")
    seg = read_seg(path)
    assert seg.series_uid == series.uid
    masks = seg_masks(seg, series, series.stack.grid)
    for number, name in seg.names.items():
        np.testing.assert_array_equal(masks[number], ids == IDS[name])
    assert (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) > 0).sum() == (ids > 0).sum()
    content = path.read_bytes() + (out / "predictions.json").read_bytes()
    for word in (NAME, BIRTH, STUDY_DATE, pydicom.dcmread(paths[0]).PatientID):
        assert word.encode() not in content
