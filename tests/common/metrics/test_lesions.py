import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, optimize

from common.metrics.borders import border_dice, border_distances, pooled_percentile
from common.metrics.components import label_components
from common.metrics.lesion_rules import LESION_RULES
from common.metrics.lesions import compare_lesions
from common.metrics.mask_pair import MaskPair
from common.metrics.surface import hd95, robust_hausdorff, surface_dice, surface_distances
from tests.common.metrics.golden import (
    REGIONS,
    SPACINGS,
    boxes,
    brats2023,
    brats2026,
    differences,
    masks_2026,
    rule_2026,
)

MM = (1.0, 1.0, 1.0)
SCORES = {"dsc": "dice", "hd95": "hd95", "nsd": "nsd"}
SETS_2026 = [
    (config, spacing, kind)
    for config in REGIONS
    for spacing in SPACINGS
    for kind in ("raw", "raw_right_axes")
    if kind in brats2026()["results"][config][spacing]
]


@pytest.mark.parametrize("task", ["GLI(3,50)", "MET(1,2)"])
def test_golden_values_of_brats_2023(task):
    rule = LESION_RULES[brats2023()["rules"][task]]
    for name, case in brats2023()["cases"].items():
        truth, prediction = boxes(case["truth"]), boxes(case["prediction"])
        found = compare_lesions(MaskPair(truth, prediction), MM, rule)
        size = truth.sum() + prediction.sum()
        legacy = hd95(truth, prediction, MM)
        mine = {
            "lw_dice": round(found.mean("dice"), 6),
            "lw_hd95": round(found.mean("hd95"), 6),
            "n_gt": sum(lesion.counted for lesion in found.lesions),
            "n_fp": len(found.false_positives),
            "legacy_dice": round(2 * (truth & prediction).sum() / size, 6) if size else 1,
            "legacy_hd95": round(legacy, 6) if math.isfinite(legacy) else 374,
        }
        assert not list(differences(mine, case[task], (name,)))


@pytest.mark.parametrize(("config", "spacing", "kind"), SETS_2026)
def test_golden_output_of_brats_2026(config, spacing, kind):
    """Raw output: matched pairs alone, with infinite HD95; whole regions without spacing; every lesion of truth."""
    rule = replace(rule_2026(config, kind == "raw"), average="matched", penalty_mm=math.inf, threshold_mm3=0, needs_truth=False)
    wrong = []
    for case, regions in brats2026()["results"][config][spacing][kind].items():
        for region, expected in regions.items():
            truth, prediction = masks_2026(config, case, region)
            found = compare_lesions(MaskPair(truth, prediction), SPACINGS[spacing], rule, region)
            numbers = {name: value for name, value in expected.items() if name != "reference_instances"}
            wrong += differences(raw(found) | global_values(truth, prediction), numbers, (case, region))
            mine = sorted((raw_lesion(found, lesion) for lesion in found.lesions), key=str)
            assert mine == sorted((dict(sorted(each.items())) for each in expected["reference_instances"]), key=str)
    assert not wrong


def raw(found):
    """Values of the official output from matched lesions."""
    detection = found.detection()
    matched = [lesion for lesion in found.lesions if lesion.matched]
    values = {
        "n_ref_instances": len(found.lesions),
        "n_pred_instances": found.predicted,
        "tp": detection.tp,
        "fp": detection.fp,
        "fn": detection.fn,
        "prec": detection.precision,
        "rec": detection.sensitivity,
        "rq": detection.f1,
        "pq_dsc": detection.f1 * found.mean("dice"),
        "instance_voxel_count_ref": np.mean([lesion.voxels for lesion in matched]) if matched else math.nan,
        "instance_volume_ref": np.mean([lesion.volume_mm3 for lesion in matched]) if matched else math.nan,
    }
    for name, score in SCORES.items():
        values[f"sq_{name}"] = found.mean(score)
        values[f"sq_{name}_std"] = np.std(found.values(score)) if matched else math.nan
    return values


def raw_lesion(found, lesion):
    """Entry of the official list of the lesions of truth."""
    values = {"voxel_count": lesion.voxels, "volume": round(lesion.volume_mm3, 9), "is_matched": int(lesion.matched)}
    if lesion.matched:
        values |= {f"sq_{name}": round(found.value_of(lesion, score), 9) for name, score in SCORES.items()}
    return dict(sorted(values.items()))


def global_values(truth, prediction, worst_mm=math.inf):
    """Values of the whole region, in voxels."""
    both, size = (truth & prediction).sum(), truth.sum() + prediction.sum()
    dice, distance, nsd = (0, worst_mm, 0) if size else (math.nan,) * 3
    if both:
        borders = border_distances(truth, prediction, MM)
        dice, distance, nsd = 2 * both / size, pooled_percentile(borders), border_dice(borders, 0.5)
    return {
        "global_bin_volume_pred": prediction.sum(),
        "global_bin_volume_ref": truth.sum(),
        "global_bin_dsc": dice,
        "global_bin_hd95": distance,
        "global_bin_nsd": nsd,
    }


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("config", REGIONS)
def test_golden_leaderboard_of_brats_2026(config, spacing):
    """Rows per case, that of a case without prediction, and mean, standard deviation and median over all of them."""
    expected = brats2026()["results"][config][spacing]["leaderboard"]
    rows = {case: leaderboard(config, spacing, case) for case in brats2026()["cases"]}
    rows["absent"] = {name: 373.0 if "hd95_mean" in name or "global_hd95" in name else 0.0 for name in rows["missed"]}
    table = {name: np.array([row[name] for row in rows.values()]) for name in rows["missed"]}
    known = {name: column[~np.isnan(column)] for name, column in table.items()}
    with np.errstate(invalid="ignore"):
        totals = {
            "not_predicted.nii.gz": rows["absent"],
            "mean": {name: column.mean() for name, column in known.items()},
            "std": {name: column.std(ddof=1) if len(column) > 1 else math.nan for name, column in known.items()},
            "median": {name: np.median(column) for name, column in known.items()},
        }
    wrong = [each for row in expected for each in differences((rows | totals)[row], expected[row], (row,))]
    assert not wrong


def leaderboard(config, spacing, case):
    """Row of the challenge's table for one case."""
    row = {}
    for region in REGIONS[config]:
        truth, prediction = masks_2026(config, case, region)
        rule = rule_2026(config, official=True)
        if config != "mets":
            rule = replace(rule, penalty_mm=math.inf)  # of lesions the official table leaves it infinite
        found = compare_lesions(MaskPair(truth, prediction), SPACINGS[spacing], rule, region)
        for size in ("all", "large", "small") if config == "mets" else ("all",):
            detection = found.detection(size)
            counts = [math.nan] * 6
            if detection is not None:
                precision = detection.precision
                if size != "all" and math.isnan(precision):
                    precision = 0.0
                counts = [detection.tp, detection.fp, detection.fn, precision, detection.sensitivity, detection.f1]
            names = ("tp", "fp", "fn", "prec", "rec", "f1")
            row |= {f"{size}_instance_{name}_{region}": value for name, value in zip(names, counts, strict=True)}
        for name, score in SCORES.items():
            values = found.values(score)
            spread = np.std(values) if values and (config == "mets" or found.detection().tp) else math.nan
            row |= {f"lesionwise_{name}_mean_{region}": found.mean(score), f"lesionwise_{name}_std_{region}": spread}
        globally = global_values(truth, prediction, worst_mm=373.0)
        row |= {f"global_{name}_{region}": globally[f"global_bin_{name}"] for name in SCORES}
    return row


def official_2023(truth, prediction, spacing, rule):
    """Lesion-wise Dice and HD95 of BraTS 2023 and 2024, step by step: each lesion is dilated by itself in the whole array."""
    structure, cube = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3))

    def merged(mask):
        grown = ndimage.binary_dilation(mask, structure, iterations=rule.dilation) if rule.dilation else mask
        return ndimage.label(grown, cube)[0] * mask

    voxel, lesions = math.prod(spacing), merged(truth)
    found = merged(prediction) if rule.merge_prediction else ndimage.label(prediction, cube)[0]
    for number in range(1, found.max() + 1):
        size = (found == number).sum() * (voxel if rule.drop_small == "mm3" else 1)
        if rule.drop_small and size <= rule.threshold_mm3:
            found[found == number] = 0
    penalty = math.hypot(*truth.shape) if rule.penalty_mm is None else rule.penalty_mm
    dice, distances, near = [], [], set()
    for number in range(1, lesions.max() + 1):
        lesion = lesions == number
        grown = ndimage.binary_dilation(lesion, structure, iterations=rule.dilation)
        mine = set(np.unique(found[grown])) - {0}
        near |= mine
        if lesion.sum() * voxel > rule.threshold_mm3:
            predicted = np.isin(found, list(mine))
            dice.append(2 * (lesion & predicted).sum() / (lesion.sum() + predicted.sum()))
            distances.append(hd95(lesion, predicted, spacing) if mine else penalty)
    false = len(set(np.unique(found)) - {0} - near) if rule.count_false else 0
    total = len(dice) + false
    return (sum(dice) / total, (sum(distances) + penalty * false) / total) if total else (1.0, 0.0)


@st.composite
def specks(draw):
    """Two masks of a few small boxes each, anywhere in the array, and a spacing."""
    shape = draw(st.tuples(*[st.integers(8, 20)] * 3))
    found = []
    for _ in range(2):
        mask = np.zeros(shape, bool)
        for _ in range(draw(st.integers(0, 5))):
            corner = [draw(st.integers(0, size - 1)) for size in shape]
            mask[tuple(slice(first, first + draw(st.integers(1, 5))) for first in corner)] = True
        found.append(mask)
    return found[0], found[1], draw(st.sampled_from([MM, (3.0, 1.0, 1.0), (0.7, 1.3, 2.0)]))


@pytest.mark.parametrize("name", [name for name in LESION_RULES if not name.startswith("brats2026")])
@settings(max_examples=25, deadline=None)
@given(pair=specks())
def test_the_rules_of_2023_and_2024_equal_their_restatement(name, pair):
    rule = replace(LESION_RULES[name], threshold_mm3=min(LESION_RULES[name].threshold_mm3, 10.0))
    found = compare_lesions(MaskPair(*pair[:2]), *pair[2:], rule)
    assert (found.mean("dice"), found.mean("hd95")) == pytest.approx(official_2023(*pair, rule), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(pair=specks(), name=st.sampled_from(sorted(LESION_RULES)), pad=st.integers(0, 6))
def test_background_around_the_masks_changes_nothing(pair, name, pad):
    truth, prediction, spacing = pair
    rule = LESION_RULES[name]
    one = compare_lesions(MaskPair(truth, prediction), spacing, rule, shape=(99, 99, 99))
    other = compare_lesions(MaskPair(np.pad(truth, pad), np.pad(prediction, pad)), spacing, rule, shape=(99, 99, 99))
    for score in SCORES.values():
        assert one.values(score) == pytest.approx(other.values(score))


@pytest.mark.parametrize("name", LESION_RULES)
def test_a_perfect_prediction_has_the_best_scores(name):
    mask = boxes([[5, 11, 5, 11, 5, 11], [30, 34, 30, 34, 30, 34], [40, 41, 5, 6, 5, 6]])
    found = compare_lesions(MaskPair(mask, mask), MM, LESION_RULES[name])
    assert [found.mean(score) for score in SCORES.values()] == [1, 0, 1]
    assert found.detection().f1 == 1
    assert all(lesion.matched for lesion in found.lesions if lesion.counted)


def test_a_stray_voxel_halves_the_score_of_2023_and_is_removed_in_2024():
    truth = boxes([[5, 11, 5, 11, 5, 11]])
    stray = truth | boxes([[40, 41, 5, 6, 5, 6]])
    assert compare_lesions(MaskPair(truth, stray), MM, LESION_RULES["brats2023-gli"]).mean("dice") == 0.5
    assert compare_lesions(MaskPair(truth, stray), MM, LESION_RULES["brats2024-gli"]).mean("dice") == 1


def test_a_region_may_have_a_threshold_of_its_own():
    small = boxes([[5, 8, 5, 8, 5, 6], [30, 36, 30, 36, 30, 36]])  # 9 mm3 is not counted anywhere, 18 is in ET alone
    larger = boxes([[5, 8, 5, 8, 5, 7], [30, 36, 30, 36, 30, 36]])
    found = boxes([[30, 36, 30, 36, 30, 36]])
    rule = LESION_RULES["brats2024-gli"]
    dice = {
        (region, int(mask.sum())): compare_lesions(MaskPair(mask, found), MM, rule, region).mean("dice")
        for region in ("WT", "et")
        for mask in (small, larger)
    }
    assert list(dice.values()) == [1, 1, 1, 0.5]


def test_false_positives_of_radiotherapy_targets_are_not_counted():
    truth, far = boxes([[5, 11, 5, 11, 5, 11]]), boxes([[30, 36, 30, 36, 30, 36]])
    found = compare_lesions(MaskPair(truth, truth | far), MM, LESION_RULES["brats2024-men-rt"])
    assert (found.mean("dice"), len(found.false_positives)) == (1, 1)


def test_a_penalty_of_the_diagonal_follows_the_whole_array():
    truth, empty = boxes([[5, 11, 5, 11, 5, 11]]), boxes([])
    rule = LESION_RULES["brats2024-met"]
    assert compare_lesions(MaskPair(truth, empty), MM, rule).mean("hd95") == pytest.approx(math.hypot(48, 48, 48))
    assert compare_lesions(MaskPair(truth, empty), MM, rule, shape=(240, 240, 155)).mean("hd95") == pytest.approx(
        373.128, abs=1e-3
    )


@pytest.mark.parametrize("name", ["brats2023-met", "brats2024-met", "brats2026-mets"])
def test_a_rule_has_a_definition_of_hd95_and_one_of_nsd(name):
    truth, prediction = boxes([[5, 15, 5, 15, 5, 15]]), boxes([[7, 17, 5, 15, 5, 15]])
    surfaces, borders = surface_distances(truth, prediction, MM), border_distances(truth, prediction, MM)
    both = {"surface": robust_hausdorff(surfaces, 95), "border": pooled_percentile(borders)}
    nsd = {"surface": surface_dice(surfaces, 1.0), "border": border_dice(borders, 1.0)}
    assert both["surface"] == both["border"] == 2
    assert abs(nsd["surface"] - nsd["border"]) > 0.001
    found, rule = compare_lesions(MaskPair(truth, prediction), MM, LESION_RULES[name]), LESION_RULES[name]
    assert (found.mean("hd95"), found.mean("nsd")) == (both[rule.hd95], nsd[rule.nsd])


@settings(max_examples=30, deadline=None)
@given(pair=specks())
def test_one_to_one_matching_has_the_largest_sum_of_dice(pair):
    """Against one assignment over all lesions at once."""
    truth, prediction, spacing = pair
    found = compare_lesions(MaskPair(truth, prediction), spacing, LESION_RULES["brats2026-gli"])
    labels, others = (label_components(mask)[0] for mask in (truth, prediction))
    sizes, predicted = np.bincount(labels.ravel()), np.bincount(others.ravel())
    dice = np.zeros((len(sizes), len(predicted)))
    for number, other in zip(labels[truth & prediction], others[truth & prediction], strict=True):
        dice[number, other] += 2 / (sizes[number] + predicted[other])
    best = dice[optimize.linear_sum_assignment(dice, maximize=True)].sum()
    assert sum(lesion.dice for lesion in found.lesions) == pytest.approx(best)
    taken = [lesion.predicted[0] for lesion in found.lesions if lesion.matched]
    assert len(set(taken)) == len(taken) == found.predicted - len(found.false_positives)


def test_masks_of_unlike_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        MaskPair(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool))
