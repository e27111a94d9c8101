"""A short part of the campaign of readers, and that it finds faults of each kind."""

import signal
import time

import numpy as np
import pytest

from common.errors import UserError
from common.files import write_json, write_yaml
from data_prep.labels import SCHEMAS
from tests.campaigns.mutations import mutations_of
from tests.campaigns.reader_subjects import SUBJECTS
from tests.campaigns.readers import digest, mutated, outcome, too_slow
from tests.checkpoints import legacy_bytes
from tests.scans import save
from training.state.history import write_history

COUNT = 40
SCHEMA = {"name": "two", "classes": {"background": [0], "tumour": [1]}}
RUN = {
    "format": 3,
    "status": "finished",
    "command": "training.train",
    "heads": {"segmentation": {"kind": "segmentation", "outputs": 2, "schema": SCHEMA}},
    "channels": ["t1"],
    "records": [{"path": "/r", "fingerprint": "0", "share": 1.0, "heads": ["segmentation"]}],
    "split": "patient",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Valid files of the subjects that need no framework."""
    folder = tmp_path_factory.mktemp("files")
    write_json(folder / "run" / "run.json", RUN)
    write_history(folder / "run" / "history.csv", [{"epoch": 1, "minutes": 0.5, "loss": 0.25}, {"epoch": 2, "loss": 0.125}])
    write_yaml(folder / "split.yaml", {"train": ["case_0", "case_1"], "validation": ["case_2"], "test": ["case_3"]})
    write_yaml(folder / "postprocess.yaml", {"threshold": 0.5, "least_voxels": {"WT": 5}})
    write_yaml(folder / "rules.yaml", {"channels": {"t1": {"description": "t1"}}, "label": {"structures": {"GTV": 1}}})
    (folder / "schema.yaml").write_bytes((SCHEMAS / "brats2017-2021.yaml").read_bytes())
    np.savez(folder / "features.npz", mean=np.arange(4.0), key=np.array("k"))
    (folder / "a.model").write_bytes(legacy_bytes({"a": np.arange(6, dtype=np.float32).reshape(2, 3)}))
    save(folder / "a.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    (folder / "cases.txt").write_text("case_0\ncase_1\n")
    return folder


@pytest.fixture
def bounded():
    """A handler of the signal that ends what takes too long."""
    before = signal.signal(signal.SIGPROF, too_slow)
    yield
    signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize(
    "name", ["run", "split", "postprocess", "dicom_rules", "label_schema", "features", "torch_weights", "nifti", "case_list"]
)
def test_a_changed_file_is_refused_in_one_line_or_read(files, bounded, name):
    subject = SUBJECTS[name]
    path = files / subject.file
    whole, mutations = path.read_bytes(), mutations_of(path.name)
    right = digest(subject.read(path))
    found = []
    for number in range(COUNT):
        rng = np.random.default_rng([1, number])
        mutate = mutations[int(rng.integers(len(mutations)))]
        path.write_bytes(mutated(mutate, rng, whole))
        found.append((number, mutate.__name__, *outcome(subject.read, path, right)))
    path.write_bytes(whole)
    assert not [each for each in found if each[2] == "fault"]
    assert any(each[2] == "refused" for each in found)


def test_each_kind_of_fault_is_found(tmp_path, bounded, monkeypatch):
    monkeypatch.setattr("tests.campaigns.readers.SECONDS", 0.05)

    def raising(error):
        def read(path):
            raise error

        return read

    def endless(path):
        until = time.process_time() + 30
        while time.process_time() < until:
            pass

    assert outcome(raising(UserError("f: wrong")), tmp_path, "") == ("refused", "")
    assert outcome(raising(KeyError("x")), tmp_path, "")[0] == "fault"
    assert outcome(raising(MemoryError()), tmp_path, "")[0] == "fault"
    assert outcome(endless, tmp_path, "")[1].startswith("more than 0.05 seconds")
    assert outcome(lambda path: 3, tmp_path, digest(3)) == ("equal", "")
    assert outcome(lambda path: 3, tmp_path, digest(4)) == ("other content", "")


def test_equal_content_has_equal_digests():
    one = {"a": [np.arange(3), (1, None)], "b": "x"}
    assert digest(one) == digest({"a": [np.arange(3), (1, None)], "b": "x"})
    assert digest(one) != digest({"a": [np.arange(3.0), (1, None)], "b": "x"})


def test_mutations_are_keyed_by_their_seed():
    for name in ("a.json", "a.yaml", "a.csv", "a.nii"):
        whole = b"a,b\n1,2\n" if name == "a.csv" else b'{"a": [1, 2, {"b": "c"}]}'
        for mutate in dict.fromkeys(mutations_of(name)):
            first, again = (mutated(mutate, np.random.default_rng(3), whole) for _ in range(2))
            assert first == again
