"""Tests of the inspection of finished records."""

import shutil

import numpy as np
import pytest

from common.files import checksum, read_json, write_json
from data_prep.records.build import _voxels
from data_prep.records.folder import CaseRecord, Records
from data_prep.records.inspection import faults_of_records, shard_faults
from data_prep.records.shard import Shard, write_shard


@pytest.fixture
def copied(records, tmp_path):
    return shutil.copytree(records, tmp_path / "records")


def change(records, **values):
    """Change the manifest."""
    write_json(records / "dataset.json", read_json(records / "dataset.json", "records") | values)


def faults(records):
    return faults_of_records(Records(records))[0]


def test_whole_records_have_no_fault(records, command):
    assert faults(records) == []
    done = command("data_prep.check", "--records", records)
    assert (done.status, done.errors) == (0, [])
    assert done.out.startswith(f"records: {records} (3 train, 1 validation, 1 test; 2 folds; fingerprint ")


def test_every_fault_is_a_line_and_the_status_is_2(copied, command):
    manifest = read_json(copied / "dataset.json", "records")
    split = {name: list(ids) for name, ids in manifest["split"].items()}
    moved, lost = split["train"][0], split["validation"].pop()
    split["test"].append(moved)
    change(copied, split=split)
    first = sorted((copied / "cases").glob("*.tfrecord"))[0]
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(bytes(content))
    done = command("data_prep.check", "--records", copied)
    assert done.status == 2
    assert f"error: {first}: " in done.err
    for text in (
        f"split: patient {moved} is in train and in test",
        f"split: {lost} is in no subset",
        f"{moved}: is for test and has augmented copies",
    ):
        assert any(text in line for line in done.errors), text
    assert done.errors[-1].endswith("; nothing was changed")


def test_the_same_voxels_in_two_patients_are_found(copied):
    split = Records(copied).split
    one, other = split["train"][0], split["train"][1]
    shutil.copy(copied / "cases" / f"{one}.tfrecord", copied / "cases" / f"{other}.tfrecord")
    facts = read_json(copied / "cases" / f"{one}.json", "case") | {"id": other, "patient": other}
    write_json(copied / "cases" / f"{other}.json", facts)
    manifest = read_json(copied / "dataset.json", "records")
    manifest["cases"][other][0] = manifest["cases"][one][0]
    manifest["properties"][other][0] = checksum(copied / "cases" / f"{other}.json")
    change(copied, cases=manifest["cases"], properties=manifest["properties"])
    found = [line for line in faults(copied) if "have the same voxels" in line]
    assert len(found) == 1
    assert f"patients {min(one, other)} and {max(one, other)}" in found[0]


def made(tmp_path, image, label, records):
    """A shard of its own, with the properties of a case of the records."""
    path = tmp_path / "x.tfrecord"
    layout = vars(write_shard(path, image, label, "x"))
    case = next(iter(Records(records).cases.values()))
    voxels = np.asarray(_voxels(label, 4, len(image)))
    return CaseRecord(**{**vars(case), "voxels": voxels, "layout": layout}), Shard.open(path, layout)


def test_labels_and_intensities_are_looked_at(records, tmp_path):
    schema = Records(records).schema
    image, label = np.zeros((3, 4, 4, 2), np.float16), np.ones((3, 4, 4), np.uint8)
    assert list(shard_faults(*made(tmp_path, image, label, records), schema)) == []
    label[0, 0, 0], image[0, 0, 0, 0] = 3, np.nan
    bits, values = shard_faults(*made(tmp_path, image, label, records), schema)
    assert "received the bits 0b11" in bits
    assert values == "expected finite intensities; received 1 others"
    image[0, 0, 0, 0], label[0, 0, 0] = 1000, 1
    record, shard = made(tmp_path, image, label, records)
    (large,) = shard_faults(record, shard, schema)
    assert large.endswith("received 1000")
    record.voxels[0, 0] -= 1
    assert len(list(shard_faults(record, shard, schema))) == 2
