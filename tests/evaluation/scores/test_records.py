"""The paper's table from records: against a direct computation, and what is refused."""

import shutil

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from data_prep.labels import bits_to_classes
from data_prep.records.folder import Records
from evaluation.scores.records import score_records
from training.objectives.losses import focal
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
    np.testing.assert_array_equal(found["confusion"], counts)
    assert found["loss"] == pytest.approx(float(focal(bits, logits, 2.0, [1.0] * 4)), rel=1e-4)
    assert (found["patients"], found["slices"], found["own_records"]) == (3, 24, True)


def test_the_table_is_written_and_says_over_what(command, trained, records, tmp_path):
    done = command("evaluation.score", "--run", trained, "--records", records, "--out", tmp_path / "scores")
    assert done.status == 0, done.err
    assert "1 patient, 8 slices" in done.out
    assert "IoU class 3 (enhancing tumor)" in done.out
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["scores.json", "summary.csv", "table.txt"]


def test_other_records_are_scored_with_a_warning(trained, records, tmp_path, capsys):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = read_json(copy / "dataset.json", "records")
    manifest["cases"] = {case: [1, *sums[1:]] for case, sums in manifest["cases"].items()}
    write_json(copy / "dataset.json", manifest)
    assert score_records(trained, copy, "test", 8)["own_records"] is False
    assert "are not the records of" in capsys.readouterr().out


def test_records_of_other_channels_are_refused(trained, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = read_json(copy / "dataset.json", "records") | {"channels": ["t2"]}
    write_json(copy / "dataset.json", manifest)
    with pytest.raises(UserError, match="was trained on the channels"):
        score_records(trained, copy, "test", 8)
