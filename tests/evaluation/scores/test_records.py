"""Scores of a run on records: against a direct computation, of whole volumes too, and what is refused."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, read_yaml, write_json, write_yaml
from common.metrics.catalogue import METRICS, chosen_metrics
from common.metrics.label_pair import LabelPair
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.records.folder import Records
from evaluation.outputs import FILE
from evaluation.scores import records as module
from evaluation.scores.records import Subset, count, load, open_subset, record_keys, score_key, score_records
from models.volume import SlidingWindow
from training.data.batches import InputConfig
from training.data.division import slice_split
from training.data.slices import whole_slices
from training.objectives.functions import focal
from training.run import Run


def test_loss_and_counts_are_those_of_all_slices_at_once(trained, records):
    found = score_records(trained, records, "train", batch_size=5)  # 24 slices: the last batch is not full
    opened, network = Records(records), Run(trained).load_network()
    shards = [opened.shard(case) for case in opened.split["train"]]
    images = np.concatenate([shard.image for shard in shards]).astype(np.float32)
    bits = np.concatenate([shard.label for shard in shards])
    logits = np.asarray(network.predict(images, verbose=0)["segmentation"])
    truth, predicted = bits_to_classes(bits), logits.argmax(axis=-1)
    annotated = truth < 4
    counts = np.bincount(4 * truth[annotated].astype(int) + predicted[annotated], minlength=16).reshape(4, 4)
    np.testing.assert_array_equal(found.confusion, counts)
    assert found.loss == pytest.approx(float(focal(bits, logits, 2.0, [1.0] * 4)), rel=1e-4)
    assert (found.patients, found.slices, found.own_records) == (3, 24, True)


def test_distances_are_those_of_each_cases_volume_averaged_over_patients(trained, records):
    found = score_records(trained, records, "train", batch_size=5)
    opened, network = Records(records), Run(trained).load_network()
    expected = []
    for case in opened.split["train"]:
        shard, spacing = opened.shard(case), opened.cases[case].geometry.spacing_mm
        predicted = network.predict(shard.image.astype(np.float32), verbose=0)["segmentation"].argmax(axis=-1)
        pair = LabelPair.count(bits_to_classes(shard.label), predicted.astype(np.uint8), 4, spacing)
        expected.append([METRICS["hd95"](pair.structure(members)) for members in ([1, 2, 3], [1], [2], [3])])
    wt, *classes = np.mean(expected, axis=0)
    values = {score_key(structure, metric): value for (structure, metric), value in found.values().items()}
    assert values["hd95_WT"] == pytest.approx(wt)
    assert values["hd95_edema"] == pytest.approx(classes[0])
    assert values["hd95"] == pytest.approx(np.mean(classes))


def test_lesions_of_each_cases_volume_are_averaged_over_patients(trained, records):
    metric = METRICS["lesion_false@brats2023-met"]
    found = score_records(trained, records, "train", batch_size=5, metrics=chosen_metrics(["nsd"], ["brats2023-met"]))
    opened, network = Records(records), Run(trained).load_network()
    expected = []
    for case in opened.split["train"]:
        shard, spacing = opened.shard(case), opened.cases[case].geometry.spacing_mm
        predicted = network.predict(shard.image.astype(np.float32), verbose=0)["segmentation"].argmax(axis=-1)
        pair = LabelPair.count(bits_to_classes(shard.label), predicted.astype(np.uint8), 4, spacing)
        expected.append(metric(pair.structure([1, 2, 3], "WT")))
    values = {score_key(structure, name): value for (structure, name), value in found.values().items()}
    assert values[f"{metric.name}_WT"] == pytest.approx(np.mean(expected))
    assert {"nsd", "nsd_ET", "lesion_dice@brats2023-met_TC"} <= set(values)


def test_single_slices_have_no_volume(trained, records, tmp_path):
    mixed = shutil.copytree(trained, tmp_path / "mixed")
    write_yaml(mixed / "config.yaml", read_yaml(mixed / "config.yaml", "config") | {"split": "slice", "fold": None})
    chosen = open_subset(mixed, records, "validation", 8)
    assert len(chosen.source) > 0
    counts = count(chosen, load(chosen.run))
    assert counts.volumes is None
    assert counts.confusion.sum() > 0
    with pytest.raises(UserError, match="expected whole volumes for nsd; received single slices; leave --metrics"):
        score_records(mixed, records, "validation", 8, metrics=chosen_metrics(["nsd"]))
    with pytest.raises(UserError, match="--lesions brats2026-menrt: expected one of the regions GTV"):
        score_records(mixed, records, "validation", 8, metrics=chosen_metrics(rules=["brats2026-menrt"]))


def test_slices_of_a_slice_split_count_for_their_own_patient(trained, records, tmp_path, monkeypatch):
    """A network over patches predicts whole volumes, of which only the subset's slices are counted."""
    mixed = shutil.copytree(trained, tmp_path / "mixed")
    write_yaml(mixed / "config.yaml", read_yaml(mixed / "config.yaml", "config") | {"split": "slice", "fold": None})
    chosen = open_subset(mixed, records, "validation", 8)
    plain = count(chosen, load(chosen.run))

    def volumes(subset, network, case):
        image = subset.records.shard(case).image
        for first in range(0, len(image), 3):
            part = slice(first, min(first + 3, len(image)))
            yield part, network.predict(np.asarray(image[part], np.float32), verbose=0)["segmentation"]

    monkeypatch.setattr(module, "_windowed", volumes)
    monkeypatch.setattr(Run, "sliding_window", lambda self: SimpleNamespace(patch=(1, 16, 16)))
    windowed = count(chosen, load(chosen.run))
    assert set(windowed.patients) == set(plain.patients)
    for patient, confusion in plain.patients.items():
        np.testing.assert_array_equal(windowed.patients[patient], confusion)


def test_keys_of_scores():
    schema = LabelSchema.load("brats2023")
    keys = [score_key(structure, metric.name) for structure, metric in record_keys(schema)]
    assert {"dice", "hd95", "dice_WT", "iou_non_enhancing_tumor", "dice_with_background", "iou_background"} <= set(keys)
    assert not {"hd95_with_background", "hd95_background", "true_ml"} & set(keys)
    assert len(keys) == len(set(keys))


def test_the_table_is_written_and_says_over_what(command, trained, records, tmp_path):
    done = command("evaluation.score", "--run", trained, "--records", records, "--out", tmp_path / "scores")
    assert done.status == 0, done.err
    assert "1 patient, 8 slices" in done.out
    assert "non-enhancing tumor (class)" in done.out
    assert "class mean with background" in done.out
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == [FILE, "scores.json", "summary.csv", "table.txt"]


@pytest.mark.parametrize("change", [{"preparation": {"crop": None}}, {"split": {"validation": []}}])
def test_other_records_are_scored_with_a_note_and_beside_the_scores_of_the_runs_own(
    command, trained, records, tmp_path, change
):
    run, copy = shutil.copytree(trained, tmp_path / "run"), shutil.copytree(records, tmp_path / "other")
    manifest = read_json(copy / "dataset.json", "records")
    for name, values in change.items():  # in its manifest alone
        manifest[name] |= values
    write_json(copy / "dataset.json", manifest)
    done = command("evaluation.score", "--run", run, "--records", copy)
    assert done.status == 0, done.err
    assert f"{copy}: not the records that {run} was trained on" in done.out
    assert "0 of 1 patient trained these runs" in done.out
    assert read_json(run / "scores_test_other" / "scores.json", "scores")["own_records"] is False
    assert not (run / "scores_test").exists()
    refused = command("evaluation.score", "--run", run, "--records", records, "--out", run / "scores_test_other")
    assert refused.status == 2
    assert f"holds scores of run {run} and records {copy}; choose another --out" in refused.err


def test_records_of_other_channels_are_refused(trained, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = read_json(copy / "dataset.json", "records") | {"channels": ["t2"]}
    write_json(copy / "dataset.json", manifest)
    with pytest.raises(UserError, match=r"was trained on the channels .*; found"):
        score_records(trained, copy, "test", 8)


class Brightest:
    """A network of one input size: class 1 wherever the first channel is not zero."""

    def predict_on_batch(self, images):
        images = np.asarray(images)
        none = np.zeros(images.shape[:-1])
        return {"segmentation": np.stack([none, images[..., 0], none, none], axis=-1).astype(np.float32)}


def test_a_network_of_one_input_size_is_scored_on_the_slices_of_a_slice_split(records):
    """Fault 29: slices that the split left out were counted too, so that voxels went to other patients."""
    opened = Records(records)
    cases = list(opened.cases)
    every = whole_slices(opened, cases, InputConfig())
    _, (chosen,) = slice_split([every], parts=3, part=1, seed=0)
    assert 0 < len(chosen) < len(every)
    loss = SimpleNamespace(build=lambda classes, regions: lambda bits, logits: float(len(bits)))
    run = SimpleNamespace(
        path=Path("made"),
        sliding_window=lambda: SlidingWindow(1, (1, 16, 16)),
        heads={"segmentation": SimpleNamespace(schema=opened.schema)},
        config=SimpleNamespace(loss=loss),
    )
    patients = [opened.cases[chosen.items[item][0]].patient for item, _ in chosen.rows]
    found = count(Subset(run, opened, chosen, InputConfig(), patients, True), Brightest())
    expected = {patient: np.zeros((4, 4), np.int64) for patient in patients}
    for item, number in chosen.rows:
        shard = opened.shard(chosen.items[item][0])
        truth, predicted = bits_to_classes(shard.label[number]), shard.image[number, ..., 0] > 0
        known = truth < 4
        np.add.at(expected[opened.cases[chosen.items[item][0]].patient], (truth[known], predicted[known].astype(int)), 1)
    assert set(found.patients) == set(expected)
    for patient, matrix in expected.items():
        np.testing.assert_array_equal(found.patients[patient], matrix)
    assert np.isfinite(found.loss)
