"""The search for a post-processing: its counts against settings applied one by one, its stages, and its choices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.metrics.catalogue import METRICS
from common.metrics.label_pair import LabelPair
from common.metrics.metric import Metric
from common.metrics.overlap import confusion_matrix
from data_prep.labels import LabelSchema
from data_prep.structures import Structure
from evaluation.inference.ensemble import softmax
from evaluation.inference.packed import Grid, pack_case
from evaluation.inference.postprocess import FOREGROUND, HysteresisRule, PostprocessConfig, ReplaceRule, apply
from evaluation.inference.search import (
    Objective,
    choose,
    count_parts,
    foreground_outcomes,
    hysteresis_outcomes,
    hysteresis_stages,
    region_outcomes,
    region_stages,
    search,
)

SCHEMAS = {name: LabelSchema.load(name) for name in ("binary", "brats2023", "brats2012-2015", "brats2024")}
BRATS = SCHEMAS["brats2023"]  # background, edema, non-enhancing tumor, enhancing tumor
GRID = Grid([None, 0.2, 0.5, 0.8], [False, True], [0, 3, 20], [2, 9], [5, 60])
SPACING = (3.0, 1.0, 1.0)
JUDGED = [name for name, metric in METRICS.items() if metric.judged]
seeds = st.integers(0, 2**32 - 1)


def objective(metric, *members):
    return Objective(METRICS[metric], [Structure("region", "R", members)])


def made_case(seed, classes, shape=(4, 9, 8)):
    """Smooth probabilities, a truth that is partly not annotated, and a mask with holes."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    logits = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 0.8) for _ in range(classes)], axis=-1)
    logits[..., 0] += rng.uniform(0, 0.6)
    truth = rng.integers(0, classes, shape, dtype=np.uint8)
    truth[rng.random(shape) < 0.1] = 255
    return softmax((6 * logits).astype(np.float32)), truth, rng.random(shape) < 0.9


def sure(classes):
    """Probabilities of a network that is sure of these class indices."""
    return np.eye(4, dtype=np.float32)[classes]


def check(outcome, setting, case, inside, schema):
    """An outcome is what comes of applying the setting to the whole case."""
    probabilities, truth, _ = case
    predicted = apply(setting, probabilities, schema, inside)
    np.testing.assert_array_equal(outcome.confusion, confusion_matrix(truth, predicted, len(schema.classes)))
    true, found = outcome.maps
    assert found.shape == true.shape == outcome.truth.shape
    for c in range(1, len(schema.classes)):
        assert np.count_nonzero(found == c) == np.count_nonzero((predicted == c) & (truth != 255))
        both = (true == c) & (found == c)
        assert np.count_nonzero(both) == outcome.confusion[c, c]


@settings(max_examples=30, deadline=None)
@given(seed=seeds, name=st.sampled_from(["binary", "brats2023"]), masked=st.booleans())
def test_the_first_stage_counts_what_each_setting_makes_of_a_case(seed, name, masked):
    schema = SCHEMAS[name]
    case = made_case(seed, len(schema.classes))
    inside = case[2] if masked else None
    outcomes = foreground_outcomes(pack_case("p", *case[:2], GRID, schema, inside), schema, GRID)
    for outcome, setting in zip(outcomes, GRID.settings(), strict=True):
        check(outcome, setting, case, inside, schema)


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    name=st.sampled_from(["brats2023", "brats2012-2015", "brats2024"]),
    masked=st.booleans(),
    threshold=st.sampled_from(GRID.thresholds),
    largest=st.booleans(),
    earlier=st.dictionaries(st.sampled_from([FOREGROUND, "edema"]), st.integers(0, 30)),
    rule=st.booleans(),
)
def test_the_other_stages_count_what_each_setting_adds_to_the_current_one(
    seed, name, masked, threshold, largest, earlier, rule
):
    schema = SCHEMAS[name]
    case = made_case(seed, len(schema.classes))
    inside = case[2] if masked else None
    current = PostprocessConfig(threshold=threshold, largest=largest, least_voxels=earlier)
    packed = pack_case("p", *case[:2], GRID, schema, inside)
    for stage in region_stages(schema, GRID):
        if rule and stage.is_all:
            current = PostprocessConfig(replace=[ReplaceRule(structure="TC", below_voxels=40, by="edema")])
        outcomes = region_outcomes(packed, stage, current, schema, GRID)
        for outcome, setting in zip(outcomes, stage.settings(current, schema), strict=True):
            setting.check(schema)
            check(outcome, setting, case, inside, schema)


HYSTERESIS = Grid([None, 0.5], [False], [0], lows=[0.2, 0.4], highs=[0.3, 0.6, 0.9])


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    name=st.sampled_from(["binary", "brats2023", "brats2024"]),
    masked=st.booleans(),
    threshold=st.sampled_from(HYSTERESIS.thresholds),
    earlier=st.booleans(),
)
def test_hysteresis_of_a_packed_case_is_that_of_its_probabilities(seed, name, masked, threshold, earlier):
    schema = SCHEMAS[name]
    case = made_case(seed, len(schema.classes))
    inside = case[2] if masked else None
    current = PostprocessConfig(threshold=threshold, least_voxels={FOREGROUND: 3})
    if earlier:
        current.hysteresis = [HysteresisRule(structure=FOREGROUND, low=0.2, high=0.6, becomes=schema.class_names[0])]
    packed = pack_case("p", *case[:2], HYSTERESIS, schema, inside)
    for stage in hysteresis_stages(schema, HYSTERESIS):
        tried = stage.settings(current)
        assert [(each.hysteresis[-1].low, each.hysteresis[-1].high) for each in tried] == [
            *((0.2, 0.3), (0.2, 0.6), (0.2, 0.9), (0.4, 0.6), (0.4, 0.9)),
        ]
        for outcome, setting in zip(hysteresis_outcomes(packed, tried, schema, HYSTERESIS), tried, strict=True):
            setting.check(schema)
            check(outcome, setting, case, inside, schema)


def lesions_case():
    """Probabilities with a sure and an unsure tumour, of which only the first is in truth; a weak rim belongs to it."""
    truth, tumour = np.zeros((2, 12, 12, 12)), np.zeros((12, 12, 12))
    tumour[1:6, 1:6, 1:6] = 0.4
    tumour[2:5, 2:5, 2:5] = 0.95
    tumour[8:11, 8:11, 8:11] = 0.6
    truth = (tumour == 0.4) | (tumour == 0.95)
    probabilities = np.zeros((12, 12, 12, 4), np.float32)
    probabilities[..., 3], probabilities[..., 0] = tumour, 1 - tumour
    return probabilities, truth.astype(np.uint8) * 3


@pytest.mark.parametrize("metric", ["lesion_dice@brats2023-met", "lesion_dice@brats2026-mets", "lesion_hd95@brats2024-met"])
def test_hysteresis_is_chosen_where_a_threshold_or_a_size_cannot_help(metric):
    probabilities, truth = lesions_case()
    grid = Grid([None, 0.3, 0.7], [False], [0], lows=[0.3], highs=[0.5, 0.8])
    packed = [pack_case("p", probabilities, truth, grid, BRATS, None, (1.0, 1.0, 1.0))]
    trials, chosen = search(packed, BRATS, grid, objective(metric, 3), 0.0)
    (rule,) = trials[chosen].setting.hysteresis
    assert (rule.structure, rule.low, rule.high, rule.becomes) == (FOREGROUND, 0.3, 0.8, "background")
    assert trials[chosen].mean == (0 if "hd95" in metric else 1)


def test_a_penalty_of_the_diagonal_is_that_of_the_whole_case():
    _, truth = lesions_case()
    packed = [pack_case("p", sure(np.zeros_like(truth)), truth, GRID, BRATS, None, (1.0, 1.0, 1.0))]
    trials, _ = search(packed, BRATS, GRID, objective("lesion_hd95@brats2024-met", 3), 0.0)
    assert trials[0].mean == pytest.approx(np.hypot(12, np.hypot(12, 12)))


@settings(max_examples=15, deadline=None)
@given(
    seed=seeds,
    metric=st.sampled_from(JUDGED),
    margin=st.sampled_from([0, 0.01]),
)
def test_scores_of_a_search_are_those_of_its_settings_and_the_choice_is_greedy(seed, metric, margin):
    cases = [made_case(seed + number, 4) for number in range(3)]
    patients = ["a", "b", "a"]  # one has two cases
    packed = [pack_case(patient, *case[:2], GRID, BRATS, None, SPACING) for patient, case in zip(patients, cases, strict=True)]
    trials, chosen = search(packed, BRATS, GRID, objective(metric, 2, 3), margin)
    for trial in trials[:: max(1, len(trials) // 8)]:
        pairs = [LabelPair.count(case[1], apply(trial.setting, case[0], BRATS), 4, SPACING) for case in cases]
        scores = [METRICS[metric](pair.structure([2, 3])) for pair in pairs]
        known = [score for score in (scores[0], scores[2]) if not np.isnan(score)]
        np.testing.assert_allclose(trial.scores, [np.mean(known) if known else np.nan, scores[1]])
    assert trials[0].setting == PostprocessConfig()
    means = [-np.inf if np.isnan(trial.mean) else METRICS[metric].sign * trial.mean for trial in trials]
    assert chosen == 0 or means[chosen] > means[0] + margin
    assert means[chosen] >= max(means) - margin


def test_the_same_search_gives_the_same_answer():
    packed = [pack_case(str(number), *made_case(number, 4)[:2], GRID, BRATS) for number in range(3)]
    found = [search(packed, BRATS, GRID, objective("dice", 3), 0) for _ in range(2)]
    assert [(trial.stage, trial.setting) for trial in found[0][0]] == [(trial.stage, trial.setting) for trial in found[1][0]]
    assert found[0][1] == found[1][1]


BACKGROUND = Metric(
    name="background",
    heading="background",
    definition="voxels of background in both",
    compute=lambda pair: float(pair.case.confusion[0, 0]),
    both_absent=None,
    worst=None,
)


@pytest.mark.parametrize("name", ["binary", "brats2023"])
def test_a_case_without_foreground_counts_as_background_alone(name):
    schema = SCHEMAS[name]
    classes = len(schema.classes)
    probabilities = np.zeros((2, 3, 3, classes), np.float32)
    probabilities[..., 0] = 1
    for truth in (np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8)):
        packed = pack_case("p", probabilities, truth, GRID, BRATS)
        trials, chosen = search([packed], schema, GRID, Objective(BACKGROUND, [Structure("class", "c", (1,))]), 0)
        assert chosen == 0
        assert {trial.mean for trial in trials} == {np.count_nonzero(truth == 0)}


def test_regions_are_dealt_with_from_the_outside_in_and_rules_on_whole_cases_come_last():
    names = [stage.name for stage in region_stages(SCHEMAS["brats2024"], GRID)]
    assert names == ["least_voxels_WT", "least_voxels_RC", "least_voxels_TC", "least_voxels_ET", "replace_ET_below"]


def test_a_region_that_is_the_whole_foreground_has_no_stage_of_its_own():
    assert region_stages(SCHEMAS["binary"], GRID) == []
    assert [stage.name for stage in region_stages(BRATS, GRID)] == ["least_voxels_TC", "least_voxels_ET", "replace_ET_below"]


def test_stages_without_values_are_left_out():
    assert region_stages(BRATS, Grid([None], [False], [0])) == []
    assert [stage.name for stage in region_stages(BRATS, Grid([None], [False], [0], below=[5]))] == ["replace_ET_below"]


@pytest.fixture
def tumour():
    """A tumour of edema and non-enhancing core, as it is in truth."""
    truth = np.zeros((6, 12, 12), np.uint8)
    truth[1:5, 1:9, 1:9] = 1
    truth[2:4, 3:7, 3:7] = 2
    return truth


def chosen_for(truth, predicted, members, grid, metric="dice"):
    trials, chosen = search(
        [pack_case("p", sure(predicted), truth, grid, BRATS, None, SPACING)], BRATS, grid, objective(metric, *members), 0.001
    )
    return trials[chosen]


def test_specks_of_enhancing_tumour_become_non_enhancing(tumour):
    tumour[2, 3:5, 3:6] = 3
    predicted = tumour.copy()
    predicted[3, 6, 6] = 3  # a speck in the core, away from the enhancing tumour
    found = chosen_for(tumour, predicted, [3], Grid([None], [False], [0], [2, 5], [2, 5]))
    assert found.setting == PostprocessConfig(least_voxels={"ET": 2}, becomes={"ET": "non-enhancing tumor"})
    np.testing.assert_array_equal(apply(found.setting, sure(predicted), BRATS), tumour)


def test_a_speck_far_away_is_removed_for_the_distance(tumour):
    predicted = tumour.copy()
    predicted[:, 10:12, 10:12] = 3
    grid = Grid([None], [False], [0, 30])
    found = chosen_for(tumour, predicted, [1, 2, 3], grid, "hd95")
    assert found.setting == PostprocessConfig(least_voxels={FOREGROUND: 30})
    assert found.mean == 0


def test_a_distance_without_spacing_is_refused(tumour):
    grid = Grid([None], [False], [0])
    with pytest.raises(ValueError, match="expected cases with a spacing for hd95"):
        search([pack_case("p", sure(tumour), tumour, grid, BRATS)], BRATS, grid, objective("hd95", 1), 0)


def test_specks_of_core_become_edema(tumour):
    predicted = tumour.copy()
    predicted[1, 1, 1:3] = 3
    found = chosen_for(tumour, predicted, [2, 3], Grid([None], [False], [0], [2, 5]))
    assert found.setting == PostprocessConfig(least_voxels={"TC": 5}, becomes={"TC": "edema"})
    np.testing.assert_array_equal(apply(found.setting, sure(predicted), BRATS), tumour)


def test_little_enhancing_tumour_in_a_case_becomes_non_enhancing(tumour):
    predicted = tumour.copy()
    predicted[2:4, 3, 3:7:3] = predicted[2:4, 6, 3:7:3] = 3  # four components of two voxels where there is none in truth
    found = chosen_for(tumour, predicted, [3], Grid([None], [False], [0], [2], [6, 20]))
    assert found.setting.replace == [ReplaceRule(structure="ET", below_voxels=20, by="non-enhancing tumor")]
    assert found.setting.least_voxels == {}
    np.testing.assert_array_equal(apply(found.setting, sure(predicted), BRATS), tumour)


@pytest.mark.parametrize(
    ("means", "place"),
    [([0.5, 0.5, 0.5], 0), ([0.5, 0.5005, 0.4], 0), ([0.5, 0.6, 0.6], 1), ([0.5, 0.4, 0.7], 2), ([0.5], 0)],
)
def test_the_best_is_chosen_where_it_is_better_by_more_than_the_margin(means, place):
    assert choose(means, 0.001) == place


def test_voxels_are_counted_by_part_truth_and_prediction():
    predicted = np.array([[[1, 1, 0, 2]]], np.uint8)
    truth = np.array([[[1, 255, 2, 0]]], np.uint8)
    counts = count_parts(np.array([[[1, 1, 0, 2]]], np.int32), 2, predicted, truth, 3)
    assert counts.shape == (2, 4, 3)
    assert counts[0, 1, 1] == counts[0, 3, 1] == counts[1, 0, 2] == 1
    assert counts.sum() == 3


def test_what_is_kept_of_a_case_is_small_and_forgets_what_lies_far_from_any_tumour():
    probabilities, truth = np.zeros((40, 64, 64, 4), np.float32), np.zeros((40, 64, 64), np.uint8)
    probabilities[..., 0] = 1
    probabilities[10:20, 20:40, 20:40] = (0.1, 0.2, 0.3, 0.4)
    truth[12:20, 24:40, 20:42] = 2
    packed = pack_case("p", probabilities, truth, GRID, BRATS)
    assert packed.shape == (10, 20, 22)
    assert len(packed.packed) < truth.nbytes / 50
    assert packed.outside == truth.size - 10 * 20 * 22


def test_a_setting_without_a_value_in_any_patient_is_never_better():
    assert choose([float("nan"), 0.5], 0.1) == 1
    assert choose([0.5, float("nan")], 0.1) == choose([float("nan")] * 2, 0.1) == 0


def test_a_setting_that_changes_nothing_is_not_scored_again():
    probabilities, truth = lesions_case()
    grid = Grid([None], [False, True], [0, 1, 2, 30, 1000])
    packed = pack_case("p", probabilities, truth, grid, BRATS, None, (1.0, 1.0, 1.0))
    outcomes = list(foreground_outcomes(packed, BRATS, grid))
    assert len(outcomes) == 10
    assert len({id(outcome) for outcome in outcomes}) < 10
    assert outcomes[0] is outcomes[1] is outcomes[2]
    assert outcomes[0] is not outcomes[4]
