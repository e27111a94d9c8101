"""Command: cost of checksums and of comparing patients in building, of checksums in opening and in the first epoch."""

import contextlib
import io
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest import mock

from benchmarks.timing import interleaved
from common import cli
from common.files import write_text
from common.tables import aligned, counted
from data_prep import make_records
from data_prep.make_records import MakeRecordsConfig
from data_prep.records.folder import MANIFEST, CaseRecord, Records
from data_prep.sources import open_source
from data_prep.split import SplitConfig
from models.unet import UNetConfig
from training.config import TrainConfig

WITH, WITHOUT = "with", "without"


@dataclass(kw_only=True)
class ChecksumsConfig:
    """Seconds of CPU with and without comparing checksums, interleaved, and the ratio of the medians."""

    source: Path
    """Folder of scans."""
    records: Path
    """Folder for the records of the cases, which are built if they are not there; the list of cases is written beside it."""
    cases: int = 5
    """Number of cases."""
    filters: int = 8
    """Filters of the network that is trained for an epoch."""
    rounds: int = 5
    """Interleaved repeats."""


def main(config: ChecksumsConfig) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = [case.id for case in open_source(config.source).cases()][: config.cases]
        split = config.records.with_suffix(".split.yaml")  # beside them: another path would be another build
        write_text(split, f"train: {names}\nvalidation: []\ntest: []\n")
        options = MakeRecordsConfig(source=config.source, out=config.records, split=SplitConfig(file=split), workers=1)
        if not (config.records / MANIFEST).is_file():
            make_records.main(options)
        number = itertools.count()
        steps: dict[str, Callable[[bool], None]] = {
            "building, patients compared": lambda checked: _build(options, folder / f"records{next(number)}", checked),
            "building": lambda _: _build(options, folder / f"records{next(number)}", False),
            "make_records on the finished build": lambda _: make_records.main(options),
            "opening all shards": lambda _: _open(config.records),
            "first epoch": lambda _: _train(config, folder / f"run{next(number)}"),
        }
        rows = [["", f"{WITH} (s)", f"{WITHOUT} (s)", "ratio"]]
        for name, step in steps.items():
            contenders = {WITH: partial(_quietly, step), WITHOUT: partial(_unchecked, step)}
            medians = interleaved(contenders, config.rounds, cpu=True)
            ratio = medians[WITH] / medians[WITHOUT]
            rows.append([name, f"{medians[WITH]:.4g}", f"{medians[WITHOUT]:.4g}", f"{ratio:.2f}"])
    print(f"{counted(len(names), 'case')}, CPU seconds, median of {counted(config.rounds, 'repeat')}")
    print("\n".join(aligned(rows)))


def _build(options: MakeRecordsConfig, out: Path, compare: bool) -> None:
    make_records.main(replace(options, out=out, compare_patients=compare))


def _open(path: Path) -> None:
    records = Records(path)
    for case, copy in records.items_of(list(records.cases), copies=True):
        assert records.shard(case, copy).label is not None


def _train(config: ChecksumsConfig, out: Path) -> None:
    from training.engine import train

    network = UNetConfig(filters=config.filters, depth=3)
    train(TrainConfig(records=config.records, out=out, epochs=1, precision="float32", validate=False, model=network))


def _quietly(step: Callable[[bool], None], checked: bool = True) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        step(checked)


def _unchecked(step: Callable[[bool], None]) -> None:
    with without_checks():
        _quietly(step, checked=False)


@contextlib.contextmanager
def without_checks() -> Iterator[None]:
    """Leave out the checksums of images, and every comparison of checksums; those of shards and files are computed still."""
    read = CaseRecord.read.__func__  # type: ignore[attr-defined]
    unchecked = classmethod(lambda cls, path, expected=None: read(cls, path))
    with (
        mock.patch("data_prep.records.build.voxel_checksums", return_value={}),
        mock.patch("data_prep.records.shard.Shard.verify"),
        mock.patch.object(CaseRecord, "read", unchecked),
        mock.patch("data_prep.make_records.damaged_shards", return_value={}),
        mock.patch("data_prep.records.folder.Records.refuse_changed"),
    ):
        yield


if __name__ == "__main__":
    cli.run(main, ChecksumsConfig)
