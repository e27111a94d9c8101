"""Scans as from another scanner: intensities differ, annotations and places do not."""

import numpy as np

from benchmarks.changed_scanner import ChangedScannerConfig, main
from data_prep.prepare import PrepareConfig, prepare
from data_prep.sources import SourceConfig, open_source
from tests.scans import scan, write_kaggle_3m


def test_intensities_change_and_nothing_else(tmp_path):
    made = scan("TCGA_CS_4941_19960909", channels=("pre", "flair", "post"), shape=(12, 10, 6), ids=(0, 255))
    source = open_source(write_kaggle_3m(tmp_path / "kaggle_3m", [made]), SourceConfig())
    main(ChangedScannerConfig(source=tmp_path / "kaggle_3m", out=tmp_path / "changed"))
    changed = open_source(tmp_path / "changed", SourceConfig(labels="kaggle_3m"))
    assert (changed.channels, [files.id for files in changed.cases()]) == (source.channels, [made.id])
    plain = PrepareConfig(crop=None)
    before, after = (prepare(each.read(each.cases()[0]), each.schema, plain) for each in (source, changed))
    np.testing.assert_array_equal(before.label, after.label)
    assert (before.image.any(-1) == after.image.any(-1)).mean() > 0.95
    for channel in range(3):
        inside = before.image.any(-1)
        assert 0.3 < np.corrcoef(before.image[inside][:, channel], after.image[inside][:, channel])[0, 1] < 0.9999
