"""Benchmark: how well one channel alone separates tumour from other tissue, by each way of scaling intensities.

    python -m benchmarks.intensities --source kaggle_3m --channel flair

For every case the same number of voxels is drawn of the tumour and of other tissue (voxels above the channel's mean) on slices with
tumour. The AUC over the voxels of all cases together tells how well one threshold would do for all patients; the mean of the cases'
own AUCs does not depend on the scaling, and is what no scaling can pass.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common import categories, cli
from common.errors import UserError
from data_prep.prepare import PrepareConfig, prepare
from data_prep.sources import SourceConfig, open_source

WAYS = ("minmax", "zscore", "median")
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
        settings = PrepareConfig(intensity=way, clip=(0, 99.5), crop=None)
        drawn = []
        for place, case in enumerate(cases):
            prepared = prepare(case, source.schema, settings)
            if prepared.label is not None:
                drawn.append(_draw(prepared.image[..., 0], prepared.label > 1, np.random.default_rng([config.seed, place])))
        together = _auc(np.concatenate([tumour for tumour, _ in drawn]), np.concatenate([tissue for _, tissue in drawn]))
        print(f"{way:<8} together {together:.3f}   mean of the cases' own {np.mean([_auc(*pair) for pair in drawn]):.3f}")


def _draw(image: np.ndarray, tumour: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Intensities of voxels of the tumour, and of other tissue, on slices with tumour."""
    values = image.astype(np.float32)
    shown = tumour.any(axis=(1, 2))[:, None, None]
    tissue = (values > values.mean()) & ~tumour & shown
    return rng.choice(values[tumour], DRAWN), rng.choice(values[tissue], DRAWN)


def _auc(tumour: np.ndarray, tissue: np.ndarray) -> float:
    truth = np.repeat([1, 0], [len(tumour), len(tissue)])
    return float(categories.binary_auc(truth == 1, np.concatenate([tumour, tissue])))


if __name__ == "__main__":
    cli.run(main, IntensitiesConfig)
