"""Files in the layout of the collection Vestibular-Schwannoma-SEG, made by the tests."""

import json

import numpy as np

from tests.dicom_files import AXIAL, LPS, blob, oblique, write_rtstruct, write_series

SHAPE = (12, 10, 8)
SQUARE = np.array([[1.5, 1.5], [6.5, 1.5], [6.5, 5.5], [1.5, 5.5]])
T1_TO_T2 = oblique((1, 1, 1), (2, -1, 3), (1.5, -2.0, 0.75))  # points of T1 -> points of T2, RAS


def polygons(affine=AXIAL):
    return [(np.column_stack([SQUARE, np.full(4, k), np.ones(4)]) @ affine.T)[:, :3] for k in (2.0, 3.0)]


def write_contours(path, structures):
    content = [
        {
            "structure_name": name,
            "MR_SeriesInstanceUID": "1.2",
            "LPS_contour_points": [(points @ LPS[:3, :3]).tolist() for points in listed],
        }
        for name, listed in structures.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_transform(path, matrix):
    """Affine (RAS) as ITK writes it, in LPS."""
    lps = LPS @ matrix @ LPS
    numbers = " ".join(repr(float(value)) for value in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\nParameters: {numbers}\n"
        "FixedParameters: 0 0 0\n#PatientID: VS-SEG-001\n"
    )


def write_collection(root, patients=("VS-SEG-001",)):
    """T1 and T2 as downloaded, contours and transforms beside them in folders of their own, as their zip files have it."""
    for name in patients:
        number = int(name[-3:])
        t1 = write_series(root / "images" / name / "study" / "1-t1", blob(SHAPE), AXIAL, "t1_mpr_tra_gk_v4", name)
        t2 = write_series(
            root / "images" / name / "study" / "2-t2",
            blob((20, 18, 14), 1),
            T1_TO_T2 @ AXIAL,
            "t2_ci3d_tra_1.5mm_v1",
            name,
            number=2,
            frame="t2",
        )
        write_rtstruct(root / "images" / name / "study" / "3" / "rt.dcm", t1[0], {"TV": polygons()})
        write_rtstruct(root / "images" / name / "study" / "4" / "rt.dcm", t2[0], {"TV": polygons(T1_TO_T2 @ AXIAL)})
        for space, matrix in (("t1", np.eye(4)), ("t2", T1_TO_T2)):
            moved = {"TV": [points @ matrix[:3, :3].T + matrix[:3, 3] for points in polygons()], "Cochlea": polygons()}
            write_contours(root / "contours" / f"vs_gk_{number}_{space}" / "contours.json", moved)
        write_transform(root / "matrices" / f"vs_gk_{number}_t2" / "inv_T2_LPS_to_T1_LPS.tfm", T1_TO_T2)
        write_transform(root / "matrices" / f"vs_gk_{number}_t1" / "inv_T1_LPS_to_T2_LPS.tfm", np.linalg.inv(T1_TO_T2))
    return root
