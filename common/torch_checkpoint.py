"""Checkpoint of PyTorch: reader of the legacy format of torch.save, without PyTorch.

A file holds five pickles (magic number, version, properties of the machine, state dict, keys of the storages), then for each
storage its number of elements and their raw values (`_legacy_save` in torch/serialization.py). A pickle can run any code:
the opcodes are looked through first, and only ordered dicts and tensors are made; all else is refused.
"""

import io
import pickle
import pickletools
from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.input_files import WEIGHTS_BYTES, open_input

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
ZIP = b"PK\x03\x04"
PICKLES = 5
MOST_SHARED = 4  # tensors that share each storage, on average
DTYPES = {"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8"}
REBUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2")
OPCODES = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
}
"""Opcodes of protocol 2 that torch.save writes."""


@dataclass
class _Storage:
    """Storage: a row of numbers, of which tensors are views; `values` is None until they are read."""

    dtype: np.dtype
    count: int
    values: np.ndarray | None = None


@dataclass(frozen=True)
class _Tensor:
    """Tensor: offset, shape and strides, in elements of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Copy of the values.

        Raises:
            ValueError: it has more elements than its storage, or lies outside.
        """
        values, numbers = self.storage.values, (self.offset, *self.shape, *self.strides)
        if values is None or any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("a tensor without values, or with a negative shape")
        last = self.offset + sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))
        size = prod(self.shape)
        if size > values.size or (size and last >= values.size):
            raise ValueError(f"a tensor of shape {self.shape} outside its storage of {values.size} elements")
        steps = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps, writeable=False).copy()


class _Unpickler(pickle.Unpickler):
    """Unpickler of ordered dicts and tensors; `storages` collects those that the tensors refer to, by key."""

    def __init__(self, stream: io.BytesIO, storages: dict[str, _Storage]) -> None:
        super().__init__(stream)
        self._storages = storages

    def find_class(self, module: str, name: str, /) -> Any:
        """Constructor of an allowed type; that of tensors is made anew, so that no pickle can change it for the next."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in REBUILDERS:
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, tuple(shape), tuple(strides))
        if module == "torch" and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"it holds {module}.{name}")

    def persistent_load(self, identity: Any, /) -> _Storage:
        """Storage of a persistent id: ("storage", type, key, device, number of elements, ...)."""
        _, kind, key, _, count, *_ = identity
        return self._storages.setdefault(key, _Storage(np.dtype(DTYPES[kind]), count))


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict that torch.save has written in its legacy format.

    Returns:
        Name -> array of the stored shape and dtype.

    Raises:
        UserError: no such file, another format, damaged, or content other than named tensors.
    """
    try:
        with open_input(path, WEIGHTS_BYTES, "weights") as file:
            content = file.read()
    except OSError as error:
        raise UserError(f"{path}: weights cannot be read ({error.strerror})") from None
    if content.startswith(ZIP):
        raise UserError(f"{path}: expected the legacy format of torch.save; received its zip format")
    try:
        return _arrays(content)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: expected tensors by name, in the legacy format of torch.save; refused: {error}") from None
    except Exception as error:  # a damaged pickle raises many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: truncated or damaged ({reason}); fetch it again") from None


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    """Arrays by name of a file's content; raises any type of exception for another content."""
    stream = io.BytesIO(content)
    storages: dict[str, _Storage] = {}
    magic, version, machine, state, keys = (_unpickled(stream, storages) for _ in range(PICKLES))
    if (magic, version) != (MAGIC, VERSION) or not machine["little_endian"]:
        raise pickle.UnpicklingError(f"magic number {magic!r}, version {version!r}")
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(stream.read(8), "little")
        if count != storage.count:
            raise ValueError(f"storage {key} has {count} elements instead of {storage.count}")
        storage.values = np.frombuffer(content, storage.dtype, count, stream.tell())
        stream.seek(storage.values.nbytes, io.SEEK_CUR)
    others = [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, _Tensor))]
    if others:
        raise pickle.UnpicklingError(f"{others[0]!r} is no tensor")
    total = sum(prod(tensor.shape) * tensor.storage.dtype.itemsize for tensor in state.values())
    if total > MOST_SHARED * len(content):
        raise pickle.UnpicklingError(f"tensors of {total} bytes in a file of {len(content)}")
    return {name: tensor.array() for name, tensor in state.items()}


def _unpickled(stream: io.BytesIO, storages: dict[str, _Storage]) -> Any:
    """Object of the next pickle, whose opcodes are checked first: some allocate as much memory as their argument says."""
    start, size = stream.tell(), len(stream.getbuffer())
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name not in OPCODES or (opcode.name == "LONG_BINPUT" and int(argument or 0) > size):
            raise pickle.UnpicklingError(f"pickle opcode {opcode.name}")
    stream.seek(start)
    return _Unpickler(stream, storages).load()
