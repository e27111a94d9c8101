"""make_records on a build that is there: what is missing or damaged is built again, and nothing else is touched."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.data_prep.test_make_records import COPIES, content, unfinish


@pytest.fixture
def build(command, source):
    """`build(out, *options)`: run make_records on the shared source."""

    def run(out, *options):
        return command("data_prep.make_records", "--source", source, "--out", out, *SMALL, *options)

    return run


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def flip(path):
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 4
    path.write_bytes(text)


@pytest.mark.parametrize("change", [Path.unlink, cut, flip], ids=["deleted", "cut", "flipped"])
@pytest.mark.parametrize(
    ("name", "finished"),
    [
        *((f"case_1{part}", True) for part in (".tfrecord", ".json", ".copy1.tfrecord", ".copy1.json")),
        *((f"case_1{part}", False) for part in (".tfrecord", ".copy1.tfrecord")),  # JSON files have no checksums yet
    ],
)
def test_what_is_missing_or_damaged_is_built_again_alone(build, records, tmp_path, name, change, finished):
    copy = shutil.copytree(records, tmp_path / "copy")
    whole = content(copy)
    if not finished:
        unfinish(copy, "case_3.json")
    before = {path: path.stat().st_mtime_ns for path in (copy / "cases").iterdir()}
    change(copy / "cases" / name)
    done = build(copy, *COPIES, "--split.folds", 2, "--split.fractions", "[0.6,0.2,0.2]")
    assert (done.status, done.errors) == (0, [])
    assert done.out.startswith(
        f"{copy}: 1 shard missing or damaged, which will be built again; the first: {copy}/cases/{name}: "
    )
    assert content(copy) == whole
    written = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time} - {"case_3.tfrecord"}
    shard = name.rpartition(".")[0]
    assert written == {f"{shard}.json", f"{shard}.tfrecord"}


def test_a_repair_that_differs_from_before_is_refused(build, tmp_path):
    build(tmp_path / "out")
    manifest = tmp_path / "out" / "dataset.json"
    values = json.loads(manifest.read_text())
    values["cases"]["case_1"] = [12345]  # as another version of a package would have made it
    manifest.write_text(json.dumps(values))
    done = build(tmp_path / "out")
    assert done.status == 2
    assert (
        f"{tmp_path / 'out' / 'cases' / 'case_1.tfrecord'}: was built again from its scans, and is not what it"
        in done.errors[0]
    )
    assert json.loads(manifest.read_text()) == values
