"""Writers of files of the toolkit, each of which may meet a full disk."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
from matplotlib.figure import Figure

from common.files import copy_file, write_bytes, write_json, write_serialised, write_text, write_yaml
from data_prep.grid.slice_pictures import save_rows
from data_prep.make_phantom import patient_paths, write_patient
from data_prep.phantom.patient import PhantomConfig
from data_prep.records.shard import write_shard
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import write_seg
from data_prep.scans.itk import write_transform
from data_prep.scans.nifti import write_image
from data_prep.scans.tiff import write_slice
from evaluation.experiments.table import Column, write_csv
from evaluation.figures.style import save, save_as
from tests.dicom_files import blob, oblique, write_series
from training.state.checkpoint import Progress, save_state
from training.state.history import write_history
from training.state.weights import save_weights


@dataclass(frozen=True)
class Prepared:
    """Writer whose input has been made.

    Attributes:
        write: writes.
        paths: files that it writes.
        given: files of its input in the same folder.
    """

    write: Callable[[], object]
    paths: list[Path]
    given: list[Path] = field(default_factory=list)


def of(name, write):
    """Writer of one file `name`: `write(path)`."""
    return lambda out: Prepared(lambda: write(out / name), [out / name])


def copied(out):
    """Copy of a file."""
    (out / "given").write_bytes(bytes(9999))
    return Prepared(lambda: copy_file(out / "given", out / "copy"), [out / "copy"], [out / "given"])


def figure(out):
    """Figure as PDF and PNG."""
    drawn = Figure()
    drawn.add_subplot().plot([1, 2])
    return Prepared(lambda: save(drawn, out / "figure"), [out / "figure.pdf", out / "figure.png"])


def picture(out):
    """Figure as PNG alone."""
    drawn = Figure()
    drawn.add_subplot().imshow(np.eye(9))
    return Prepared(lambda: save_as(drawn, out / "picture.png"), [out / "picture.png"])


def segmentation(out):
    """DICOM SEG of a series."""
    paths = write_series(out / "series", blob(), oblique())
    (series,) = index_files(paths).series
    ids = np.zeros((12, 10, 8), np.uint8)
    ids[4:8, 3:6, 2:5] = 1
    return Prepared(lambda: write_seg(out / "a.seg.dcm", series, ids, {"tumour": [1]}, "a"), [out / "a.seg.dcm"], paths)


def network():
    """Compiled network of a few layers."""
    inputs = keras.Input((40,))
    model = keras.Model(inputs, keras.layers.Dense(30)(inputs))
    model.compile("adam", "mse")
    return model


def weights(out):
    """Weights file of a network."""
    model, run = network(), SimpleNamespace(path=out, expect_weights=lambda names, crc: None)
    return Prepared(lambda: save_weights(model, run, ["last.weights.h5"]), [out / "last.weights.h5"])


def state(out):
    """Exact state of a training."""
    model, progress = network(), Progress(epoch=1)
    return Prepared(lambda: save_state(out, model, progress), [out / "epoch_00001.npz"])


def patient(out):
    """Synthetic patient."""
    config = PhantomConfig(size=(24, 24, 24))
    return Prepared(lambda: write_patient(config, out, 0, 0), list(patient_paths(config, out, 0).values()))


VOLUME = np.arange(24**3, dtype=np.float32).reshape(24, 24, 24)
WRITERS = {
    "bytes": of("a.bin", lambda path: write_bytes(path, bytes(9999))),
    "serialised": of("a.npy", lambda path: write_serialised(path, lambda file: np.save(file, VOLUME))),
    "copy": copied,
    "text": of("a.txt", lambda path: write_text(path, "x" * 9999)),
    "json": of("a.json", lambda path: write_json(path, ["x"] * 999)),
    "yaml": of("a.yaml", lambda path: write_yaml(path, ["x"] * 999)),
    "csv": of("a.csv", lambda path: write_csv(path, [Column("number", "d", list(range(999)))])),
    "history": of("history.csv", lambda path: write_history(path, [{"epoch": 1, "loss": 0.5}] * 999)),
    "shard": of("a.tfrecord", lambda path: write_shard(path, np.zeros((4, 16, 16, 2), np.float16), None, "a")),
    "nifti": of("a.nii", lambda path: write_image(path, VOLUME, np.eye(4))),
    "nifti_gz": of("a.nii.gz", lambda path: write_image(path, VOLUME, np.eye(4))),
    "transform": of("a.tfm", lambda path: write_transform(path, np.eye(4).tolist())),
    "tiff": of("a.tif", lambda path: write_slice(path, np.zeros((99, 99), np.uint8))),
    "rows": of("a.png", lambda path: save_rows(path, [[np.full((99, 99, 3), 9, np.uint8)]])),
    "dicom_seg": segmentation,
    "figure": figure,
    "picture": picture,
    "weights": weights,
    "state": state,
    "patient": patient,
}
"""Name -> function that makes the input of a writer in a folder, and returns it `Prepared`."""
