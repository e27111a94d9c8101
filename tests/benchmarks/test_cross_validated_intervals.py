"""Coverage of cross-validated classifiers at toy size."""

import pytest

from benchmarks.cross_validated_intervals import CrossValidatedIntervalsConfig, cross_validated, simulate
from common.errors import UserError


def test_a_row_holds_auc_and_coverages():
    config = CrossValidatedIntervalsConfig(sets=3, features=5)
    mean, _, *coverages = simulate(config, 12, 8.0)
    assert float(mean) > 0.9
    assert [float(share) for share in coverages] == [1] * 4


def test_a_set_follows_from_its_seed():
    config = CrossValidatedIntervalsConfig(features=5)
    truth, probabilities = cross_validated(config, 12, 0.0, 1)
    assert truth.sum() == 6
    assert (probabilities == cross_validated(config, 12, 0.0, 1)[1]).all()
    assert (probabilities != cross_validated(config, 12, 0.0, 2)[1]).any()


def test_wrong_numbers_are_refused():
    with pytest.raises(UserError, match="--sets"):
        CrossValidatedIntervalsConfig(sets=1).check()
