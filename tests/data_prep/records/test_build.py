"""Building one case: shard, copies, and the JSON that commits them."""

from dataclasses import replace

import pytest

from common.errors import UserError
from common.files import read_json
from data_prep.augmentation.draw import AugmentConfig
from data_prep.prepare import PrepareConfig
from data_prep.records.build import Builder, source_state
from data_prep.records.folder import case_path
from data_prep.records.manifests import read_case
from data_prep.scans.unusual import WHOLE_CASE
from data_prep.sources import open_source
from tests.scans import scan, write_brats

SMALL = PrepareConfig(size=(4, 4, 4))


def builder(source, out, copies):
    return Builder(source, source.schema, out, SMALL, AugmentConfig(probability=1.0), copies, seed=0)


def test_a_case_and_its_copies_are_written_once(tmp_path):
    source = open_source(write_brats(tmp_path / "source", [scan("a")]))
    (files,) = source.cases()
    build = builder(source, tmp_path / "out", {"a": 2}).build
    lost = build(files)
    assert 0 < lost.tumour_lost < 1
    assert lost.constant == {}
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cases").iterdir()}
    names = [f"a{copy}{suffix}" for copy in ("", ".copy1", ".copy2") for suffix in (".json", ".tfrecord")]
    assert sorted(written) == sorted(names)
    assert build(files) == lost
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cases").iterdir()} == written
    first, second = (read_json(case_path(tmp_path / "out", "a", copy, ".json"), "case") for copy in (1, 2))
    assert first["augmentation"] != second["augmentation"]
    assert read_json(case_path(tmp_path / "out", "a", 0, ".json"), "case")["augmentation"] is None


def test_a_doubt_about_the_whole_case_is_stored_and_read(tmp_path):
    made = scan("a")
    for image in made.images.values():
        image += 7  # no background of 0
    source = open_source(write_brats(tmp_path / "source", [made]))
    preparation = replace(SMALL, intensity="zscore")
    build = Builder(source, source.schema, tmp_path / "out", preparation, AugmentConfig(), {}, seed=0).build
    (files,) = source.cases()
    assert list(build(files).unusual) == [WHOLE_CASE]
    assert list(read_case(case_path(tmp_path / "out", "a", 0, ".json"))["unusual"]) == [WHOLE_CASE]


def test_a_case_without_label_is_refused(tmp_path):
    made = scan("a")
    made.label = None
    source = open_source(write_brats(tmp_path / "source", [made]))
    with pytest.raises(UserError, match="a: has no label"):
        builder(source, tmp_path / "out", {}).build(source.cases()[0])


def test_the_state_of_a_source_changes_with_its_bytes(tmp_path):
    source = open_source(write_brats(tmp_path / "source", [scan("a")]))
    (files,) = source.cases()
    before = source_state(files)
    assert [entry["path"] for entry in before] == [str(path.resolve()) for path in files.paths]
    data = bytearray(files.paths[0].read_bytes())
    data[-1] ^= 1
    files.paths[0].write_bytes(data)
    changed = [now != then for now, then in zip(source_state(files), before, strict=True)]
    assert changed == [True] + [False] * (len(before) - 1)
    assert source_state(files)[0]["bytes"] == before[0]["bytes"]


def test_the_paths_of_an_anonymous_case_are_not_stored(tmp_path):
    (files,) = open_source(write_brats(tmp_path / "source", [scan("a")])).cases()
    hidden = source_state(replace(files, anonymous=True))
    assert [entry["path"] for entry in hidden] == [f"a/file {number}" for number in range(1, 6)]
    assert [entry["crc32c"] for entry in hidden] == [entry["crc32c"] for entry in source_state(files)]
