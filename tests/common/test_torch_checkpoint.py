import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from common.errors import UserError
from common.torch_checkpoint import read_checkpoint
from tests.checkpoints import KINDS, Storage, Tensor, legacy_bytes

STATE = {"conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "steps": np.array(7, np.int64)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


def read(folder, content):
    path = folder / "a.model"
    path.write_bytes(content)
    return read_checkpoint(path)


VALUES = st.sampled_from(sorted(KINDS)).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, max_side=4))
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), st.booleans())
def test_arrays_are_read_as_they_were_saved(folder, state, metadata):
    found = read(folder, legacy_bytes(state, metadata=metadata))
    assert list(found) == list(state)
    for name, array in state.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_tensors_may_share_a_storage_and_have_strides(folder):
    storage = Storage(np.arange(12, dtype=np.float32))
    views = {"rows": (0, (3, 4), (4, 1)), "columns": (1, (2, 3), (2, 4)), "none": (9, (0, 5), (5, 1))}
    found = read(folder, legacy_bytes({name: Tensor(storage, *view) for name, view in views.items()}))
    np.testing.assert_array_equal(found["rows"], np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(found["columns"], [[1, 5, 9], [3, 7, 11]])
    assert found["none"].shape == (0, 5)
    assert all(array.flags.writeable and array.flags.owndata for array in found.values())
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(read(folder, legacy_bytes({"a": transposed}))["a"], transposed)


class Malicious:
    """What runs a command when it is unpickled."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize(
    ("value", "received"),
    [
        (Malicious(os.system, "touch hacked"), "refused: it holds posix.system"),
        (Malicious(eval, "1"), "refused: it holds __builtin__.eval"),
        (Malicious(bytearray, 10), "refused: it holds __builtin__.bytearray"),
        (1.5, "refused: pickle opcode BINFLOAT"),
        (10**40, "refused: 'a' is no tensor"),
        ({"inner": np.zeros(2).tolist() and 1}, "refused: 'a' is no tensor"),
    ],
)
def test_all_but_tensors_is_refused(folder, value, received, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=received):
        read(folder, legacy_bytes({"a": value}))
    assert not (folder / "hacked").exists()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        *((0, (5,), (1,)), (4, (1,), (1,)), (0, (2, 2), (3, 1)), (0, (3, 3), (0, 0))),
        *((-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (1,))),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(folder, offset, shape, strides):
    content = legacy_bytes({"a": Tensor(Storage(np.zeros(4, np.float32)), offset, shape, strides)})
    with pytest.raises(UserError, match=r"a.model: truncated or damaged"):
        read(folder, content)


def test_memory_is_not_allocated_by_what_a_pickle_says(folder):
    content = legacy_bytes(STATE)
    memo = content.replace(b"q\x01", b"r\xff\xff\xff\x7f", 1)  # a place of the memo: the C unpickler allocates all before it
    assert memo != content
    with pytest.raises(UserError, match="refused: pickle opcode LONG_BINPUT"):
        read(folder, memo)
    long = pickle.dumps(STATE["steps"].tobytes() * 100, protocol=5)
    with pytest.raises(UserError, match="refused: pickle opcode"):
        read(folder, long)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_damage_is_one_line_or_other_arrays(folder, data):
    content = bytearray(legacy_bytes(STATE))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    line = None
    try:
        found = read(folder, bytes(content))
    except UserError as error:
        line = str(error)
    if line is None:
        assert all(isinstance(array, np.ndarray) for array in found.values())
    else:
        assert line.startswith(f"{folder / 'a.model'}: ")
        assert "\n" not in line


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_any_other_file_is_refused(folder, content):
    with pytest.raises(UserError, match=r"a.model: "):
        read(folder, content)


def test_other_formats_and_missing_files_are_named(folder):
    with pytest.raises(UserError, match=r"expected the legacy format of torch.save; received its zip format"):
        read(folder, b"PK\x03\x04" + bytes(40))
    with pytest.raises(UserError, match="refused: magic number 5, version 1001"):
        read(folder, legacy_bytes(STATE, magic=5))
    with pytest.raises(UserError, match=r"nowhere.model: weights cannot be read \(No such file"):
        read_checkpoint(folder / "nowhere.model")
