"""Benchmark: how well one channel alone separates tumour from other tissue, by each way of scaling intensities.

    python -m benchmarks.intensities --source kaggle_3m --channel flair

For every case the same voxels are drawn, as many of the tumour as of other tissue (above the channel's mean), on slices with
tumour. The AUC over the voxels of all cases together measures one threshold for all patients; the mean of the
cases' own AUCs hardly depends on the scaling, and measures one threshold for each patient.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from common import cli
from common.errors import UserError
from common.metrics import classification
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig, prepare
from data_prep.scans.case import Case
from data_prep.sources import SourceConfig, open_source

Way = Literal["minmax", "zscore", "median"]
WAYS: tuple[Way, ...] = ("minmax", "zscore", "median")
CLIP = (0, 99.5)
DRAWN = 2000  # voxels of each kind and case


@dataclass(kw_only=True)
class IntensitiesConfig(SourceConfig):
    """How well one channel alone separates tumour from other tissue, by each way of scaling intensities."""

    source: Path
    """Annotated scans."""
    channel: str = "flair"
    """The channel that is looked at."""
    seed: int = 0
    """Seed of the voxels that are drawn."""


def main(config: IntensitiesConfig) -> None:
    """Print the table."""
    source = open_source(config.source, replace(config, channels=[config.channel]))
    cases = [source.read(files) for files in source.cases() if files.label is not None]
    if not cases or source.schema is None:
        raise UserError(f"{config.source}: expected annotated scans; found none")
    print(f"{len(cases)} cases, {config.channel}: AUC of tumour against other tissue on slices with tumour")
    for way in WAYS:
        drawn = [
            _draw(case, source.schema, way, np.random.default_rng([config.seed, place])) for place, case in enumerate(cases)
        ]
        together = _auc(np.concatenate([tumour for tumour, _ in drawn]), np.concatenate([tissue for _, tissue in drawn]))
        print(f"{way:<8} together {together:.3f}   mean of the cases' own {np.mean([_auc(*pair) for pair in drawn]):.3f}")


def _draw(case: Case, schema: LabelSchema, way: Way, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Intensities of voxels of the tumour, and of other tissue, on slices with tumour."""
    plain, scaled = (prepare(case, schema, PrepareConfig(intensity=each, clip=CLIP, crop=None)) for each in (WAYS[0], way))
    if plain.label is None:
        raise ValueError("expected an annotated case")
    brightness = plain.image[..., 0].astype(np.float32)
    tumour = plain.label > 1
    shown = np.asarray(tumour.any(axis=(1, 2)))[:, None, None]
    tissue = (brightness > brightness.mean()) & ~tumour & shown
    values = scaled.image[..., 0].astype(np.float32)
    return rng.choice(values[tumour], DRAWN), rng.choice(values[tissue], DRAWN)


def _auc(tumour: np.ndarray, tissue: np.ndarray) -> float:
    truth = np.repeat([1, 0], [len(tumour), len(tissue)])
    return float(classification.binary_auc(truth == 1, np.concatenate([tumour, tissue])))


if __name__ == "__main__":
    cli.run(main, IntensitiesConfig)
