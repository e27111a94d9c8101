import json
import logging

import numpy as np
import pytest

from common.errors import Problems, UserError
from data_prep.sources import SourceConfig, open_source
from tests.scans import NEWER_NAMES, save, scan, write_brats

EMPTY = np.zeros((2, 2, 2), np.int16)


def touch(root, *names):
    """Files that are listed only: no test that uses them reads voxels."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


@pytest.mark.parametrize(
    "names",
    [
        ["x_flair.nii.gz", "x_t1.nii.gz", "x_t1ce.nii.gz", "x_t2.nii.gz", "x_seg.nii.gz"],
        ["x_flair.nii", "x_t1.nii", "x_t1gd.nii", "x_t2.nii", "x_seg.nii"],
        ["x_FLAIR.nii.gz", "x_T1.nii.gz", "x_T1c.nii.gz", "x_T2.NII.GZ", "x_Seg.nii.gz"],
        ["x-t2f.nii.gz", "x-t1n.nii.gz", "x-t1c.nii.gz", "x-t2w.nii.gz", "x-seg.nii.gz"],
        ["x-T2F.nii.gz", "x-T1N.nii.gz", "x-T1C.nii.gz", "x-T2W.nii.gz", "x-SEG.nii.gz"],
        ["flair.nii.gz", "t1.nii.gz", "t1ce.nii.gz", "t2.nii.gz", "seg.nii.gz"],
    ],
)
@pytest.mark.parametrize("depth", ["x", "some/where/x", "."])
def test_every_naming_style(tmp_path, names, depth):
    root = touch(tmp_path / "x", *(f"{depth}/{name}" for name in names))
    (case,) = open_source(root).cases()
    found = [image.path.name for image in case.channels.values()] + [case.label.path.name]
    assert case.id == "x"
    assert list(case.channels) == ["flair", "t1", "t1ce", "t2"]
    assert found == names


def test_cases_may_share_a_folder(tmp_path):
    root = touch(tmp_path, "a_flair.nii.gz", "a_seg.nii.gz", "b_flair.nii.gz", "b_seg.nii.gz")
    cases = open_source(root).cases()
    assert [(case.id, case.label.path.name) for case in cases] == [("a", "a_seg.nii.gz"), ("b", "b_seg.nii.gz")]


def test_the_label_of_case_355_of_2020_is_found_under_its_odd_name(tmp_path):
    folder = "BraTS20_Training_355"
    root = touch(tmp_path, f"{folder}/{folder}_flair.nii", f"{folder}/{folder}_t1.nii", f"{folder}/W39_1998.09.19_Segm.nii")
    (case,) = open_source(root).cases()
    assert (case.id, case.label.path.name) == (folder, "W39_1998.09.19_Segm.nii")


def test_hidden_files_and_others_are_passed_by(tmp_path):
    root = touch(
        tmp_path,
        "a/a_flair.nii.gz",
        "a/._a_t1.nii.gz",
        "__MACOSX/b_flair.nii.gz",
        ".trash/c_t1.nii",
        "a/a_brain.nii",
        "d_t1.txt",
    )
    (case,) = open_source(root).cases()
    assert case.id == "a"
    assert [name for name, image in case.channels.items() if image] == ["flair"]


def test_linked_folders_are_followed_once(tmp_path):
    touch(tmp_path / "store", "a_flair.nii.gz")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "loop").symlink_to(root)
    assert [case.id for case in open_source(root).cases()] == ["a"]


@pytest.mark.parametrize(
    ("identifier", "suffix", "schema", "patient"),
    [
        ("Brats18_TCIA03_265_1", "_flair", "brats2017-2021", "Brats18_TCIA03_265_1"),
        ("Brats17_2013_10_1", "_flair", "brats2017-2021", "Brats17_2013_10_1"),
        ("BraTS20_Training_001", "_flair", "brats2017-2021", "BraTS20_Training_001"),
        ("BraTS2021_00000", "_flair", "brats2017-2021", "BraTS2021_00000"),
        ("BraTS-GLI-00005-001", "-t2f", "brats2023", "BraTS-GLI-00005"),
        ("BraTS-MEN-00004-000", "-t1c", "brats2023", "BraTS-MEN-00004"),
        ("BraTS-MET-00110-000", "-t1c", "brats2023", "BraTS-MET-00110"),
        ("100117B", "_T1post", "brats2023", "100117"),
        ("brats_2013_pat0003_1", "_flair", "brats2012-2015", "brats_2013_pat0003"),
        ("brats_tcia_pat153_0109", "_flair", "brats2012-2015", "brats_tcia_pat153"),
    ],
)
def test_names_tell_the_schema_and_the_patient(tmp_path, identifier, suffix, schema, patient):
    source = open_source(touch(tmp_path, f"{identifier}/{identifier}{suffix}.nii.gz"))
    (case,) = source.cases()
    assert (case.id, case.patient, source.schema.name) == (identifier, patient, schema)


@pytest.mark.parametrize(
    ("folder", "identifier", "schema"),
    [
        ("ASNR-MICCAI-BraTS2023-MET-Challenge-TrainingData", "BraTS-MET-00110-000", "brats2023"),
        ("MICCAI-BraTS2024-MET-Challenge-Training_1", "BraTS-MET-00110-000", "brats2024"),
        ("MICCAI-LH-BraTS2025-MET-Challenge-Training", "BraTS-MET-00110-000", "brats2024"),
        ("MICCAI-LH-BraTS2025-MET-Challenge-Training/UCSD - Training", "BraTS-MET-01057-003", "brats2024"),
        ("BraTS24-MET", "BraTS-MET-00110-000", "brats2024"),
        ("BraTS2024-BraTS-GLI-TrainingData", "BraTS-GLI-02405-100", "brats2024"),
        ("BraTS2025-GLI-PRE-Challenge-TrainingData", "BraTS-GLI-00005-000", "brats2023"),
        ("BraTS2024-MEN", "BraTS-MEN-00004-000", "brats2023"),
        ("MICCAI-LH-BraTS2025-MET-preprocessed", "BraTS-MET-00110-000", "brats2024"),
        ("BraTS2024/BraTS2023-MET", "BraTS-MET-00110-000", "brats2023"),
        ("my_metastases", "BraTS-MET-00110-000", "brats2023"),
    ],
)
def test_folders_tell_the_year_of_newer_names(tmp_path, folder, identifier, schema):
    root = touch(tmp_path, f"{folder}/{identifier}/{identifier}-t1c.nii.gz")
    for opened in (root, root / folder):
        assert open_source(opened).schema.name == schema


def test_of_newer_years_the_schema_with_more_ids_is_taken(tmp_path):
    root = touch(tmp_path, "a/BraTS-MET-00001-000-t1c.nii.gz", "BraTS2025-MET/BraTS-MET-01057-000-t1c.nii.gz")
    assert open_source(root).schema.name == "brats2024"


def test_names_of_several_years_need_a_schema(tmp_path):
    root = touch(tmp_path, "BraTS2021_00000_flair.nii.gz", "BraTS-GLI-00005-001-t2f.nii.gz")
    with pytest.raises(UserError, match=r"several years.*BraTS2021_00000 \(.*BraTS-GLI-00005-001 \(brats2023\).*--labels"):
        open_source(root)
    assert len(open_source(root, SourceConfig(labels="binary")).cases()) == 2


HGG, LGG = {"grade": "HGG", "tumour": "hgg"}, {"grade": "LGG", "tumour": "lgg"}


@pytest.mark.parametrize("folder", ["HGG", "hgg", "training/HGG"])
def test_the_folder_gives_the_grade(tmp_path, folder):
    root = touch(tmp_path, f"{folder}/a/a_flair.nii.gz", "LGG/b/b_flair.nii.gz", "c/c_flair.nii.gz")
    assert [case.attributes for case in open_source(root).cases()] == [HGG, LGG, {}]


def test_the_folder_above_the_root_gives_the_grade(tmp_path):
    root = touch(tmp_path / "LGG" / "a", "a_flair.nii.gz")
    assert open_source(root).cases()[0].attributes == LGG
    assert open_source(root.parent).cases()[0].attributes == LGG


def test_the_name_mapping_gives_the_grade(tmp_path):
    root = touch(tmp_path, *(f"{name}/{name}_flair.nii" for name in ("BraTS20_Training_001", "BraTS20_Training_300", "other")))
    (root / "name_mapping.csv").write_text(
        "Grade,BraTS_2017_subject_ID,BraTS_2018_subject_ID,TCGA_TCIA_subject_ID,BraTS_2019_subject_ID,BraTS_2020_subject_ID\n"
        "HGG,Brats17_CBICA_AAB_1,Brats18_CBICA_AAB_1,NA,BraTS19_CBICA_AAB_1,BraTS20_Training_001\n"
        "LGG,NA,NA,NA,NA,BraTS20_Training_300\n"
        "NA,NA,NA,NA,NA,other\n"
    )
    assert [case.attributes for case in open_source(root).cases()] == [HGG, LGG, {}]


def test_names_of_metastases_give_the_tumour_type(tmp_path):
    names = ("BraTS-MET-00110-000-t1c", "BraTS-GLI-00005-000-t1c", "100117A_T1post", "own_T1post")
    root = touch(tmp_path, *(f"{name}/{name}.nii.gz" for name in names))
    found = {case.id: case.attributes for case in open_source(root, SourceConfig(labels="brats2023")).cases()}
    assert found == {
        "BraTS-MET-00110-000": {"tumour": "mets"},
        "BraTS-GLI-00005-000": {},
        "100117A": {"tumour": "mets"},
        "own": {},
    }


def test_targets_of_radiotherapy_are_one_structure_on_one_channel(tmp_path):
    folder = tmp_path / "BraTS-MEN-RT-Train-v2"
    for number in (4, 60):
        made = scan(f"BraTS-MEN-RT-{number:04d}-1", ids=(0, 1), seed=number)
        save(folder / made.id / f"{made.id}_t1c.nii.gz", made.images["t1ce"])
        save(folder / made.id / f"{made.id}_gtv.nii.gz", made.label)
    source = open_source(folder)
    assert (source.layout, source.channels, source.schema.name) == ("brats", ["t1ce"], "binary")
    first, second = source.cases()
    assert (first.id, first.patient, second.patient) == ("BraTS-MEN-RT-0004-1", "BraTS-MEN-RT-0004", "BraTS-MEN-RT-0060")
    case = source.read(first)
    np.testing.assert_array_equal(case.label, scan("", ids=(0, 1), seed=4).label)
    assert (source.check(first), source.check(second)) == ([], [])


def test_a_channel_in_two_files_is_refused(tmp_path):
    root = touch(tmp_path, "a/a_t1ce.nii", "a/a_t1gd.nii.gz", "b/b_seg.nii", "b/b_SEG.nii.gz", "b/b_t1.nii")
    with pytest.raises(Problems) as caught:
        open_source(root)
    assert [line.split(": ")[1].split(",")[0] for line in caught.value.lines] == [
        "case a has t1ce in more than one file",
        "case b has label in more than one file",
    ]


@pytest.mark.parametrize(("newer", "identifier", "hint"), [(True, "x-1", "brats2024"), (False, "x", "brats2012-2015")])
def test_an_unknown_id_hints_at_the_schema_that_knows_it(tmp_path, newer, identifier, hint):
    made = scan(identifier, ids=(0, 1, 2, 3, 4))
    source = open_source(write_brats(tmp_path, [made], newer=newer))
    (line,) = source.check(source.cases()[0])
    assert f"give --labels {hint}; else" in line
    assert open_source(tmp_path, SourceConfig(labels=hint)).check(source.cases()[0]) == []


@pytest.mark.parametrize(
    ("folder", "schema"),
    [("BraTS-PEDs2024_Training", "brats2024-ped"), ("ASNR-MICCAI-BraTS2023-PED-Challenge-TrainingData", "brats2023")],
)
def test_the_year_decides_what_ids_of_children_mean(tmp_path, folder, schema):
    made = scan("BraTS-PED-00001-000", ids=(0, 1, 2, 3))
    source = open_source(write_brats(tmp_path / folder, [made], newer=True))
    assert source.schema.name == schema
    assert source.check(source.cases()[0]) == []


def test_ids_of_children_of_no_year_are_asked_for(tmp_path):
    write_brats(tmp_path, [scan("BraTS-PED-00001-000", ids=(0, 1, 2))], newer=True)
    with pytest.raises(
        UserError, match=r"seg.nii.gz: the ids of BraTS-PED mean other .* --labels brats2024-ped .* brats2023 for 2023"
    ):
        open_source(tmp_path)
    assert open_source(tmp_path, SourceConfig(labels="brats2024-ped")).schema.class_names[2] == "cystic component"
    (tmp_path / "BraTS-PED-00001-000" / "BraTS-PED-00001-000-seg.nii.gz").unlink()
    assert open_source(tmp_path).schema.name == "brats2023"  # nothing is annotated, so nothing can be read wrongly


def test_no_cavity_is_suggested_for_a_challenge_without_any(tmp_path):
    source = open_source(write_brats(tmp_path, [scan("BraTS-SSA-00001-000", ids=(0, 1, 2, 3, 4))], newer=True))
    (line,) = source.check(source.cases()[0])
    assert "unknown label id 4" in line
    assert line.endswith("and give it to --labels")
    assert "brats2024" not in line


def test_an_id_that_no_schema_knows_asks_for_one(tmp_path):
    source = open_source(write_brats(tmp_path, [scan("a", ids=(0, 7))]))
    (line,) = source.check(source.cases()[0])
    assert "write a schema like those in" in line


def test_newer_names_are_read(tmp_path):
    made = scan("BraTS-GLI-00005-001", ids=(0, 1, 2, 3))
    source = open_source(write_brats(tmp_path, [made], newer=True, suffix=".nii"))
    case = source.read(source.cases()[0])
    for name in NEWER_NAMES:
        np.testing.assert_array_equal(case.channels[name], made.images[name])


def test_upper_case_endings_are_read(tmp_path):
    save(tmp_path / "x.nii.gz", EMPTY + 3)
    (tmp_path / "x.nii.gz").rename(tmp_path / "A_FLAIR.NII.GZ")
    source = open_source(tmp_path, SourceConfig(channels=["flair"]))
    np.testing.assert_array_equal(source.read(source.cases()[0]).channels["flair"], EMPTY + 3)


def test_nothing_is_printed_about_headers(tmp_path, capfd, caplog):
    root = write_brats(tmp_path, [scan("a")], suffix=".nii")
    path = root / "a" / "a_t1.nii"
    data = bytearray(path.read_bytes())
    data[70:74] = b"\x01\x02\x03\x04"  # datatype and bitpix
    path.write_bytes(data)
    source = open_source(root)
    with caplog.at_level(logging.DEBUG):
        assert len(source.check(source.cases()[0])) == 1
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_hundreds_of_cases_are_listed_at_once(tmp_path):
    names = [f"case_{number:03}" for number in range(300)]
    root = touch(tmp_path, *(f"{name}/{name}_{kind}.nii.gz" for name in names for kind in ("flair", "t1", "t1ce", "t2", "seg")))
    assert [case.id for case in open_source(root).cases()] == names


def test_a_manifest_comes_before_the_names_of_files(tmp_path):
    touch(tmp_path, "a_flair.nii.gz")
    (tmp_path / "dataset.json").write_text(
        json.dumps({"modality": {"0": "T1w"}, "training": [{"image": "a_flair.nii.gz"}], "labels": {"0": "out", "1": "in"}})
    )
    assert open_source(tmp_path).layout == "msd"
    assert open_source(tmp_path, SourceConfig(layout="brats")).layout == "brats"


def test_labels_of_ucsf_pdgm_are_found_and_other_images_counted(tmp_path):
    names = ["T1", "T1c", "T2", "FLAIR", "tumor_segmentation", "ADC", "brain_segmentation"]
    ids = ["UCSF-PDGM-0429", "UCSF-PDGM-0429_FU003d"]
    root = touch(tmp_path, *(f"{identifier}_nifti/{identifier}_{name}.nii.gz" for identifier in ids for name in names))
    source = open_source(root)
    cases = source.cases()
    assert [(case.id, case.patient) for case in cases] == [(ids[0], ids[0]), (ids[1], ids[0])]
    assert [case.label.path.name for case in cases] == [f"{identifier}_tumor_segmentation.nii.gz" for identifier in ids]
    assert source.schema.name == "brats2017-2021"
    first = f"{ids[1]}_nifti/{ids[1]}_ADC.nii.gz"
    assert source.source_warnings()[0].startswith(f"{root}: 4 images were passed by, such as {first}, ")


def test_labels_of_tcga_that_were_corrected_by_hand_are_preferred(tmp_path):
    one, other = "TCGA-02-0006_1996.08.23", "TCGA-02-0009_1997.06.14"
    files = [f"{one[:12]}/{one}_{name}.nii.gz" for name in ("t1", "t1Gd", "GlistrBoost", "GlistrBoost_ManuallyCorrected")]
    files += [f"{other[:12]}/{other}_{name}.nii.gz" for name in ("t1", "GlistrBoost")]
    source = open_source(touch(tmp_path, *files))
    found = [(case.id, case.patient, case.label.path.name) for case in source.cases()]
    assert found == [
        (one, "TCGA-02-0006", f"{one}_GlistrBoost_ManuallyCorrected.nii.gz"),
        (other, "TCGA-02-0009", f"{other}_GlistrBoost.nii.gz"),
    ]
    assert source.source_warnings() == [
        f"{tmp_path}: 1 label was made by a program and not corrected by hand, such as {other}_GlistrBoost.nii.gz"
    ]


def test_labels_of_upenn_lie_in_folders_of_their_own(tmp_path):
    ids = ["UPENN-GBM-00001_11", "UPENN-GBM-00001_21", "UPENN-GBM-00002_11"]
    files = [f"images_structural/{identifier}/{identifier}_{name}.nii.gz" for identifier in ids for name in ("T1", "T1GD")]
    files += [f"automated_segm/{identifier}_automated_approx_segm.nii.gz" for identifier in (ids[0], ids[2])]
    files += [f"images_segm/{ids[0]}_segm.nii.gz", f"images_structural_unstripped/{ids[0]}/{ids[0]}_T1_unstripped.nii.gz"]
    source = open_source(touch(tmp_path, *files))
    labels = [None if case.label is None else case.label.path.relative_to(tmp_path).as_posix() for case in source.cases()]
    assert labels == [f"images_segm/{ids[0]}_segm.nii.gz", None, f"automated_segm/{ids[2]}_automated_approx_segm.nii.gz"]
    assert [case.patient for case in source.cases()] == ["UPENN-GBM-00001", "UPENN-GBM-00001", "UPENN-GBM-00002"]
    assert [line.partition(": ")[2][:24] for line in source.source_warnings()] == [
        "1 image was passed by: i",
        "1 label was made by a pr",
    ]
