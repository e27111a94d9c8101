"""Command: seconds, memory and agreement of brain extraction by HD-BET, on both backends and in several number formats.

    python -m benchmarks.skull_strip --source LGG --channel flair --spacing_mm 5 0.94 0.94 --cases 8

Each setting runs in a process of its own, one after the other. The first table is of the first setting, case by case; the
second compares the settings.
"""

import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.workers import workers
from common import cli
from common.errors import UserError, expect_number
from common.hardware.backend import BACKENDS
from common.hardware.memory import MEGABYTE, peak_memory
from common.tables import aligned
from data_prep.brain.case import StrippingConfig, assumed_affine, foreground
from data_prep.brain.extraction import BrainExtractor, ExtractedMask, FormatName
from data_prep.scans.volume import Volume
from data_prep.skull_strip import check_source
from data_prep.sources import Source, open_source


@dataclass(kw_only=True)
class SkullStripBenchmarkConfig:
    """Measure brain extraction on scans of a source: volumes, annotation inside, seconds, memory, agreement of settings."""

    source: Path
    """Folder of scans."""
    channel: str | None = None
    """Channel in which the brain is found; default: the first."""
    spacing_mm: list[float] | None = None
    """Voxel size of slices, rows and columns, for a layout without any."""
    cases: int = 8
    """Number of its cases, spread evenly over the source."""
    backends: list[str] = field(default_factory=lambda: list(BACKENDS))
    """Backends of Keras."""
    precisions: list[FormatName] = field(default_factory=lambda: ["float32", "bfloat16"])
    """Number formats."""
    networks: int = 1
    """Networks of HD-BET that are averaged."""
    flips: list[str] = field(default_factory=list)
    """Axes that are mirrored."""


class Extraction(NamedTuple):
    """Mask of a case and its cost.

    Attributes:
        found: the mask.
        seconds: wall time; of the first case with loading and compiling.
        cpu_seconds: of all threads.
    """

    found: ExtractedMask
    seconds: float
    cpu_seconds: float


class Setting:
    """Brain extraction on one backend in one number format, in a process that has loaded no framework yet."""

    def __init__(self, backend: str, precision: FormatName, networks: int, flips: tuple[str, ...]) -> None:
        os.environ["KERAS_BACKEND"] = backend
        self._extractor = BrainExtractor(networks, flips, precision)

    def repeat(self) -> None:
        """No work is repeated; cases are asked for one by one."""

    def extract(self, volume: Volume) -> Extraction:
        """Mask of a scan and its cost."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = self._extractor.extract(volume)
        return Extraction(found, time.perf_counter() - wall, time.process_time() - cpu)


def main(config: SkullStripBenchmarkConfig) -> None:
    """Print both tables."""
    expect_number("cases", config.cases, 1)
    if unknown := set(config.backends) - {*BACKENDS}:
        raise UserError(f"--backends: expected some of {', '.join(BACKENDS)}; received {', '.join(unknown)}")
    source = open_source(config.source)
    channel = config.channel or source.channels[0]
    check_source(source, StrippingConfig(channel=channel, spacing_mm=config.spacing_mm))
    volumes, rows = read_volumes(source, channel, config)
    reference: list[np.ndarray] = []
    table = [["backend", "precision", "first s", "median s", "CPU s", "peak MB", "mean Dice", "least Dice"]]
    for backend in config.backends:
        for precision in config.precisions:
            make = partial(Setting, backend, precision, config.networks, tuple(config.flips))
            with workers({f"{backend}, {precision}": make}) as found:
                (worker,) = found.values()
                results = [worker.ask("extract", volume) for volume in volumes]
                peak = worker.run(peak_memory)
            masks = [result.found.mask for result in results]
            if not reference:
                reference = masks
                print_cases(rows, results, volumes)
            dices = [dice(mask, other) for mask, other in zip(masks, reference, strict=True)]
            seconds = [result.seconds for result in results]
            cells = [f"{seconds[0]:.1f}", f"{median(seconds[1:] or seconds):.1f}"]
            cells += [f"{median(result.cpu_seconds for result in results[1:] or results):.1f}", f"{peak / MEGABYTE:.0f}"]
            table.append([backend, precision, *cells, f"{np.mean(dices):.4f}", f"{min(dices):.4f}"])
    print("\n".join(["", "Dice with the masks of the first row:", *aligned(table)]))


def read_volumes(
    source: Source, channel: str, config: SkullStripBenchmarkConfig
) -> tuple[list[Volume], list[tuple[str, np.ndarray | None]]]:
    """Scans of the chosen cases; and for each its id and the foreground of its annotation, where there is one."""
    cases, volumes, rows = source.cases(), [], []
    for place in np.linspace(0, len(cases) - 1, min(config.cases, len(cases))).round().astype(int):
        case = source.read(cases[place])
        array = case.channels[channel]
        if array is None:
            raise UserError(f"{case.files.id}: lacks channel {channel}")
        volumes.append(Volume(array, assumed_affine(case.shape, config.spacing_mm) if case.affine is None else case.affine))
        rows.append((case.files.id, foreground(case, source.schema)))
    return volumes, rows


def print_cases(rows: list[tuple[str, np.ndarray | None]], results: list[Extraction], volumes: list[Volume]) -> None:
    """Print a row per case: size, brain, components, annotation inside, agreement with the non-zero voxels."""
    table = [["case", "voxels", "brain ml", "components", "in largest", "annotation inside", "Dice with non-zero"]]
    for (case, annotation), result, volume in zip(rows, results, volumes, strict=True):
        found = result.found
        share = "" if annotation is None or not annotation.any() else f"{found.mask[annotation].mean():.2%}"
        cells = [f"{volume.grid.millilitres(found.mask):.0f}", str(found.components), f"{found.largest_share:.2%}", share]
        table.append([case, " x ".join(map(str, volume.grid.shape)), *cells, f"{dice(found.mask, volume.array != 0):.4f}"])
    print("\n".join(aligned(table)), flush=True)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice coefficient of two masks that are not both empty."""
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


if __name__ == "__main__":
    cli.run(main, SkullStripBenchmarkConfig)
