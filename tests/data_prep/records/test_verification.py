"""Verification of records: every kind of damage is found, named and nothing else is."""

import shutil

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from data_prep.records.folder import MANIFEST, Records
from data_prep.records.verification import damage_of_records

SHARD, PROPERTIES = "case_1.tfrecord", "case_1.json"


@pytest.fixture
def own(records, tmp_path):
    return shutil.copytree(records, tmp_path / "own")


def flip_bits(path, share, rng):
    """Flip a bit in a share of a file's bytes."""
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = rng.choice(len(content), max(1, round(share * len(content))), replace=False)
    content[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    path.write_bytes(content.tobytes())


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def replace_by(name):
    return lambda path: shutil.copyfile(path.with_name(name), path)


DAMAGE = {
    "half a percent of a shard": (SHARD, lambda path: flip_bits(path, 0.005, np.random.default_rng(1)), "shard is damaged"),
    "a bit of a shard": (SHARD, lambda path: flip_bits(path, 0, np.random.default_rng(2)), "shard is damaged"),
    "shard cut short": (SHARD, cut, "shard has .* bytes, expected"),
    "shard deleted": (SHARD, lambda path: path.unlink(), "shard is missing"),
    "shard of another case": (SHARD, replace_by("case_2.tfrecord"), "shard is of another build"),
    "bit of a JSON file": (
        PROPERTIES,
        lambda path: flip_bits(path, 0, np.random.default_rng(3)),
        "case of the records is damaged",
    ),
    "JSON file cut short": (PROPERTIES, cut, "case of the records is damaged"),
    "JSON file deleted": (PROPERTIES, lambda path: path.unlink(), "case of the records is missing"),
    "JSON file of another case": (PROPERTIES, replace_by("case_2.json"), "case of the records is damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_is_found_and_refused_at_the_first_opening(own, kind):
    name, change, problem = DAMAGE[kind]
    assert damage_of_records(Records(own)) == []
    change(own / "cases" / name)
    (line,) = damage_of_records(Records(own))
    assert line.startswith(f"{own / 'cases' / name}: ")
    assert line.endswith("; call glioskull make_records again, as before: it builds what is missing or damaged")
    with pytest.raises(UserError, match=rf"{name}: {problem}"):
        Records(own).shard("case_1")
    if name == SHARD:
        Records(own).shard("case_2")  # another case of the same records is whole


def test_records_of_before_without_checksums_of_their_json_files_are_read(own):
    manifest = read_json(own / MANIFEST, "records")
    before = Records(own).fingerprint
    del manifest["properties"]
    write_json(own / MANIFEST, manifest)
    assert damage_of_records(Records(own)) == []
    assert Records(own).fingerprint == before
    Records(own).shard("case_1", 0)


def test_a_shard_is_compared_once(own, monkeypatch):
    records = Records(own)
    verified = []
    monkeypatch.setattr("data_prep.records.shard.Shard.verify", lambda self, expected: verified.append(self.path.name))
    records.shard("case_1")
    records._open.cache_clear()  # as where more shards are used than are kept open
    records.shard("case_1")
    assert verified == [SHARD]
