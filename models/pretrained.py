"""Weights that a ResNet50 was trained with elsewhere: found, checked, and put into a backbone whole or not at all.

Files are those of `keras.applications.ResNet50` for RGB images, with or without its last layer (the top): what Keras downloads
itself, legacy `.h5`, `.weights.h5` or `.keras`. Of a `.keras` file only the arrays are read; its config is never built, so no
code in it can run. Every variable is set to NaN first and must be finite afterwards: what a file leaves out does not pass.
"""

import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from models.classifier import IMAGENET, RGB, inflate

if TYPE_CHECKING:
    import h5py
    import keras

SUFFIXES = (".h5", ".keras")
FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{FILE}"
MD5 = "4d473c1dd8becc155b73f8504c6f6626"  # as keras.applications expects it
MEMBER = "model.weights.h5"  # of a .keras file
LARGEST = 1 << 30  # bytes unpacked from a .keras file; a ResNet50 with its optimizer's state has a third
STEM = "conv1_conv/kernel"
FEATURES = 2048
Shapes = Counter[tuple[int, ...]]


def load_backbone_weights(backbone: "keras.Model", weights: str, channels: int) -> None:
    """Put pretrained weights into a backbone.

    Args:
        backbone: a `keras.applications.ResNet50` without top, of `channels` channels.
        weights: "imagenet", or the path of a file.
        channels: of the backbone's input; other than 3 inflates the stem (`models.classifier.inflate`).

    Raises:
        UserError: no such file, a damaged one, one of another network, or no way to download ImageNet's.
    """
    path = imagenet_file() if weights == IMAGENET else weights_file(weights)
    loaded = _read(path)
    loaded[STEM] = inflate(loaded[STEM], channels)
    for variable in backbone.weights:
        variable.assign(loaded.pop(variable.path))


def weights_file(weights: str) -> Path:
    """The file that --model.weights names.

    Raises:
        UserError: it is not there, or its name does not end as that of a weights file.
    """
    path = Path(weights).expanduser()
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"--model.weights: expected imagenet, or a file ending in .h5, .weights.h5 or .keras; received {weights}"
        )
    if not path.is_file():
        raise UserError(f"--model.weights: {path}: weights not found; expected a file with the weights of a ResNet50")
    return path


def imagenet_file() -> Path:
    """The file of ImageNet's weights that `keras.applications` uses; downloaded once, then kept by Keras.

    Raises:
        UserError: it is not there and cannot be downloaded.
    """
    import keras

    try:
        return Path(keras.utils.get_file(FILE, URL, cache_subdir="models", file_hash=MD5))
    except Exception as error:  # Keras raises a bare Exception where the network fails
        reason = _first_line(error).rpartition(" -- ")[2]  # before it stands the address again
        raise UserError(
            f"--model.weights imagenet: {URL} could not be downloaded ({reason}); fetch {FILE} from there on "
            "another machine, then give it by --model.weights PATH or put it into ~/.keras/models"
        ) from None


def _read(path: Path) -> dict[str, np.ndarray]:
    """Every array of an RGB ResNet50 without top: variable's path -> array."""
    import keras

    with _as_hdf5(path) as file:
        found = _shapes(path, file)
        network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, RGB), pooling="avg")
        classes = _classes_of_top(path, found, Counter(tuple(each.shape) for each in network.weights))
        for variable in network.weights:
            variable.assign(np.full(variable.shape, np.nan, np.float32))
        try:
            _with_top(network, classes).load_weights(file)
        except Exception as error:  # whatever Keras and HDF5 make of a file whose inside is wrong
            raise UserError(
                f"{path}: weights cannot be loaded ({_first_line(error)}); choose another --model.weights"
            ) from None
    loaded = {variable.path: np.asarray(keras.ops.convert_to_numpy(variable)) for variable in network.weights}
    missing = [name for name, array in loaded.items() if not np.isfinite(array).all()]
    if missing:
        raise UserError(f"{path}: {len(missing)} arrays of the ResNet50 are missing or not finite, such as {missing[0]}")
    return loaded


def _with_top(network: "keras.Model", classes: int | None) -> "keras.Model":
    """The same network, with the last layer that the file has, if it has one: legacy files load whole or not at all."""
    import keras

    if classes is None:
        return network
    return keras.Model(network.input, keras.layers.Dense(classes, name="predictions")(network.output))


@contextmanager
def _as_hdf5(path: Path) -> Iterator[Path]:
    """The HDF5 file with the arrays: the file itself, or what a `.keras` file has packed."""
    if path.suffix != ".keras":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as packed:
                if packed.getinfo(MEMBER).file_size > LARGEST:
                    raise _another_network(path, f"{packed.getinfo(MEMBER).file_size} bytes of arrays")
                unpacked = Path(packed.extract(MEMBER, folder))
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError) as error:
            raise _damaged(path, error) from None
        yield unpacked


def _shapes(path: Path, file: Path) -> Shapes:
    """Shapes of the arrays in an HDF5 file, those of an optimizer and scalars left out."""
    import h5py

    found: Shapes = Counter()

    def count(name: str, item: "h5py.Group | h5py.Dataset") -> None:
        if isinstance(item, h5py.Dataset) and item.shape and not name.startswith("optimizer"):
            if item.external or item.is_virtual:
                raise OSError("its arrays lie in other files")
            found[item.shape] += 1

    try:
        with h5py.File(file) as opened:
            opened.visititems(count)
    except (OSError, RuntimeError, KeyError) as error:
        raise _damaged(path, error) from None
    return found


def _classes_of_top(path: Path, found: Shapes, wanted: Shapes) -> int | None:
    """Number of classes of the file's last layer; None where it has none.

    Raises:
        UserError: the arrays are not those of a ResNet50 and perhaps a last layer.
    """
    missing, others = wanted - found, found - wanted
    top = [shape for shape in others if len(shape) == 2 and shape[0] == FEATURES]
    classes = top[0][1] if top else None
    if missing or others not in (Counter(), Counter([(FEATURES, classes), (classes,)])):
        raise _another_network(path, f"{missing.total()} of {wanted.total()} arrays missing, {others.total()} others")
    return classes


def _another_network(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: expected the weights of keras.applications.ResNet50 for RGB images; received those of another network "
        f"({what}); choose another --model.weights"
    )


def _damaged(path: Path, error: Any) -> UserError:
    return UserError(f"{path}: weights cannot be read, the file is damaged ({_first_line(error)}); fetch it again")


def _first_line(error: Any) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
