from common.files import write_yaml
from evaluation.inference.applied import applied_line, applied_rules
from evaluation.inference.postprocess import PostprocessConfig

CHOSEN = {"metric": "dice", "structure": "WT", "patients": 2, "patient_ids": ["a", "b"]}


def test_setting_and_patients_are_named_and_those_that_are_scored_counted(tmp_path):
    write_yaml(tmp_path / "postprocess.yaml", {"threshold": 0.4, "chosen": CHOSEN})
    entry = applied_rules("segmentation", PostprocessConfig(threshold=0.4), [tmp_path / "postprocess.yaml"])
    assert (entry["setting"], entry["patients"], entry["patient_ids"]) == ("threshold 0.4", 2, ["a", "b"])
    line = applied_line(entry)
    assert line.startswith("post-processing: threshold 0.4; chosen on 2 validation patients by dice of WT (")
    assert applied_line(entry, ["c"]) == line
    assert applied_line(entry, ["a", "c"]).endswith("; 1 of 2 scored patients are among them: optimistic")


def test_patients_of_all_runs_are_joined(tmp_path):
    files = [tmp_path / "1.yaml", tmp_path / "2.yaml"]
    for file, patients in zip(files, (["a", "b"], ["b", "c"]), strict=True):
        write_yaml(file, {"chosen": CHOSEN | {"patient_ids": patients}})
    assert applied_rules("s", PostprocessConfig(), files)["patient_ids"] == ["a", "b", "c"]


def test_what_is_not_stored_is_said(tmp_path):
    assert applied_line(applied_rules("s", PostprocessConfig(), [])) == "post-processing: none"
    write_yaml(tmp_path / "own.yaml", {"largest": True})
    entry = applied_rules("s", PostprocessConfig(largest=True), [tmp_path / "own.yaml"])
    assert "largest component; how it was chosen is not stored (" in applied_line(entry)
