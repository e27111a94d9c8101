"""Metastases in every layout of BraTS-METS 2023, 2024 and 2025 and of UCSF-BMSR: made files, read and turned into records."""

from dataclasses import replace

import numpy as np
import pytest

from common.errors import Problems
from data_prep.records.folder import Records
from data_prep.sources import SourceConfig, open_source
from tests.scans import LPS, save, scan, write_brats

RAS = np.array([[0.8594, 0, 0, -110], [0, 0.8594, 0, -98.5], [0, 0, 1.5, -70], [0, 0, 0, 1.0]])  # native spacing
SAGITTAL = np.array([[0, 0, 1.2, -80], [-0.9, 0, 0, 110], [0, 0.9, 0, -100], [0, 0, 0, 1.0]])
CHANNELS = ["flair", "t1", "t1ce", "t2"]
UCSF_NAMES = {"flair": "FLAIR", "t1": "T1pre", "t1ce": "T1post", "t2": "T2Synth"}


def met(number, **options):
    return scan(f"BraTS-MET-{number}", seed=int(number[:5]), **{"ids": (0, 1, 2, 3)} | options)


def write_2023(root):
    folder = root / "ASNR-MICCAI-BraTS2023-MET-Challenge-TrainingData"
    return [(folder, met("00002-000")), (folder, met("00110-000"))], "brats2023"


def write_2024(root):
    parts = [root / f"MICCAI-BraTS2024-MET-Challenge-Training_{part}" for part in (1, 2)]
    second = met("00110-000", affine=RAS, shape=(12, 11, 7), dtype=np.float32)
    return [(parts[0], met("00002-000")), (parts[1], second)], "brats2024"


def write_2025(root):
    folder = root / "MICCAI-LH-BraTS2025-MET-Challenge-Training"
    ucsd = folder / "UCSD - Training"
    cavity = {"ids": (0, 1, 2, 3, 4)}
    scans = [(folder, met("00110-000")), (folder, met("00553-000", affine=RAS, shape=(12, 11, 7)))]
    scans += [(ucsd, met("01057-000", **cavity)), (ucsd, met("01057-001", affine=SAGITTAL, shape=(7, 11, 12), **cavity))]
    return scans, "brats2024"


LAYOUTS = {"2023": write_2023, "2024": write_2024, "2025": write_2025}


def write(root, layout):
    """Scans that were written, by case id; and the schema that the layout implies."""
    placed, schema = LAYOUTS[layout](root)
    for folder, made in placed:
        write_brats(folder, [made], newer=True)
    return {made.id: made for _, made in placed}, schema


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_on_its_own_grids(tmp_path, layout):
    scans, schema = write(tmp_path, layout)
    source = open_source(tmp_path)
    assert (source.layout, source.schema.name, source.channels) == ("brats", schema, CHANNELS)
    assert [files.id for files in source.cases()] == sorted(scans)
    for files in source.cases():
        made = scans[files.id]
        assert files.patient == files.id[:-4]
        assert files.attributes == {"tumour": "mets"}
        assert source.check(files, deep=True) == []
        case = source.read(files)
        np.testing.assert_array_equal(case.label, made.label)
        np.testing.assert_allclose(case.affine, made.affine, atol=1e-5)
        for name, array in made.images.items():
            np.testing.assert_array_equal(case.channels[name], array)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_records_hold_all_grids_and_keep_scans_of_a_patient_together(tmp_path, command, layout):
    scans, schema = write(tmp_path / "scans", layout)
    options = ("--prepare.size", "[8,8,8]", "--split.fractions", "[0.5,0,0.5]", "--workers", 1)
    done = command("data_prep.make_records", "--source", tmp_path / "scans", "--out", tmp_path / "records", *options)
    assert done.status == 0, done.err
    records = Records(tmp_path / "records")
    assert records.schema.name == schema
    assert sorted(records.cases) == sorted(scans)
    for name, facts in records.cases.items():
        assert facts.attributes == {"tumour": "mets"}
        assert records.shard(name).image.shape == (8, 8, 8, 4)
    for subset in records.split.values():
        assert len({"BraTS-MET-01057-000", "BraTS-MET-01057-001"} & set(subset)) != 1


def test_a_cavity_where_the_year_is_not_in_any_name_hints_at_its_schema(tmp_path):
    source = open_source(write_brats(tmp_path, [met("01057-000", ids=(0, 1, 2, 3, 4))], newer=True))
    assert source.schema.name == "brats2023"
    (line,) = source.check(source.cases()[0])
    assert "unknown label id 4 in" in line
    assert (
        "schema brats2023 has 0, 1, 2, 3; if they mean 1 non-enhancing tumor, 2 edema, 3 enhancing tumor, 4 resection" in line
    )
    assert "give --labels brats2024; else write a schema" in line
    assert open_source(tmp_path, SourceConfig(labels="brats2024")).check(source.cases()[0]) == []


def test_a_case_without_t2_is_refused_or_read_with_zeros(tmp_path):
    """Some cases of 2025 lack T2; some have stray ids, which a schema of one's own ignores."""
    made = met("01094-002", channels=("flair", "t1", "t1ce"))
    folder = tmp_path / "MICCAI-LH-BraTS2025-MET-Challenge-Training"
    write_brats(folder, [made, met("00110-000")], newer=True)
    source = open_source(tmp_path)
    lines = [source.check(files) for files in source.cases()]
    assert lines[0] == []
    assert len(lines[1]) == 1
    assert "case BraTS-MET-01094-002 lacks channel t2 (expected a name ending in t2 or t2w" in lines[1][0]
    zeros = open_source(tmp_path, SourceConfig(missing_channels="zero"))
    case = zeros.read(zeros.cases()[1])
    assert (case.missing, case.channels["t2"]) == (["t2"], None)
    three = open_source(tmp_path, SourceConfig(channels=["flair", "t1", "t1ce"]))
    assert [three.check(files) for files in three.cases()] == [[], []]


def test_an_id_that_belongs_to_no_class_can_be_ignored(tmp_path):
    source = open_source(write_brats(tmp_path / "BraTS2025-MET", [met("01094-002", ids=(0, 1, 2, 3, 6))], newer=True))
    (line,) = source.check(source.cases()[0])
    assert "unknown label id 6" in line
    own = tmp_path / "mets.yaml"
    own.write_text("name: mets\nclasses: {background: 0, edema: 2, core: [1, 3], cavity: 4}\nignore: [6, 8]\n")
    assert open_source(tmp_path, SourceConfig(labels=str(own))).check(source.cases()[0]) == []


def test_corrected_labels_beside_the_cases_are_not_taken_in_silence(tmp_path):
    made = met("01094-003")
    write_brats(tmp_path / "MICCAI-LH-BraTS2025-MET-Challenge-Training", [made, met("00110-000")], newer=True)
    for name in (made.id, "BraTS-MET-00110-000"):
        save(tmp_path / "MICCAI-LH-BraTS2025-MET-Challenge-corrected-labels" / f"{name}-seg.nii.gz", made.label)
    with pytest.raises(Problems, match=r"duplicate case id BraTS-MET-01094-003.*corrected-labels"):
        open_source(tmp_path)


def test_ucsf_cases_have_their_own_endings_and_two_annotations(tmp_path):
    made = scan("100117B", ids=(0, 1, 2, 3), affine=LPS)
    for name, array in made.images.items():
        save(tmp_path / made.id / f"{made.id}_{UCSF_NAMES[name]}.nii.gz", array)
    save(tmp_path / made.id / f"{made.id}_BraTS-seg.nii.gz", made.label)
    save(tmp_path / made.id / f"{made.id}_seg.nii.gz", (made.label == 3).astype(np.uint8))
    save(tmp_path / made.id / f"{made.id}_subtraction.nii.gz", made.images["t1"])
    source = open_source(tmp_path)
    (files,) = source.cases()
    assert (source.schema.name, files.id, files.patient) == ("brats2023", "100117B", "100117")
    assert source.check(files, deep=True) == []
    case = source.read(files)
    np.testing.assert_array_equal(case.label, made.label)
    for name, array in made.images.items():
        np.testing.assert_array_equal(case.channels[name], array)


def test_metastases_and_gliomas_of_2023_are_one_source(tmp_path):
    scans = [replace(scan("x", ids=(0, 1, 2, 3)), id=name) for name in ("BraTS-GLI-00005-001", "BraTS-MET-00110-000")]
    source = open_source(write_brats(tmp_path, scans, newer=True))
    assert source.schema.name == "brats2023"
    assert [files.attributes for files in source.cases()] == [{}, {"tumour": "mets"}]
