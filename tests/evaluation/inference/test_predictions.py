"""The predictions folder: its manifest, what is refused, and folds that are merged."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import Problems, UserError
from common.files import checksum, write_json
from data_prep.labels import LabelSchema
from data_prep.scans.case import ImageRef
from evaluation.inference.predictions import (
    LOCK,
    MANIFEST,
    earlier_predictions,
    ids_to_classes,
    is_current,
    is_finished,
    merge_predictions,
    open_predictions,
    predicted_cases,
    prediction_path,
    read_classes,
    read_cost,
    write_manifest,
)
from tests.scans import save

SCHEMA = LabelSchema.load("brats2017-2021")
SETTINGS = {"flips": ["x"], "overlap": 0.5}


def a_run(folder, weights=b"1", split="patient"):
    """A run whose weights are some bytes."""
    folder.mkdir(exist_ok=True)
    (folder / "best.weights.h5").write_bytes(weights)
    metadata = {"split": split, "status": "stopped", "init_from": None}
    return SimpleNamespace(
        path=folder,
        weights=folder / "best.weights.h5",
        metadata=metadata,
        records_paths=[],
        config=SimpleNamespace(init_from=None),
    )


def write(folder, runs, cases, tmp_path, settings=SETTINGS):
    for case in cases:
        save(folder / f"{case}.nii.gz", np.zeros((2, 3, 4), np.uint8))
    write_manifest(folder, runs, tmp_path / "source", SCHEMA, settings, cases)


def test_what_was_written_is_read_again(tmp_path):
    run, folder = a_run(tmp_path / "run", split="slice"), tmp_path / "p"
    assert not is_finished(folder)
    assert predicted_cases(folder) == []
    write(folder, [run], ["a", "b"], tmp_path)
    assert is_finished(folder)
    assert predicted_cases(folder) == ["a", "b"]
    opened = open_predictions(folder, None)
    assert (opened.schema, opened.cases, opened.runs, opened.split) == (SCHEMA, ["a", "b"], [str(run.path)], "slice")
    assert open_predictions(folder, ["b"]).cases == ["b"]
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["weights"] == [{"file": "best.weights.h5", "crc32c": checksum(run.weights)}]
    assert manifest["source"] == str(tmp_path / "source")


def test_weights_decide_whether_predictions_may_be_added_and_not_the_path(tmp_path):
    """Fault 13: two states of one run are two models; a run that was moved is one."""
    run, folder = a_run(tmp_path / "run"), tmp_path / "p"
    assert earlier_predictions(folder, [run], SETTINGS).cases == ()
    write(folder, [run], ["a"], tmp_path)
    assert earlier_predictions(folder, [run], SETTINGS).cases == ["a"]
    assert earlier_predictions(folder, [a_run(tmp_path / "moved")], SETTINGS).cases == ["a"]
    changed = a_run(tmp_path / "run", b"2")
    with pytest.raises(UserError, match=r"holds predictions of other runs or of other weights of them .*choose another --out"):
        earlier_predictions(folder, [changed], SETTINGS)
    with pytest.raises(UserError, match="holds predictions of other runs"):
        earlier_predictions(folder, [a_run(tmp_path / "run"), changed], SETTINGS)


def test_predictions_of_other_settings_are_not_mixed(tmp_path):
    run, folder = a_run(tmp_path / "run"), tmp_path / "p"
    write(folder, [run], ["a"], tmp_path)
    with pytest.raises(UserError, match=r"made with flips \[\"x\"\], not \[\"y\"\]; choose another --out"):
        earlier_predictions(folder, [run], SETTINGS | {"flips": ["y"]})


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 99, "cases": []}', '{"format": 1, "cases": "a"}'])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    for use in (lambda: open_predictions(tmp_path, None), lambda: earlier_predictions(tmp_path, [], {})):
        with pytest.raises(UserError, match=r"predictions\.json: (expected predictions of format 1|(cases|schema): expected)"):
            use()


def test_without_a_manifest_the_cases_must_be_listed(tmp_path):
    with pytest.raises(UserError, match=r"predictions\.json: not found.*give it to --cases"):
        open_predictions(tmp_path, None)
    opened = open_predictions(tmp_path, ["a"])
    assert (opened.schema, opened.cases, opened.runs) == (None, ["a"], [])


def test_files_that_the_manifest_does_not_name_are_listed(tmp_path):
    run, folder = a_run(tmp_path / "run"), tmp_path / "p"
    write(folder, [run], ["a"], tmp_path)
    save(folder / "a_probabilities.nii.gz", np.zeros((2, 3, 4), np.uint8))
    assert open_predictions(folder, None).cases == ["a"]
    save(folder / "z.nii.gz", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(Problems, match=r"z\.nii\.gz: extra prediction"):
        open_predictions(folder, None)


def test_folds_are_merged_without_their_scores(tmp_path):
    folders = []
    for fold, case in enumerate("ba"):
        folder = tmp_path / f"fold{fold}"
        write(folder, [a_run(tmp_path / f"run{fold}", case.encode())], [case], tmp_path)
        (folder / "scores").mkdir()
        (folder / "overlays").mkdir()
        (folder / "overlays" / f"{case}.png").write_bytes(b"png")
        folders.append(folder)
    merge_predictions(folders, tmp_path / "all")
    names = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert names == ["a.nii.gz", "b.nii.gz", "overlays", MANIFEST]
    assert sorted(path.name for path in (tmp_path / "all" / "overlays").iterdir()) == ["a.png", "b.png"]
    manifest = json.loads((tmp_path / "all" / MANIFEST).read_text())
    assert manifest["cases"] == ["a", "b"]
    assert manifest["runs"] == [str(tmp_path / "run0"), str(tmp_path / "run1")]
    assert len({weights["crc32c"] for weights in manifest["weights"]}) == 2
    assert manifest["cross_validation"].startswith("2 folds by patient")
    assert manifest["postprocessing"] == []


def test_merged_folds_name_each_postprocessing_once_whatever_the_run_that_holds_it(tmp_path):
    rules = [{"setting": "threshold 0.3", "patients": 4}, {"setting": "threshold 0.3", "patients": 4}, {"setting": "largest"}]
    folders = []
    for fold, entry in enumerate(rules):
        folder = tmp_path / f"fold{fold}"
        write(folder, [a_run(tmp_path / f"run{fold}", b"x")], [f"case{fold}"], tmp_path)
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | {"postprocessing": [entry | {"file": f"run{fold}"}]}))
        folders.append(folder)
    merge_predictions(folders, tmp_path / "all")
    merged = json.loads((tmp_path / "all" / MANIFEST).read_text())["postprocessing"]
    assert [entry["setting"] for entry in merged] == ["threshold 0.3", "largest"]


def test_a_packed_file_goes_before_a_plain_one(tmp_path):
    assert prediction_path(tmp_path, "a") == tmp_path / "a.nii.gz"
    save(tmp_path / "a.nii", np.zeros((2, 2, 2), np.uint8))
    assert prediction_path(tmp_path, "a") == tmp_path / "a.nii"
    save(tmp_path / "a.nii.gz", np.zeros((2, 2, 2), np.uint8))
    assert prediction_path(tmp_path, "a") == tmp_path / "a.nii.gz"


def test_ids_become_classes(tmp_path):
    ids = np.array([[[0, 1, 2, 4]]], np.int16)
    save(tmp_path / "a.nii.gz", ids)
    np.testing.assert_array_equal(read_classes(ImageRef(tmp_path / "a.nii.gz"), SCHEMA), [[[0, 2, 1, 3]]])
    with pytest.raises(UserError, match=r"truth\.nii"):
        ids_to_classes("truth.nii", np.array([[[7]]]), SCHEMA)


def test_predictions_are_current_for_their_weights_and_cases_alone(tmp_path):
    run, folder = a_run(tmp_path / "run"), tmp_path / "p"
    assert not is_current(folder, [run], ["a", "b"])
    write(folder, [run], ["a", "b"], tmp_path)
    assert is_current(folder, [run], ["b", "a"])
    assert not is_current(folder, [run], ["a"])
    assert is_current(folder, [a_run(tmp_path / "moved")], ["a", "b"])
    assert not is_current(folder, [a_run(tmp_path / "run", weights=b"2")], ["a", "b"])


def test_the_cost_is_read_again_and_is_no_setting(tmp_path):
    run, folder = a_run(tmp_path / "run"), tmp_path / "p"
    write(folder, [run], ["a"], tmp_path, SETTINGS | {"cost": {"seconds_per_case": 0.5, "peak_memory_mb": 100}})
    assert read_cost(folder) == {"seconds_per_case": 0.5, "peak_memory_mb": 100.0}
    assert earlier_predictions(folder, [run], SETTINGS).cases == ["a"]
    other = tmp_path / "q"
    write(other, [run], ["b"], tmp_path)
    assert read_cost(other) == {}
    merge_predictions([folder, other], tmp_path / "merged")  # the cost of one fold is not that of all
    assert read_cost(tmp_path / "merged") == {}


def test_a_missing_folder_and_an_unfinished_one_have_messages_of_their_own(tmp_path):
    for wanted in (None, ["a"]):
        with pytest.raises(UserError, match="nowhere: expected a folder of predictions; received none there"):
            open_predictions(tmp_path / "nowhere", wanted, plain=True)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="expected a folder of predictions; received a file"):
        open_predictions(tmp_path / "file", None)
    (tmp_path / LOCK).touch()
    with pytest.raises(UserError, match=r"expected predictions finished by glioskull predict, .*; received unfinished ones"):
        open_predictions(tmp_path, None, plain=True)
    for head in ("hgg", "mets"):
        write_json(tmp_path / head / "predictions.json", {})
    with pytest.raises(UserError, match="received a folder with those of several; choose one of hgg, mets in it"):
        open_predictions(tmp_path, None, plain=True)
