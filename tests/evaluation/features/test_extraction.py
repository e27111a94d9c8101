"""Stored features are reused for equal weights and scans alone."""

import shutil

import numpy as np
import pytest

from data_prep.records.folder import Records
from data_prep.sources import SourceConfig
from evaluation.features import extraction
from evaluation.features.cases import from_records, from_source
from evaluation.features.extraction import FeatureExtractor
from evaluation.inference.ensemble import InferenceConfig
from models.features import POOLINGS
from training.run import Run
from training.state.weights import save_weights


@pytest.fixture
def cases(graded):
    return from_records(Records(graded[1]), "grade", {}, ["case_0", "case_7"]).cases


@pytest.fixture
def extractor(validated, tmp_path):
    """`extractor(kinds, run)`: features into one folder."""

    def make(kinds=POOLINGS, run=validated / "fold0", layer=""):
        return FeatureExtractor(Run(run), "segmentation", layer, InferenceConfig(), tmp_path / "features", tuple(kinds))

    return make


def test_features_are_computed_once(extractor, cases, validated, monkeypatch, tmp_path):
    first = extractor().extract(cases, "features")
    assert first.shape == (2, 3 * 8)
    assert np.isfinite(first).all()
    assert (np.ptp(first, axis=0) > 0).any()
    assert extractor().layer_of(cases[0]) == "bottom_relu2"
    files = sorted((tmp_path / "features").rglob("*.npz"))
    assert [file.stem for file in files] == ["case_0", "case_7"]
    computed = []
    plain = extraction.pooled_features
    monkeypatch.setattr(extraction, "pooled_features", lambda *given: computed.append(1) or plain(*given))
    np.testing.assert_array_equal(extractor(run=validated / "fold1").extract(cases, "features"), first)  # equal weights
    np.testing.assert_array_equal(extractor(["max"]).extract(cases, "features"), first[:, 8:16])
    assert not computed
    files[0].write_bytes(files[0].read_bytes()[:100])  # as a crash of the disk leaves it
    np.testing.assert_array_equal(extractor().extract(cases, "features"), first)
    assert len(computed) == 1
    shaped = extractor(["mean", "shape"]).extract(cases, "features")
    np.testing.assert_array_equal(shaped[:, :8], first[:, :8])
    assert shaped.shape == (2, 8 + 5)
    assert len(computed) == 3
    np.testing.assert_array_equal(extractor().extract(cases, "features"), first)
    assert len(computed) == 3


def test_other_weights_and_layers_have_features_of_their_own(extractor, cases, validated, tmp_path):
    first = extractor().extract(cases[:1], "features")
    run = Run(shutil.copytree(validated / "fold0", tmp_path / "run"))
    network = run.load_network()
    network.get_layer("bottom_conv2").kernel.assign(network.get_layer("bottom_conv2").kernel * 2)
    save_weights(network, run, [run.weights.name])
    assert not np.array_equal(extractor(run=run.path).extract(cases[:1], "features"), first)
    np.testing.assert_array_equal(extractor().extract(cases[:1], "features"), first)
    assert extractor(layer="encoder1_relu2").extract(cases[:1], "features").shape == (1, 3 * 4)


def test_scans_are_read_within_the_head(extractor, graded, validated):
    run = Run(validated / "fold0")
    scans = from_source(graded[0], SourceConfig(), "grade", {}, [run], ["case_0", "case_7"])
    found = extractor(["mean", "tumour", "shape"]).extract(scans.cases, "features")
    assert found.shape == (2, 8 + 8 + 5)
    assert np.isfinite(found).all()
