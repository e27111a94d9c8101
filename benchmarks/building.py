"""Command: CPU time of building a case's records, compared with a naive builder and with decompression of its files."""

import gzip
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from benchmarks.timing import interleaved, table
from common import cli
from common.errors import UserError
from data_prep.augmentation.draw import CopiesConfig
from data_prep.prepare import PrepareConfig
from data_prep.records.build import Builder
from data_prep.records.folder import case_path
from data_prep.scans.case import CaseFiles
from data_prep.sources import open_source


@dataclass(kw_only=True)
class BuildingConfig:
    """CPU seconds per case of builders of 128 records of 128 x 128 from NIfTI files.

    naive: nibabel's get_fdata, min-max in float64, crop, one-hot, and lists of floats in tf.train.Example, as in tutorials.
    """

    source: Path
    """Folder of scans."""
    cases: int = 6
    """Number of cases."""
    rounds: int = 5
    """Interleaved repeats."""


def main(config: BuildingConfig) -> None:
    """Print the table."""
    from common.hardware.backend import load_backend

    load_backend()
    source = open_source(config.source)
    if source.schema is None:
        raise UserError(f"{config.source}: the comparison needs labels")
    cases = source.cases()[: config.cases]
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(source, source.schema, Path(folder), PrepareConfig(), CopiesConfig(), {}, seed=0)
        ways: dict[str, Callable[[CaseFiles], None]] = {
            "gzip.decompress of the files": _inflate,
            "make_records": partial(_build, builder),
            "naive": partial(_naive, Path(folder) / "naive.tfrecord"),
        }
        contenders = {name: partial(_each, way, cases) for name, way in ways.items()}
        medians = interleaved(contenders, config.rounds, cpu=True)
    print(f"{len(cases)} cases of {len(cases[0].channels)} channels and a label, median of {config.rounds} repeats")
    print(table(medians, "CPU s/case", lambda seconds: seconds / len(cases)))


def _each(way: Callable[[CaseFiles], None], cases: list[CaseFiles]) -> None:
    for case in cases:
        way(case)


def _inflate(case: CaseFiles) -> None:
    for path in case.paths:
        gzip.decompress(path.read_bytes())


def _build(builder: Builder, case: CaseFiles) -> None:
    case_path(builder.records, case.id, 0, ".json").unlink(missing_ok=True)
    builder.build(case)


def _naive(path: Path, case: CaseFiles) -> None:
    import tensorflow as tf

    images: list[Any] = [nibabel.load(image.path) for image in case.channels.values() if image is not None]
    volumes = [image.get_fdata() for image in images]
    volumes = [(volume - volume.min()) / (volume.max() - volume.min()) for volume in volumes]
    middle = tuple(slice((length - 128) // 2, (length - 128) // 2 + 128) for length in volumes[0].shape)
    volume = np.stack(volumes, axis=-1)[middle]
    label: Any = nibabel.load(case.paths[-1])
    one_hot = np.eye(5)[label.get_fdata().astype(int)[middle]]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for z in range(128):
            features = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=array[:, :, z].ravel()))
                for name, array in (("image", volume), ("label", one_hot))
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


if __name__ == "__main__":
    cli.run(main, BuildingConfig)
