"""The linear classifier: what it is fitted on, and how C is chosen."""

import numpy as np
import pytest

from evaluation.features import classifier
from evaluation.features.classifier import ClassifierConfig, Samples, fit

CONFIG = ClassifierConfig(c=(1.0, 1e-3), inner_folds=3, balance=True, seed=0)


def samples(patients=12, noise=0.3, seed=0):
    """Two cases of each patient, 20 features of which one tells the class."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(patients) % 2, 2)
    features = rng.normal(size=(2 * patients, 20))
    features[:, 0] = 2 * targets + noise * features[:, 0]
    return Samples(features, targets, [f"p{number // 2}" for number in range(2 * patients)])


def test_classes_that_features_tell_are_found():
    train, test = samples(seed=0), samples(seed=1)
    found = fit(train, CONFIG)
    right = found.pipeline.predict_proba(test.features)[np.arange(24), test.targets]
    assert right.mean() > 0.75
    assert found.c == 1.0
    assert found.losses[1] < found.losses[0] < np.log(2) + 0.01  # in the order of C


def test_features_without_a_class_get_the_strongest_penalty():
    train = samples(noise=0.0)
    noise = Samples(np.random.default_rng(3).normal(size=(24, 20)), train.targets, train.patients)
    assert fit(noise, CONFIG).c == 1e-3


def test_scales_of_features_do_not_matter():
    train = samples()
    scaled = Samples(train.features * np.logspace(-3, 3, 20) + 5, train.targets, train.patients)
    expected = fit(train, CONFIG).pipeline.predict_proba(train.features)
    np.testing.assert_allclose(fit(scaled, CONFIG).pipeline.predict_proba(scaled.features), expected, atol=1e-3)


def test_inner_folds_keep_patients_together(monkeypatch):
    fitted = []
    plain = classifier._pipeline
    monkeypatch.setattr(classifier, "_pipeline", lambda train, *rest: fitted.append(train) or plain(train, *rest))
    train = samples(6)
    found = fit(train, CONFIG)
    assert found.inner_folds == 3
    assert len(fitted) == 3 * len(CONFIG.c) + 1
    for inside in fitted[:-1]:
        assert len(inside.patients) == 2 * len(set(inside.patients)) == 8
        assert np.bincount(inside.targets).tolist() == [4, 4]
    assert fitted[-1].patients == train.patients


@pytest.mark.parametrize(("balance", "expected"), [(False, [1, 1, 0.5, 0.5]), (True, [0.75, 0.75, 0.75, 0.75])])
def test_weights_count_patients(balance, expected):
    """Two patients of class 0, one of class 1 with two cases."""
    given = Samples(np.zeros((4, 1)), np.array([0, 0, 1, 1]), ["a", "b", "c", "c"])
    weights = given.weights(balance)
    np.testing.assert_allclose(weights, np.array(expected) / np.mean(expected))
