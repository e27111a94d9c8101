import numpy as np
import pytest

from benchmarks import dicom_copy, synthetic_dicom, synthetic_registration, vestibular_schwannoma
from benchmarks.dicom_copy import DicomCopyConfig
from benchmarks.synthetic_dicom import SyntheticDicomConfig
from benchmarks.synthetic_registration import SyntheticRegistrationConfig
from benchmarks.vestibular_schwannoma import VestibularSchwannomaConfig
from common import cli
from data_prep.alignment import registration
from data_prep.grid.resampling import to_rows
from data_prep.scans.itk import write_transform
from data_prep.sources import SourceConfig, open_source
from tests.data_prep.sources.collection import T1_TO_T2, polygons, write_collection, write_contours
from tests.dicom_files import AXIAL, blob, write_series


def test_registrations_of_synthetic_patients_are_measured(capsys, monkeypatch):
    monkeypatch.setattr(registration, "LEVELS_MM", (8.0, 4.0, 4.0))
    monkeypatch.setattr(registration, "STEPS_MM", (2.0, 1.0, 0.5))
    options = ["--pairs", "T1:CT", "--patients", "1", "--size", "[48, 48, 36]"]
    cli.run(synthetic_registration.main, SyntheticRegistrationConfig, options)
    lines = capsys.readouterr().out.splitlines()
    moved, mean = lines[1].split()[2:4]
    assert float(mean) < 3 < float(moved)
    assert "of 1 below 1 mm in every voxel of the tumour" in lines[2]
    with pytest.raises(SystemExit):
        cli.run(synthetic_registration.main, SyntheticRegistrationConfig, ["--pairs", "T1:PET"])
    assert "--pairs: expected FIXED:MOVING of T1, T2, T1FS, FLAIR, CT; received T1:PET" in capsys.readouterr().err


def test_synthetic_dicom_is_a_source(tmp_path, capsys):
    options = ["--out", str(tmp_path / "skull"), "--patients", "1", "--size", "[24, 24, 24]"]
    cli.run(synthetic_dicom.main, SyntheticDicomConfig, options)
    assert "(1 patient)" in capsys.readouterr().out
    source = open_source(tmp_path / "skull" / "scans", SourceConfig(series=tmp_path / "skull" / "rules.yaml"))
    assert [files.id for files in source.cases()] == ["case0"]
    with pytest.raises(SystemExit):
        cli.run(synthetic_dicom.main, SyntheticDicomConfig, options)


def test_a_size_that_is_too_small_is_refused_before_anything_is_written(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.run(synthetic_dicom.main, SyntheticDicomConfig, ["--out", str(tmp_path / "skull"), "--size", "[0, 0, 0]"])
    assert "error: --size: expected at least 24 voxels along each axis" in capsys.readouterr().err
    assert not (tmp_path / "skull").exists()


def test_contours_of_both_spaces_are_compared(tmp_path, capsys):
    folder = tmp_path / "VS-SEG-001"
    write_series(folder / "dicom", blob((12, 10, 8)), AXIAL, "t1_mpr")
    moved = [points @ T1_TO_T2[:3, :3].T + T1_TO_T2[:3, 3] for points in polygons()]
    write_contours(folder / "contours_T1.json", {"TV": polygons()})
    write_contours(folder / "contours_T2.json", {"TV": moved})
    write_transform(folder / "inv_T1_LPS_to_T2_LPS.tfm", to_rows(np.linalg.inv(T1_TO_T2)))
    cli.run(vestibular_schwannoma.main, VestibularSchwannomaConfig, ["--source", str(tmp_path)])
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[0] == "VS-SEG-001"
    assert row[1] == row[3] == f"{40 * 0.8 * 0.8 * 2 / 1000:.3f}"
    assert row[4:] == ["1.0000", "0.00"]


def test_contours_are_found_in_folders_of_their_own(tmp_path, capsys):
    write_collection(tmp_path, ("VS-SEG-001", "VS-SEG-012"))
    cli.run(vestibular_schwannoma.main, VestibularSchwannomaConfig, ["--source", str(tmp_path)])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["VS-SEG-001", "VS-SEG-012"]
    assert all(row[4:] == ["1.0000", "0.00"] for row in rows)


def test_scans_written_as_dicom_are_read_back(source, capsys):
    cli.run(dicom_copy.main, DicomCopyConfig, ["--source", str(source), "--cases", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert ["True" in line for line in lines] == [True] * 5
    counts = lines[-1].split("; ")[1].split()
    assert int(counts[0]) == int(counts[4]) > 0
