"""Engines: any network of batches in and logits out predicts volumes, and each run is loaded once."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from evaluation.inference.engines import InferenceEngine, load_engines
from evaluation.inference.ensemble import Ensemble, InferenceConfig, softmax
from training.run import Run


class Doubled:
    """An engine that is no Keras model."""

    def predict_on_batch(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"segmentation": 2 * x}


def test_each_run_is_loaded_once():
    loaded = []
    runs = [SimpleNamespace(path=Path(name), load_network=lambda name=name: loaded.append(name) or name) for name in "aba"]
    engines = load_engines(runs)
    assert loaded == ["a", "b"] or loaded == ["b", "a"]
    assert engines == {Path("a"): "a", Path("b"): "b"}


def test_another_engine_takes_the_place_of_keras(trained, rng):
    run, image = Run(trained), rng.normal(size=(3, 4, 4, 4)).astype(np.float32)
    engine: InferenceEngine = Doubled()
    found = Ensemble([run], [engine], InferenceConfig()).probabilities(image)
    np.testing.assert_allclose(found, softmax(2 * image), rtol=1e-6)


def test_a_keras_network_is_an_engine(trained, rng):
    image = rng.normal(size=(2, 4, 4, 4)).astype(np.float32)
    logits = load_engines([Run(trained)])[trained].predict_on_batch(image)["segmentation"]
    assert np.asarray(logits).shape == (2, 4, 4, 4)
