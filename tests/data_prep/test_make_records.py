"""The command that builds records: what it writes, what it refuses, and that it goes on where it was stopped."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from data_prep.make_records import MakeRecordsConfig
from data_prep.records.folder import Records
from tests.conftest import SMALL, write_source
from tests.scans import save, scan, write_brats, write_table

ROOT = Path(__file__).resolve().parents[2]
COPIES = ("--augment.copies", 1)


@pytest.fixture
def build(command, source):
    """`build(out, *options)`: run make_records on the shared source; later options win."""

    def run(out, *options):
        return command("data_prep.make_records", "--source", source, "--out", out, *SMALL, *options)

    return run


def content(records):
    """Every file of records -> its bytes, but the manifest's path of the source."""
    files = {str(path.relative_to(records)): path.read_bytes() for path in records.rglob("*") if path.is_file()}
    files.pop(".lock", None)
    return files


def unfinish(records, *names):
    """Make records those of a build that was killed before the JSON files `names` were written."""
    (records / "dataset.json").unlink()
    for name in names:
        (records / "cases" / name).unlink()


def test_the_command_says_what_it_built(build, tmp_path):
    done = build(tmp_path / "out", *COPIES)
    assert (done.status, done.errors) == (0, [])
    disk, report = done.out.splitlines()
    assert disk.startswith("5 cases, 9 shards to build: about ")
    fingerprint = Records(tmp_path / "out").fingerprint
    assert report == (
        f"records: {tmp_path / 'out'} (3 train, 1 validation, 1 test; channels flair, t1, t1ce, t2; fingerprint {fingerprint})"
    )
    assert done.err == ""  # quick work prints no progress where standard error is no terminal


def test_the_config_is_kept_and_builds_the_same_again(build, tmp_path, source, command):
    build(tmp_path / "a", *COPIES, "--prepare.intensity", "zscore")
    kept = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert kept["prepare"]["intensity"] == "zscore"
    assert kept["source"] == str(source)
    again = command("data_prep.make_records", "--config", tmp_path / "a" / "config.yaml", "--out", tmp_path / "b")
    assert again.status == 0, again.err
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_second_run_changes_nothing(build, tmp_path):
    build(tmp_path, *COPIES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    done = build(tmp_path, *COPIES)
    assert done.status == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert done.out.startswith("records: ")


def test_any_number_of_workers_builds_the_same_bytes(build, tmp_path):
    build(tmp_path / "one", *COPIES, "--workers", 1)
    done = build(tmp_path / "two", *COPIES, "--workers", 2)
    assert done.status == 0, done.err
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_relative_path_names_the_same_source(build, tmp_path, source, command, monkeypatch):
    build(tmp_path)
    monkeypatch.chdir(source.parent)
    done = command("data_prep.make_records", "--source", source.name, "--out", tmp_path, *SMALL)
    assert (done.status, done.errors) == (0, [])


@pytest.mark.parametrize(
    "missing",
    [
        ["case_1.json", "case_1.copy1.json", "case_4.json", "case_4.copy1.json"],
        ["case_1.copy1.json", "case_1.copy1.tfrecord"],
        ["case_1.json"],
        ["case_1.tfrecord", "case_1.json", "case_1.copy1.json"],
    ],
)
def test_an_unfinished_build_goes_on_and_ends_the_same(build, records, tmp_path, missing):
    options = (*COPIES, "--split.folds", 2, "--split.fractions", "[0.6,0.2,0.2]")
    copy = shutil.copytree(records, tmp_path / "copy")
    test_case = Records(records).split["test"][0]
    unfinish(copy, *(name for name in missing if not name.startswith(f"{test_case}.copy")))
    done = build(copy, *options)
    assert done.status == 0, done.err
    assert content(copy) == content(records)


@pytest.mark.slow
def test_a_killed_build_goes_on_and_ends_the_same(tmp_path, command):
    source = write_source(tmp_path / "source", cases=12)
    options = ("--source", source, "--out", tmp_path / "killed", *SMALL, *COPIES)
    program = [sys.executable, "-m", "data_prep.make_records", *map(str, options)]
    cases = tmp_path / "killed" / "cases"
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (cases.is_dir() and len(list(cases.glob("*.json"))) >= 3):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "dataset.json").exists()
    (cases / ".tmp1.case_0.tfrecord").write_bytes(b"half")
    assert command("data_prep.make_records", *options).status == 0
    whole = command("data_prep.make_records", *options, "--out", tmp_path / "whole")
    assert whole.status == 0
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_another_config_is_refused_with_the_difference(build, tmp_path):
    build(tmp_path)
    before = content(tmp_path)
    done = build(tmp_path, "--prepare.intensity", "zscore", "--augment.copies", 2, "--workers", 2)
    assert done.status == 2
    assert done.errors[:2] == [
        f"error: {tmp_path}: prepare.intensity was 'minmax' and is now 'zscore'",
        f"error: {tmp_path}: augment.copies was 0 and is now 2",
    ]
    assert len(done.errors) == 3
    assert "choose another --out" in done.errors[2]
    assert content(tmp_path) == before


@pytest.fixture
def own_source(tmp_path):
    return write_source(tmp_path / "source", cases=4)


@pytest.fixture
def rebuild(command, own_source, tmp_path):
    def run(*options):
        return command("data_prep.make_records", "--source", own_source, "--out", tmp_path / "out", *SMALL, *options)

    return run


def change_voxel(source):
    path = source / "HGG" / "case_0" / "case_0_t1.nii.gz"
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).copy()
    array[5, 5, 5] += 1
    save(path, array, image.affine)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_voxel, "case_0_t1.nii.gz: has changed since case_0 was built"),
        (lambda source: write_brats(source / "LGG", [scan("new", shape=(18, 20, 8))]), "new: is in the source now"),
        (lambda source: shutil.rmtree(source / "HGG" / "case_1"), "case_1: is in the records, and no longer in the source"),
    ],
)
def test_changed_scans_are_refused(rebuild, own_source, tmp_path, change, said):
    assert rebuild().status == 0
    before = content(tmp_path / "out")
    change(own_source)
    done = rebuild()
    assert done.status == 2
    assert any(said in line for line in done.errors)
    assert "built from other scans" in done.errors[-1]
    assert content(tmp_path / "out") == before


def test_a_scan_that_changes_while_the_build_is_stopped_is_refused(rebuild, own_source, tmp_path):
    rebuild()
    unfinish(tmp_path / "out", "case_2.json")
    change_voxel(own_source)
    assert any("has changed since case_0 was built" in line for line in rebuild().errors)


def test_every_bad_case_is_listed_and_nothing_is_built(rebuild, own_source, tmp_path):
    (own_source / "HGG" / "case_0" / "case_0_t1.nii.gz").write_bytes(b"")
    (own_source / "HGG" / "case_1" / "case_1_seg.nii.gz").unlink()
    save(own_source / "LGG" / "case_2" / "case_2_seg.nii.gz", np.full((18, 20, 8), 9, np.int16))
    done = rebuild()
    assert done.status == 2
    for said in ("case_0_t1.nii.gz", "case_1: has no label", "case_2_seg.nii.gz"):
        assert any(said in line for line in done.errors), said
    assert done.errors[-1].endswith("problems in 4 cases of " + str(own_source) + "; nothing was built")
    assert not (tmp_path / "out" / "cases").exists()


def test_bad_input_can_be_mended_and_built(rebuild, own_source, tmp_path):
    bad = own_source / "HGG" / "case_0" / "case_0_t1.nii.gz"
    good = bad.read_bytes()
    bad.write_bytes(b"")
    assert rebuild().status == 2
    bad.write_bytes(good)
    assert rebuild("--prepare.intensity", "zscore").status == 0


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_refused_before_work_starts(build, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**6, 10**6, 10))
    done = build(tmp_path)
    assert done.status == 2
    assert "the disk has 0 MB free" in done.errors[0]
    assert not (tmp_path / "cases").exists()


def test_somebody_elses_folder_is_refused(build, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    done = build(tmp_path)
    assert done.status == 2
    assert "expected an empty or new folder for the records; it holds 'thesis.tex'" in done.errors[0]
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_training_on_all_patients_is_legal(build, tmp_path):
    assert build(tmp_path, "--split.fractions", "[1,0,0]").status == 0
    assert {name: len(ids) for name, ids in Records(tmp_path).split.items()} == {"train": 5, "validation": 0, "test": 0}


def test_a_split_file_leaves_cases_out(build, tmp_path):
    (tmp_path / "split.yaml").write_text("train: [case_0]\ntest: [case_3]\n")
    done = build(tmp_path / "out", "--split.file", tmp_path / "split.yaml", *COPIES)
    assert done.status == 0
    assert "3 of 5 cases left out: in no list of" in done.out
    names = sorted(path.name for path in (tmp_path / "out" / "cases").glob("*.tfrecord"))
    assert names == ["case_0.copy1.tfrecord", "case_0.tfrecord", "case_3.tfrecord"]


def test_an_edited_split_file_is_refused(build, tmp_path):
    lists = tmp_path / "split.yaml"
    lists.write_text("train: [case_0, case_1]\ntest: [case_3]\n")
    assert build(tmp_path / "out", "--split.file", lists).status == 0
    lists.write_text("train: [case_0]\nvalidation: [case_1]\ntest: [case_3]\n")
    done = build(tmp_path / "out", "--split.file", lists)
    assert done.status == 2
    where = tmp_path / "out"
    assert done.errors[:2] == [
        f"error: {where}: the split's `{name}` names other cases now" for name in ("train", "validation")
    ]


def test_an_edited_schema_is_refused(build, tmp_path):
    schema = tmp_path / "mine.yaml"
    schema.write_text("name: mine\nclasses: {background: 0, tumour: [1, 2, 4]}\n")
    assert build(tmp_path / "out", "--labels", schema).status == 0
    schema.write_text("name: mine\nclasses: {background: [0, 2], tumour: [1, 4]}\n")
    done = build(tmp_path / "out", "--labels", schema)
    assert done.status == 2
    assert done.errors[0] == f"error: {tmp_path / 'out'}: the label schema mine has changed"


def test_slices_of_every_size_are_kept_without_a_crop(command, tmp_path):
    source = write_brats(tmp_path / "source", [scan("a", shape=(10, 9, 8)), scan("b", shape=(12, 7, 5)), scan("c")])
    options = ("--prepare.crop=null", "--prepare.size=null", "--split.fractions", "[1,0,0]", "--workers", 1)
    done = command("data_prep.make_records", "--source", source, "--out", tmp_path / "out", *options)
    assert done.status == 0, done.err
    opened = Records(tmp_path / "out")
    assert [opened.shard(case).image.shape for case in "abc"] == [(8, 9, 10, 4), (5, 7, 12, 4), (8, 9, 10, 4)]


def test_a_crop_that_cuts_tumours_off_is_warned_of(build, tmp_path):
    done = build(tmp_path, "--prepare.size", "[2,4,4]")
    (warning,) = [line for line in done.err.splitlines() if line.startswith("warning:")]
    assert "of the tumour of 5 of 5 cases" in warning
    lost = Records(tmp_path).cases["case_0"].tumour_lost
    assert 0 < lost < 1
    assert f"case_0 {lost:.1%}" in warning


def test_a_brain_that_the_crop_does_not_find_is_warned_of(command, tmp_path):
    made = scan("a", channels=("t1",))
    made.images["t1"][...] = 1 + np.arange(made.images["t1"].size).reshape(made.images["t1"].shape) % 97  # noise in the air
    source = write_table(tmp_path / "source", [made])
    options = (
        "--split.fractions",
        "[1,0,0]",
        "--prepare.crop",
        "brain",
        "--prepare.size",
        "null",
        "--labels",
        "brats2017-2021",
    )
    for _ in range(2):
        done = command("data_prep.make_records", "--source", source, "--out", tmp_path / "out", *options)
        assert done.status == 0, done.err
        (tmp_path / "out" / "dataset.json").unlink()
        (warning,) = [line for line in done.err.splitlines() if line.startswith("warning:")]
        assert warning.startswith("warning: --prepare.crop brain found no brain in 1 of 1 case (a): no mask, and voxels ")


def test_missing_channels_as_zeros_are_noted(command, tmp_path):
    source = write_brats(tmp_path / "source", [scan("a"), scan("b", channels=("flair", "t1"))])
    options = ("--source", source, "--out", tmp_path / "out", *SMALL, "--split.fractions", "[1,0,0]")
    assert command("data_prep.make_records", *options).status == 2
    assert command("data_prep.make_records", *options, "--missing_channels", "zero").status == 0
    opened = Records(tmp_path / "out")
    assert {name: facts.missing for name, facts in opened.cases.items()} == {"a": [], "b": ["t1ce", "t2"]}
    assert not opened.shard("b").image[..., 2:].any()


def test_an_image_of_one_value_is_a_warning_when_it_is_built(command, tmp_path):
    source = write_brats(tmp_path / "source", [scan("a"), scan("b")])
    flair = source / "a" / "a_flair.nii.gz"
    save(flair, np.zeros((10, 9, 8), np.int16))
    done = command(
        "data_prep.make_records", "--source", source, "--out", tmp_path / "out", *SMALL, "--split.fractions", "[1,0,0]"
    )
    assert done.status == 0
    assert [line for line in done.err.splitlines() if "all voxels" in line] == [f"warning: {flair}: flair: all voxels are 0"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--split.fractions", "[0.1,0.45,0.45]", "--split.file", "nowhere.yaml"], "split file not found"),
        (["--split.fractions", "[0.5,0.2,0.2]"], "three shares that sum to 1"),
        (["--split.folds", "9"], "split.folds"),
        (["--split.seed", "-1"], "seed"),
        (["--split.stratify", "age"], "'age'"),
        (["--prepare.dtype", "uint8", "--prepare.intensity", "zscore"], "uint8"),
        (["--prepare.crop", "moon"], "crop"),
        (["--augment.copies", "-1"], "copies"),
        (["--augment.copies", "1", "--seed", "-1"], "seed"),
        (["--workers", "0"], "workers"),
        (["--tolerance_mm", "-1"], "--tolerance_mm: expected at least 0; received -1"),
        (["--tolerance_mm", ".nan"], "--tolerance_mm: expected at least 0; received nan"),
        (["--prepare.clip", "[.nan,99]"], "--prepare.clip"),
        (["--split.fractions", "[.nan,0,1]"], "--split.fractions"),
        (
            ["--augment.copies", "1", "--augment.fill", "0.5", "--augment.fill_from", "4"],
            "--augment.fill_from: expected 0 to 3",
        ),
        (["--labels", "brats1066"], "brats1066"),
    ],
)
def test_a_wrong_option_is_one_line_and_builds_nothing(build, tmp_path, options, said):
    done = build(tmp_path / "out", *options)
    assert done.status == 2
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert not (tmp_path / "out").exists()


def test_the_manifest_and_the_cases_name_what_they_came_from(records, source):
    manifest = json.loads((records / "dataset.json").read_text())
    assert manifest["source"] == {"path": str(source), "layout": "brats"}
    facts = json.loads((records / "cases" / "case_0.json").read_text())
    assert sorted(Path(entry["path"]).name for entry in facts["sources"]) == sorted(
        f"case_0_{part}.nii.gz" for part in ("flair", "t1", "t1ce", "t2", "seg")
    )
    assert all(Path(entry["path"]).stat().st_size == entry["bytes"] for entry in facts["sources"])
    assert set(MakeRecordsConfig.__dataclass_fields__) - {"out", "workers", "compare_patients"} == set(
        yaml.safe_load((records / "config.yaml").read_text())
    )


def test_scans_that_were_resampled_are_not_resampled_once_more_without_a_warning(tmp_path, command):
    source = write_table(tmp_path / "scans", [scan(name, channels=("t1",), ids=(0, 1)) for name in "ab"])
    aligned = ("data_prep.align", "--source", source, "--register", "never", "--spacing_mm", 2, "--out", tmp_path / "aligned")
    assert command(*aligned).status == 0
    build = (
        "data_prep.make_records",
        "--source",
        tmp_path / "aligned",
        "--split.fractions",
        "[1,0,0]",
        "--prepare.size",
        "null",
    )
    build += ("--prepare.crop", "null")
    printed = command(*build, "--out", tmp_path / "once").err.splitlines()
    assert [line for line in printed if not line.endswith(" min left")] == []  # progress, where the machine is busy
    twice = command(*build, "--out", tmp_path / "twice", "--prepare.spacing_mm", 3)
    assert twice.status == 0
    assert "warning: these scans were resampled by glioskull align and are resampled once more; leave --prepare" in twice.err
