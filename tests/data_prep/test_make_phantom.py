"""The command that writes synthetic patients: files, continuation, refusals."""

import json
import shutil

import nibabel
import numpy as np
import pytest

from common import cli
from common.errors import UserError
from common.exit_status import USER_ERROR
from data_prep import make_phantom
from data_prep.make_phantom import BEGUN, MANIFEST, MakePhantomConfig, main
from data_prep.phantom.patient import PhantomConfig, make_patient
from data_prep.phantom.skull_base import make_skull_base_patient
from data_prep.scans.itk import read_transform
from data_prep.sources import open_source
from data_prep.sources.checks import check_cases

SIZE = (28, 26, 24)


def config(out, **options):
    return MakePhantomConfig(**{"size": SIZE, "out": out, "cases": 3, "seed": 1, "workers": 1, "lgg_share": 0.5} | options)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.nii.gz"))}


def test_files_hold_the_patients_in_the_layout_of_brats(tmp_path, capsys):
    main(config(tmp_path / "out"))
    assert "2 HGG, 1 LGG" in capsys.readouterr().out
    for index, grade in enumerate(["HGG", "LGG", "HGG"]):
        name = f"BraTS2021_{index:05d}"
        patient = make_patient(PhantomConfig(size=SIZE, lgg_share=0.5), 1, index)
        for part, expected in (*patient.channels.items(), ("seg", patient.label)):
            image = nibabel.load(tmp_path / "out" / grade / name / f"{name}_{part}.nii.gz")
            assert image.get_data_dtype() == expected.dtype
            np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
            np.testing.assert_array_equal(image.affine, patient.affine)


def test_the_source_reader_knows_them_and_finds_nothing_wrong(tmp_path):
    main(config(tmp_path))
    source = open_source(tmp_path)
    cases = source.cases()
    assert [(case.id, case.attributes["grade"]) for case in cases] == [
        ("BraTS2021_00000", "HGG"),
        ("BraTS2021_00001", "LGG"),
        ("BraTS2021_00002", "HGG"),
    ]
    assert check_cases(source, cases, progress=False) == []


@pytest.mark.parametrize(
    ("tumour", "folder", "task", "attributes"),
    [
        ("hgg", "HGG", "GLI", {"grade": "HGG", "tumour": "hgg"}),
        ("mets", "METS", "MET", {"tumour": "mets"}),
    ],
)
def test_tumour_types_are_written_as_brats_2023_names_them(tmp_path, capsys, tumour, folder, task, attributes):
    main(config(tmp_path, tumour=tumour, cases=2))
    assert f"(2 {folder}; 2 newly written)" in capsys.readouterr().out
    source = open_source(tmp_path)
    assert source.schema.name == "brats2023"
    assert check_cases(source, source.cases(), progress=False) == []
    for index, files in enumerate(source.cases()):
        assert (files.id, files.patient) == (f"BraTS-{task}-{index:05d}-000", f"BraTS-{task}-{index:05d}")
        assert files.attributes == attributes
        assert files.label.path == tmp_path / folder / files.id / f"{files.id}-seg.nii.gz"
        patient, case = make_patient(PhantomConfig(tumour=tumour, size=SIZE), 1, index), source.read(files)
        np.testing.assert_array_equal(case.label, patient.label)
        for name, array in patient.channels.items():
            np.testing.assert_array_equal(case.channels[name], array)


def test_both_tumour_types_may_be_opened_as_one_source(tmp_path):
    main(config(tmp_path / "hgg", tumour="hgg", cases=1))
    main(config(tmp_path / "mets", tumour="mets", cases=1))
    source = open_source(tmp_path)
    assert [(files.id, files.attributes["tumour"]) for files in source.cases()] == [
        ("BraTS-GLI-00000-000", "hgg"),
        ("BraTS-MET-00000-000", "mets"),
    ]


def test_skull_base_patients_are_a_table_with_their_true_transforms(tmp_path, capsys):
    options = {"tumour": "skull_base", "size": (32, 32, 24)}
    main(config(tmp_path / "grown", cases=1, **options))
    main(config(tmp_path / "grown", cases=2, **options))
    assert "(1 primary, 1 secondary; 1 newly written)" in capsys.readouterr().out
    source = open_source(tmp_path / "grown")
    assert (source.layout, source.channels) == ("table", ["T1", "T2", "T1FS", "FLAIR", "CT"])
    assert [(files.id, files.attributes) for files in source.cases()] == [
        ("SB-00000", {"subtype": "primary"}),
        ("SB-00001", {"subtype": "secondary"}),
    ]
    volumes = source.read_volumes(source.cases()[1])
    patient = make_skull_base_patient(PhantomConfig(**options), 1, 1)
    for name, volume in patient.scans.items():
        np.testing.assert_array_equal(volumes[name].array, volume.array)
        np.testing.assert_allclose(volumes[name].affine, volume.affine, atol=1e-4)
        transform = read_transform(tmp_path / "grown" / "SB-00001" / f"{name}.tfm")
        np.testing.assert_allclose(transform, patient.motions[name], atol=1e-9)
    np.testing.assert_array_equal(volumes["label"].array, patient.label.array)
    main(config(tmp_path / "at_once", cases=2, workers=2, **options))
    assert contents(tmp_path / "grown") == contents(tmp_path / "at_once")
    with pytest.raises(UserError, match=r"motion_mm was 15\.0 and is now 3"):
        main(config(tmp_path / "grown", cases=2, motion_mm=3, **options))


def test_manifests_of_other_tumours_hold_none_of_their_options(tmp_path):
    main(config(tmp_path, cases=1))
    looks = json.loads((tmp_path / MANIFEST).read_text())["looks"]
    assert set(looks) == {"tumour", "size", "lgg_share", "noise", "bias", "variation"}


def test_processes_and_later_additions_change_nothing(tmp_path):
    main(config(tmp_path / "alone", cases=4))
    main(config(tmp_path / "grown", cases=2))
    main(config(tmp_path / "grown", cases=4, workers=2))
    assert contents(tmp_path / "alone") == contents(tmp_path / "grown")
    assert (tmp_path / "alone" / MANIFEST).read_text() == (tmp_path / "grown" / MANIFEST).read_text()


def test_a_second_run_writes_nothing(tmp_path, capsys):
    main(config(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nii.gz")}
    main(config(tmp_path, workers=2))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nii.gz")} == before
    assert "0 newly written" in capsys.readouterr().out


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    main(config(tmp_path / "whole"))
    write = make_phantom.write_patient

    def interrupted(looks, out, seed, index):
        write(looks, out, seed, index)
        if index == 1:
            (out / "LGG" / "BraTS2021_00001" / "BraTS2021_00001_seg.nii.gz").unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(make_phantom, "write_patient", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(config(tmp_path / "cut"))
    assert (tmp_path / "cut" / BEGUN).is_file()
    assert not (tmp_path / "cut" / MANIFEST).exists()
    monkeypatch.setattr(make_phantom, "write_patient", write)
    main(config(tmp_path / "cut"))
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert json.loads((tmp_path / "cut" / MANIFEST).read_text())["cases"] == 3
    assert not (tmp_path / "cut" / BEGUN).exists()


def test_other_patients_of_the_same_seed_have_ids_of_their_own(tmp_path):
    main(config(tmp_path / "all", cases=4))
    main(config(tmp_path / "last", first=3, cases=1))
    (last,) = (path for path in (tmp_path / "last").rglob("*_seg.nii.gz"))
    assert "00003" in last.name
    assert last.read_bytes() == (tmp_path / "all" / last.relative_to(tmp_path / "last")).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed was 1 and is now 2"),
        ({"size": (28, 26, 25)}, r"size was \[28, 26, 24\] and is now \[28, 26, 25\]"),
        ({"noise": 0.1}, "noise was 0.025 and is now 0.1"),
        ({"tumour": "mets"}, "tumour was 'glioma' and is now 'mets'"),
        ({"cases": 2}, "cases was 3 and is now 2, fewer"),
        ({"first": 4}, "first was None and is now 4"),
    ],
)
@pytest.mark.parametrize("manifest", [MANIFEST, BEGUN])
def test_a_folder_of_other_patients_is_refused_untouched(tmp_path, finished, change, message, manifest):
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out" / MANIFEST).rename(tmp_path / "out" / manifest)
    with pytest.raises(UserError, match=message):
        main(config(tmp_path / "out", **change))
    assert contents(tmp_path / "out") == contents(finished)
    assert (tmp_path / "out" / manifest).read_text() == (finished / MANIFEST).read_text()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    main(config(out))
    return out


def test_somebody_elses_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"expected an empty or new folder for synthetic patients; it holds 'thesis.txt'"):
        main(config(tmp_path))
    assert not list(tmp_path.rglob("*.nii.gz"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "0"], "--cases: expected 1 to"),
        (["--seed", "-1"], "--seed: expected a number that is not negative"),
        (["--workers", "0"], "--workers: expected at least 1"),
        (["--size", "[8, 96, 96]"], "--size: expected at least 24 voxels along each axis; received [8, 96, 96]"),
        (["--size", "[96, 96]"], "size"),
        (["--bias", "2"], "--bias: expected a number from 0 to 1"),
        (["--motion_degrees", "100"], "--motion_degrees: expected 0 to 90; received 100"),
        (["--noise", ".nan"], "--noise: expected a finite number"),
        (["--tumour", "meningioma"], "tumour"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        cli.run(main, MakePhantomConfig, ["--out", str(tmp_path / "out"), *arguments])
    assert stopped.value.code == USER_ERROR
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert message in error
    assert not (tmp_path / "out").exists()
