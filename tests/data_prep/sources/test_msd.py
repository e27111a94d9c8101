import json

import numpy as np
import pytest

from common.errors import UserError
from data_prep.sources import SourceConfig, open_source
from tests.scans import save, scan, write_msd

TASK01 = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
NAMES = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}


def manifest(tmp_path, **content):
    standard = {"modality": NAMES, "labels": TASK01, "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}]}
    kept = {key: value for key, value in (standard | content).items() if value is not None}
    (tmp_path / "dataset.json").write_text(json.dumps(kept))
    return tmp_path


def test_names_of_channels_become_ours(tmp_path):
    assert open_source(manifest(tmp_path)).channels == ["flair", "t1", "t1ce", "t2"]
    assert open_source(manifest(tmp_path, modality={"1": "ADC", "0": "T2"})).channels == ["t2", "adc"]
    assert open_source(manifest(tmp_path, modality=None, channel_names={"0": "T1w"})).channels == ["t1"]


def test_other_labels_make_a_schema_of_their_own(tmp_path):
    schema = open_source(manifest(tmp_path, labels={"0": "background", "2": "cyst", "1": "core"}, name="made")).schema
    assert (schema.name, schema.classes) == ("made", {"background": (0,), "core": (1,), "cyst": (2,)})
    assert schema.regions == {"foreground": ("core", "cyst")}


def test_labels_may_be_written_by_name(tmp_path):
    schema = open_source(manifest(tmp_path, labels={"background": 0, "tumor": 1, "ignore": 2})).schema
    assert (schema.class_names, schema.ignore) == (["background", "tumor"], (2,))


def test_a_schema_may_be_given(tmp_path):
    assert open_source(manifest(tmp_path, labels={"1": "x"}), SourceConfig(labels="binary")).schema.name == "binary"


def test_without_labels_there_is_no_schema(tmp_path):
    assert open_source(manifest(tmp_path, labels=None)).schema is None


def test_training_entries_are_the_cases_else_those_of_test(tmp_path):
    test = ["./imagesTs/b.nii.gz", "./imagesTs/._b.nii.gz"]
    assert [case.id for case in open_source(manifest(tmp_path, test=test)).cases()] == ["a"]
    (case,) = open_source(manifest(tmp_path, training=[], test=test)).cases()
    assert (case.id, case.label, case.channels["t1"].index) == ("b", None, 1)


def test_one_channel_is_a_file_of_three_axes(tmp_path):
    save(tmp_path / "imagesTr" / "a.nii.gz", np.full((3, 4, 5), 7, np.int16))
    save(tmp_path / "labelsTr" / "a.nii.gz", np.ones((3, 4, 5), np.uint8))
    source = open_source(manifest(tmp_path, modality={"0": "T1w"}))
    assert source.read(source.cases()[0]).channels["t1"].shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"modality": None}, "modality: expected the channels' names"),
        ({"modality": {"0": "T1w", "2": "T2w"}}, "modality: expected the channels' names"),
        ({"modality": {"0": "T1w", "1": "t1"}}, "modality: expected the channels' names"),
        ({"modality": ["T1w"]}, "modality: expected the channels' names"),
        ({"training": None}, "training: expected a list"),
        ({"training": {"image": "a"}}, "training: expected a list"),
        ({"training": [{"label": "a"}]}, 'training: expected {"image"'),
        ({"training": [{"image": "a", "label": 3}]}, 'training: expected {"image"'),
        ({"training": [7]}, 'training: expected {"image"'),
        ({"labels": ["a", "b"]}, "labels: expected ids"),
        ({"labels": 5}, "labels: expected ids"),
        ({"labels": {"whole": [1, 2], "background": 0}}, "labels: expected ids"),
        ({"labels": {"0": "same", "1": "same"}}, "labels: expected ids"),
        ({"labels": {"1": "a", "2": "b"}}, "labels: expected id 0"),
        ({"labels": {str(number): f"class {number}" for number in range(9)}}, "expected 2 to 8 classes"),
    ],
)
def test_a_manifest_that_makes_no_sense_gives_one_line(tmp_path, content, message):
    with pytest.raises(UserError) as caught:
        open_source(manifest(tmp_path, **content))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/dataset.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[]", "expected a JSON object"), ("\xff", "is not JSON")])
def test_a_manifest_that_is_no_object_gives_one_line(tmp_path, text, message):
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        open_source(tmp_path)


def test_the_number_of_channels_must_be_that_of_the_manifest(tmp_path):
    write_msd(tmp_path, [scan("a", channels=("flair", "t1", "t1ce"), ids=(0, 1))])
    source = open_source(manifest(tmp_path))
    (line,) = source.check(source.cases()[0])
    assert "a.nii.gz: expected a 4D image of 4 channels; received shape (10, 9, 8, 3)" in line


def write_nnunet(root, channels=2, **content):
    """Raw folder of nnU-Net: two cases, a file for each channel."""
    for case in ("a", "b"):
        for place in range(channels):
            save(root / "imagesTr" / f"{case}_{place:04d}.nii.gz", np.full((3, 4, 5), place, np.int16))
        save(root / "labelsTr" / f"{case}.nii.gz", np.ones((3, 4, 5), np.uint8))
    names = {"channel_names": {"0": "T1w", "1": "T2w"}, "labels": {"background": 0, "tumor": 1}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps({"numTraining": 2} | names | content))
    return root


@pytest.mark.parametrize("listed", [{}, {"training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]}])
def test_a_raw_folder_of_nnunet_is_read(tmp_path, listed):
    source = open_source(write_nnunet(tmp_path, **listed))
    assert [case.id for case in source.cases()] == (["a"] if listed else ["a", "b"])
    case = source.read(source.cases()[0])
    assert {name: array.max() for name, array in case.channels.items()} == {"t1": 0, "t2": 1}
    assert case.label.all()
    more = [f"{tmp_path}: 3 images were passed by, such as imagesTr/b_0000.nii.gz, imagesTr/b_0001.nii.gz"]
    assert source.source_warnings() == (more if listed else [])
    assert open_source(tmp_path, SourceConfig(channels=["t2"])).source_warnings() == (more if listed else [])


def test_a_case_of_nnunet_that_lacks_a_channel_is_named(tmp_path):
    (write_nnunet(tmp_path) / "imagesTr" / "b_0001.nii.gz").unlink()
    source = open_source(tmp_path)
    assert "case b lacks channel t2 (expected a name ending in _0001)" in source.check(source.cases()[1])[0]


def test_images_of_nnunet_in_another_format_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"file_ending: expected .nii or .nii.gz; received '.png'; convert the images"):
        open_source(write_nnunet(tmp_path, file_ending=".png"))


def test_paths_of_windows_are_read(tmp_path):
    write_msd(tmp_path, [scan("a", ids=(0, 1, 2, 3))])
    text = (tmp_path / "dataset.json").read_text().replace("./imagesTr/", "imagesTr\\\\").replace("./labelsTr/", "labelsTr\\\\")
    (tmp_path / "dataset.json").write_text(text)
    source = open_source(tmp_path)
    assert source.check(source.cases()[0]) == []
