"""From probabilities to a segmentation: each step on made volumes, the file of a run, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import cli
from common.errors import UserError
from common.files import write_json
from data_prep.labels import LabelSchema
from evaluation.inference.postprocess import (
    FILE,
    FOREGROUND,
    HysteresisRule,
    PostprocessConfig,
    ReplaceRule,
    apply,
    apply_classes,
    load,
    load_file,
    members,
    save,
)
from training.run import Run
from training.run_facts import FORMAT

BINARY = LabelSchema.load("binary")
BRATS = LabelSchema.load("brats2023")  # background, edema, non-enhancing tumor, enhancing tumor


def volume(rng, shape=(5, 9, 8), classes=4):
    """Probabilities (Z, H, W, classes) float32 that sum to 1."""
    raw = rng.random((*shape, classes), np.float32) ** 3
    return raw / raw.sum(axis=-1, keepdims=True)


@pytest.fixture
def blobs():
    """Tumour components of 8, 4 and 1 voxels in a volume (4, 10, 10)."""
    classes = np.zeros((4, 10, 10), np.uint8)
    classes[1:3, 1:3, 1:3] = 1
    classes[0, 6:8, 6:8] = 1
    classes[3, 9, 0] = 1
    return classes


@pytest.mark.parametrize(("schema", "classes"), [(BINARY, 2), (BRATS, 4)])
def test_the_default_is_the_most_probable_class(rng, schema, classes):
    probabilities = volume(rng, classes=classes)
    found = apply(PostprocessConfig(), probabilities, schema)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, probabilities.argmax(axis=-1))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), top=st.integers(0, 3))
def test_the_default_leaves_every_segmentation_as_it_is(seed, top):
    classes = np.random.default_rng(seed).integers(0, top + 1, (3, 4, 5), dtype=np.uint8)
    np.testing.assert_array_equal(apply_classes(PostprocessConfig(), classes, BRATS), classes)


def test_half_is_the_most_probable_of_two_classes(rng):
    probabilities = volume(rng, classes=2)
    found = apply(PostprocessConfig(threshold=0.5), probabilities, BINARY)
    np.testing.assert_array_equal(found, probabilities.argmax(axis=-1))


def test_a_threshold_tells_foreground_and_the_most_probable_class_of_it_is_taken():
    probabilities = np.array([[0.6, 0.1, 0.3, 0.0], [0.7, 0.3, 0.0, 0.0], [0.5, 0.2, 0.0, 0.3]], np.float32)[None, None]
    assert apply(PostprocessConfig(threshold=0.35), probabilities, BRATS).tolist() == [[[2, 0, 3]]]
    assert apply(PostprocessConfig(threshold=0.5), probabilities, BRATS).tolist() == [[[0, 0, 3]]]


def test_the_largest_component_stays(blobs):
    found = apply_classes(PostprocessConfig(largest=True), blobs, BINARY)
    assert np.count_nonzero(found) == 8
    assert found[1, 1, 1] == 1
    assert np.count_nonzero(blobs) == 13  # what was given is left as it was


def test_voxels_that_touch_by_a_corner_are_one_component():
    classes = np.zeros((2, 2, 2), np.uint8)
    classes[0, 0, 0] = classes[1, 1, 1] = 1
    np.testing.assert_array_equal(apply_classes(PostprocessConfig(least_voxels={"tumor": 2}), classes, BINARY), classes)


@pytest.mark.parametrize(("least", "left"), [(0, 13), (1, 13), (2, 12), (4, 12), (5, 8), (8, 8), (9, 0)])
def test_components_of_fewer_voxels_are_removed(blobs, least, left):
    found = apply_classes(PostprocessConfig(least_voxels={"tumor": least}), blobs, BINARY)
    assert np.count_nonzero(found) == left


def test_a_small_component_of_a_nested_region_becomes_the_class_around_it():
    classes = np.zeros((3, 8, 8), np.uint8)
    classes[:, 1:7, 1:7] = 1
    classes[1, 2:6, 2:4] = 3  # enhancing: 8 voxels, and 1
    classes[1, 5, 6] = 3
    config = PostprocessConfig(least_voxels={"ET": 2}, becomes={"ET": "edema"})
    expected = classes.copy()
    expected[1, 5, 6] = 1
    np.testing.assert_array_equal(apply_classes(config, classes, BRATS), expected)
    removed = apply_classes(PostprocessConfig(least_voxels={"ET": 2}), classes, BRATS)
    assert removed[1, 5, 6] == 0


def test_structures_are_worked_on_in_the_order_given():
    classes = np.zeros((1, 3, 9), np.uint8)
    classes[0, 1, :5] = [1, 1, 3, 1, 1]  # without the middle, two pieces of two voxels
    steps = {"ET": 2, "WT": 3}
    assert not apply_classes(PostprocessConfig(least_voxels=steps), classes, BRATS).any()
    turned = dict(reversed(steps.items()))
    assert np.count_nonzero(apply_classes(PostprocessConfig(least_voxels=turned), classes, BRATS)) == 4


@pytest.mark.parametrize(("below", "expected"), [(5, 3), (6, 2)])
def test_too_little_of_a_structure_in_the_whole_case_is_another_class(below, expected):
    classes = np.zeros((2, 6, 6), np.uint8)
    classes[0, :2, :2] = classes[1, 5, 5] = 3  # 5 voxels in two components
    rule = ReplaceRule(structure="enhancing tumor", below_voxels=below, by="non-enhancing tumor")
    found = apply_classes(PostprocessConfig(replace=[rule]), classes, BRATS)
    np.testing.assert_array_equal(found, np.where(classes == 3, expected, 0))


def test_background_that_is_enclosed_in_its_slice_is_filled():
    classes = np.zeros((2, 9, 9), np.uint8)
    classes[:, 1:6, 1:6] = 2
    classes[:, 3, 3] = 0  # a hole in both slices, which two slices do not close in space
    classes[1, 3, 3:6] = 0  # open to the side
    classes[:, 6, 6] = classes[:, 7, 7] = 1  # joined over a corner
    filled = apply_classes(PostprocessConfig(fill_holes="enhancing tumor"), classes, BRATS)
    expected = classes.copy()
    expected[0, 3, 3] = 3
    np.testing.assert_array_equal(filled, expected)


def test_what_lies_outside_counts_in_no_component(blobs):
    probabilities = np.stack([blobs == 0, blobs == 1], axis=-1).astype(np.float32)
    inside = np.ones(blobs.shape, bool)
    inside[2] = False  # halves the largest component
    found = apply(PostprocessConfig(least_voxels={"tumor": 5}), probabilities, BINARY, inside)
    assert not found.any()


def hysteresis(structure="foreground", low=0.3, high=0.8, becomes="background"):
    return PostprocessConfig(hysteresis=[HysteresisRule(structure=structure, low=low, high=high, becomes=becomes)])


def line(*foreground, share=(0.0, 0.0, 1.0)):
    """Probabilities (1, 1, W, 4) of a line of voxels, by that of the foreground and the shares of its classes in it."""
    values = np.array(foreground, np.float32)
    return np.stack([1 - values, *(values * np.float32(each) for each in share)], axis=-1)[None, None]


def test_hysteresis_keeps_components_with_a_peak_down_to_the_low_threshold():
    found = apply(hysteresis(), line(0.2, 0.4, 0.9, 0.3, 0.1, 0.6, 0.7, 0.1, 0.8), BRATS)
    assert found.ravel().tolist() == [0, 3, 3, 3, 0, 0, 0, 0, 3]


def test_hysteresis_of_a_region_takes_in_and_gives_back_inside_the_foreground():
    near, core, none, other = line(0.9, share=(0.6, 0, 0.4)), line(0.95), line(0.0), line(0.9, share=(0.3, 0, 0.7))
    probabilities = np.concatenate([near, core, none, other], axis=2)
    found = apply(hysteresis("ET", 0.3, 0.8, "edema"), probabilities, BRATS)
    assert found.ravel().tolist() == [3, 3, 0, 1]


def test_a_region_does_not_grow_into_background():
    probabilities = np.concatenate([line(0.45), line(0.95)], axis=2)
    assert apply(hysteresis("ET"), probabilities, BRATS).ravel().tolist() == [0, 3]
    assert apply(hysteresis("WT"), probabilities, BRATS).ravel().tolist() == [3, 3]  # the whole foreground


def test_hysteresis_stays_inside_the_head():
    inside = np.array([True, False, True])[None, None]
    assert apply(hysteresis(), line(0.4, 0.5, 0.9), BRATS, inside).ravel().tolist() == [0, 0, 3]


def test_probabilities_are_needed_for_thresholds():
    assert not PostprocessConfig(largest=True, least_voxels={"ET": 5}).needs_probabilities
    assert PostprocessConfig(threshold=0.4).needs_probabilities
    assert hysteresis().needs_probabilities


def test_nothing_found_stays_nothing():
    config = PostprocessConfig(
        largest=True, least_voxels={"WT": 9}, replace=[ReplaceRule(structure="ET", below_voxels=9, by="edema")]
    )
    assert not apply_classes(config, np.zeros((2, 3, 4), np.uint8), BRATS).any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), least=st.integers(0, 12), largest=st.booleans())
def test_what_is_left_is_large_enough_and_was_there_before(seed, least, largest):
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    classes = (rng.random((4, 8, 8)) < 0.15).astype(np.uint8)
    found = apply_classes(PostprocessConfig(largest=largest, least_voxels={FOREGROUND: least}), classes, BINARY)
    labels, count = ndimage.label(found, np.ones((3, 3, 3)))
    assert not largest or count <= 1
    assert all(np.count_nonzero(labels == component) >= least for component in range(1, count + 1))
    assert ((found == classes) | (found == 0)).all()


def test_a_structure_is_a_region_a_class_or_the_foreground():
    assert members("TC", BRATS, "least_voxels") == [2, 3]
    assert members("edema", BRATS, "least_voxels") == [1]
    assert members(FOREGROUND, BRATS, "least_voxels") == [1, 2, 3]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (PostprocessConfig(threshold=1.5), "postprocess.threshold: expected 0 to 1; received 1.5"),
        (PostprocessConfig(threshold=float("nan")), "postprocess.threshold"),
        (PostprocessConfig(least_voxels={"ET": -1}), "postprocess.least_voxels.ET: expected at least 0 voxels; received -1"),
        (hysteresis(low=0.9), r"postprocess.hysteresis\[0\].low: expected 0 up to high; received 0.9"),
        (hysteresis(high=1.5), r"postprocess.hysteresis\[0\].high: expected 0 to 1; received 1.5"),
        (hysteresis("ET", becomes="enhancing tumor"), "expected a class outside ET"),
        (hysteresis("tumour"), "one of WT, .*, foreground; received tumour"),
        (PostprocessConfig(least_voxels={"tumour": 5}), "one of WT, .*, foreground; received tumour"),
        (PostprocessConfig(least_voxels={"background": 5}), "received background"),
        (PostprocessConfig(becomes={"ET": "edema"}), "structures that least_voxels names; received ET"),
        (
            PostprocessConfig(least_voxels={"TC": 5}, becomes={"TC": "enhancing tumor"}),
            "becomes.TC: .* background, edema;",
        ),
        (PostprocessConfig(least_voxels={"TC": 5}, becomes={"TC": "WT"}), "received WT"),
        (PostprocessConfig(replace=[ReplaceRule(structure="XX", below_voxels=5, by="edema")]), r"replace\[0\].structure: .*XX"),
        (PostprocessConfig(replace=[ReplaceRule(structure="ET", below_voxels=-5, by="edema")]), r"replace\[0\].below_voxels"),
        (PostprocessConfig(replace=[ReplaceRule(structure="ET", below_voxels=5, by="ET")]), r"replace\[0\].by: .*received ET"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(config, told):
    with pytest.raises(UserError, match=told) as error:
        config.check(BRATS)
    assert "\n" not in str(error.value)


def test_a_config_that_fits_passes_its_check():
    rule = ReplaceRule(structure="ET", below_voxels=200, by="non-enhancing tumor")
    PostprocessConfig(threshold=0.4, least_voxels={"WT": 9, "ET": 2}, becomes={"ET": "edema"}, replace=[rule]).check(BRATS)


READABLE = """
threshold: 0.4
hysteresis: [{structure: foreground, low: 0.3, high: 0.8, becomes: background}]
least_voxels: {WT: 50}
replace: [{structure: enhancing tumor, below_voxels: 200, by: non-enhancing tumor}]
"""
READ = PostprocessConfig(
    threshold=0.4,
    hysteresis=[HysteresisRule(structure=FOREGROUND, low=0.3, high=0.8, becomes="background")],
    least_voxels={"WT": 50},
    replace=[ReplaceRule(structure="enhancing tumor", below_voxels=200, by="non-enhancing tumor")],
)


def test_a_file_is_read_as_options_are(tmp_path):
    (tmp_path / "mine.yaml").write_text(READABLE)
    assert load_file(tmp_path / "mine.yaml") == READ
    options = [f"--{line.replace(': ', '=', 1)}" for line in READABLE.strip().splitlines()]
    assert cli.parse(PostprocessConfig, options) == READ
    assert cli.parse(PostprocessConfig, ["--config", str(tmp_path / "mine.yaml")]) == READ


def run_of(path, *heads):
    """A run with some segmentation heads."""
    head = {"kind": "segmentation", "outputs": 4, "schema": BRATS.to_dict()}
    facts = {"format": FORMAT, "command": "training.train", "heads": dict.fromkeys(heads or ["segmentation"], head)}
    write_json(path / "run.json", facts)
    return Run(path)


def test_a_run_without_the_file_has_no_post_processing(tmp_path):
    assert load(run_of(tmp_path), "segmentation") == PostprocessConfig()


def test_what_was_saved_is_loaded_without_how_it_was_chosen(tmp_path):
    run = run_of(tmp_path)
    assert save(run, "segmentation", READ, {"metric": "dice", "runs": [tmp_path]}) == tmp_path / FILE
    assert load(run, "segmentation") == READ
    assert "chosen:\n  metric: dice\n" in (tmp_path / FILE).read_text()


def test_each_of_several_heads_has_a_file_of_its_own(tmp_path):
    run = run_of(tmp_path, "hgg", "mets")
    assert save(run, "mets", READ, {}) == tmp_path / "postprocess_mets.yaml"
    assert (load(run, "mets"), load(run, "hgg")) == (READ, PostprocessConfig())


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "", "thresh: 0.4", "threshold: high", "least_voxels: {WT: 1.5}", "replace: [{structure: ET}]", "1: 2"],
)
def test_a_damaged_file_is_told_in_one_line_that_names_it(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=FILE) as error:
        load(run_of(tmp_path), "segmentation")
    assert "\n" not in str(error.value)


def test_a_file_that_was_named_must_be_there(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: post-processing not found"):
        load_file(tmp_path / "none.yaml")
