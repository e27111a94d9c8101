"""Patches that are drawn from volumes, and tiles that cover them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from data_prep.augmentation.draw import AugmentConfig, CopiesConfig
from data_prep.grid.geometry import cut_patch, middle_start
from data_prep.grid.neighbours import with_neighbours
from data_prep.prepare import PrepareConfig
from data_prep.records.folder import Records
from tests.conftest import SMALL, write_source
from tests.scans import scan, write_brats
from tests.training.runs import assert_equal, read_batches
from training.data.batches import SEGMENTATION, InputConfig, training_batches, training_examples
from training.data.patches import PatchIndex, PatchSampler, Tiles, tile_spans, training_patches

STILL = AugmentConfig(probability=0)
EVERYTHING = AugmentConfig(
    rank=3, probability=0.8, flips=["x", "y", "z"], tilt_degrees=15, elastic_sigma=3.0, crop=0.1, fill=0.3, fill_from=1
)
SHAPE = (8, 16, 16)
PATCHES = st.tuples(st.integers(1, 12), st.integers(1, 20), st.integers(1, 20))


def sampler(records, config, augment=STILL, items=(("case_0", 0),)):
    return PatchSampler(records, items, config, augment)


def drawn_patch(records, config, seed=0, tumour=False, augment=STILL, item=("case_0", 0)):
    """One drawn patch: image and label."""
    drawn = sampler(records, config, augment, (item,))
    image, labels = drawn(np.array([0, tumour]), np.random.default_rng(seed))
    return image, labels[SEGMENTATION]


def batches(records, augment=EVERYTHING, start=0, count=6, seed=0, **options):
    """Some training batches: (image, label) arrays."""
    config = InputConfig(**{"batch_size": 3, "patch": (4, 8, 8), "tumour_share": 0.5} | options)
    places = training_patches(records, records.split["train"], config)
    change = PatchSampler(records, places[0].items, config, augment)
    return read_batches(places, config, count, seed, start, change)


class Numbered:
    """In the place of records: one volume whose voxels are numbered, and its annotation."""

    def __init__(self, shape, voxels=None):
        from types import SimpleNamespace

        numbers = np.arange(1, np.prod(shape) + 1).reshape(shape)
        label = np.ones(shape, np.uint8)
        for place, bit in (voxels or {}).items():
            label[place] = 1 << bit
        counts = np.stack([(label == 1 << bit).sum(axis=(1, 2)) for bit in range(4)], axis=1)
        self._shard = SimpleNamespace(image=numbers[..., None].astype(np.float32), label=label)
        self._facts = SimpleNamespace(voxels=counts, geometry=SimpleNamespace(spacing_mm=(1.0, 1.0, 1.0)))
        self.cases = {"case": self._facts}
        self.preparation = PrepareConfig(intensity="zscore")

    def case(self, case, copy):
        return self._facts

    def shard(self, case, copy):
        return self._shard


@settings(max_examples=60, deadline=None, derandomize=True)
@given(shape=st.tuples(*[st.integers(1, 9)] * 3), patch=st.tuples(*[st.integers(1, 12)] * 3), seed=st.integers(0, 10**6))
def test_a_patch_lies_inside_a_larger_volume_and_around_a_smaller_one(shape, patch, seed):
    records = Numbered(shape)
    drawn = PatchSampler(records, [("case", 0)], InputConfig(patch=patch), STILL)
    image, labels = drawn(np.array([0, 0]), np.random.default_rng(seed))
    image = image.reshape(patch)
    np.testing.assert_array_equal(labels[SEGMENTATION].reshape(patch) > 0, image > 0)
    start = []
    for axis, (length, side) in enumerate(zip(shape, patch, strict=True)):
        filled = np.flatnonzero((image > 0).any(axis=tuple({0, 1, 2} - {axis})))
        assert len(filled) == min(length, side)  # whole, or as much as there is
        start.append(-int(filled[0]) if side > length else None)
    centred = middle_start(shape, patch)
    first = np.unravel_index(int(image[image > 0][0]) - 1, shape)
    start = tuple(int(first[axis]) if begin is None else centred[axis] for axis, begin in enumerate(start))
    np.testing.assert_array_equal(image, cut_patch(records.shard("case", 0).image, start, patch)[..., 0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), shape=st.tuples(*[st.integers(2, 9)] * 3), patch=st.tuples(*[st.integers(1, 12)] * 3))
def test_a_patch_around_tumour_contains_tumour(data, shape, patch):
    place = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
    records = Numbered(shape, {place: data.draw(st.integers(1, 3))})  # a single voxel of it
    drawn = PatchSampler(records, [("case", 0)], InputConfig(patch=patch), STILL)
    for seed in range(3):
        _, labels = drawn(np.array([0, 1]), np.random.default_rng(seed))
        assert (labels[SEGMENTATION] > 1).sum() == 1


def test_a_tumours_voxel_lies_in_the_middle_half_of_its_patch():
    records = Numbered((40, 40, 40), {(20, 20, 20): 2})
    drawn = PatchSampler(records, [("case", 0)], InputConfig(patch=(8, 12, 16)), STILL)
    found = [np.argwhere(drawn(np.array([0, 1]), np.random.default_rng(seed))[1][SEGMENTATION] == 4)[0] for seed in range(80)]
    middle = np.array([4, 6, 8])
    quarter = np.array([2, 3, 4])
    assert (np.abs(found - middle) <= quarter).all()
    assert (np.ptp(found, axis=0) >= quarter).all()  # and not always at the same place


def test_classes_come_up_alike_however_few_their_voxels():
    voxels = {(z, y, x): 1 for z in range(10) for y in range(20) for x in range(8)} | {(15, 3, 15): 2, (2, 17, 17): 3}
    records = Numbered((20, 20, 20), voxels)
    drawn = PatchSampler(records, [("case", 0)], InputConfig(patch=(1, 1, 1)), STILL)
    bits = [int(drawn(np.array([0, 1]), np.random.default_rng(seed))[1][SEGMENTATION].squeeze()) for seed in range(300)]
    for bit in (2, 4, 8):
        assert bits.count(bit) / len(bits) == pytest.approx(1 / 3, abs=0.08)


def test_patches_lie_anywhere():
    records = Numbered((12, 12, 12))
    drawn = PatchSampler(records, [("case", 0)], InputConfig(patch=(4, 4, 4)), STILL)
    seen = np.zeros(12**3 + 1, int)
    for seed in range(1000):
        image = drawn(np.array([0, 0]), np.random.default_rng(seed))[0]
        seen[image.astype(int).ravel()] += 1
    assert seen[1:].all()


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_a_patch_of_one_slice_is_a_picture_with_its_neighbours_as_channels(opened, neighbours):
    config = InputConfig(patch=(1, 16, 16), neighbours=neighbours)
    shard = opened.shard("case_0")
    for seed in range(6):
        image, label = drawn_patch(opened, config, seed, tumour=True)
        assert (image.shape, image.dtype) == ((16, 16, 4 * (2 * neighbours + 1)), np.float32)
        assert label.shape == (16, 16)
        (number,) = [
            z for z in range(8) if (shard.label[z] == label).all() and (_middle(image, neighbours) == shard.image[z]).all()
        ]
        np.testing.assert_array_equal(image, with_neighbours(shard.image, np.array([number]), neighbours)[0])


def _middle(image, neighbours):
    return image[..., 4 * neighbours : 4 * neighbours + 4]


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_slices_at_the_edge_repeat_it_as_their_neighbours_as_in_prediction(probability):
    records = Numbered((3, 8, 8), {(0, 4, 4): 1})
    records.shard("case", 0).image[...] = 1
    turned = AugmentConfig(rank=3, probability=probability, flips=[], scale=0, elastic=0, brightness=0, contrast=0, noise=0)
    drawn = PatchSampler(records, [("case", 0)], InputConfig(patch=(1, 8, 8), neighbours=2), turned)
    image, _ = drawn(np.array([0, 1]), np.random.default_rng(0))
    for channel in range(5):
        np.testing.assert_allclose(image[..., channel], image[..., 2], atol=1e-5)


def test_bytes_are_scaled_and_stay_within_their_range(stored_as_uint8):
    config = InputConfig(patch=(4, 8, 8))
    plain, _ = drawn_patch(stored_as_uint8, config, 1, tumour=True)
    assert plain.dtype == np.float32
    assert 0.4 < plain.max() <= 1
    np.testing.assert_allclose(plain * 255, np.rint(plain * 255), atol=0.07)  # float16 of 0..1
    stored = stored_as_uint8.shard("case_0").image
    assert plain.max() <= np.asarray(stored).max()
    for seed in range(5):
        changed, _ = drawn_patch(stored_as_uint8, config, seed, tumour=True, augment=EVERYTHING)
        assert changed.min() >= 0
        assert changed.max() <= 1.00001
        assert changed.max() > 0.25
    np.testing.assert_array_equal(Tiles(stored_as_uint8, ["case_0"], InputConfig(patch=SHAPE))[0][0], stored)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_any_number_of_threads_gives_the_same_patches(opened, threads):
    assert_equal(batches(opened, threads=threads), batches(opened, threads=2))


def test_what_a_step_sees_does_not_depend_on_where_reading_began(opened):
    whole = batches(opened, count=20)
    for start in (1, 7, 13):
        assert_equal(batches(opened, start=start, count=3), whole[start : start + 3])
    other = batches(opened, seed=1, count=20)
    assert any((left[0] != right[0]).any() for left, right in zip(whole, other, strict=True))


def test_patches_are_drawn_anew_in_each_pass(opened):
    images = np.concatenate([image for image, _ in batches(opened, STILL, count=60, tumour_share=0.0)])
    assert len({image.tobytes() for image in images}) > 60  # of 180, where 48 make a pass


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_patches_around_tumour_is_kept(opened, share):
    config = InputConfig(batch_size=10, patch=(1, 2, 2), tumour_share=share)
    places = training_patches(opened, opened.split["train"], config)
    examples = training_examples(places, config, 0, lambda element, rng: (element, {}))
    iterator = iter(training_batches(examples, config, 0))
    elements = np.concatenate([next(iterator)[0] for _ in range(20)])
    assert elements[:, 1].mean() == pytest.approx(share, abs=0.01)


def test_as_they_come_patches_lie_anywhere(opened):
    (places,) = training_patches(opened, opened.split["train"], InputConfig(patch=(4, 8, 8)))
    assert all(places[place][1] == 0 for place in range(len(places)))
    assert len(places) == 3 * 2 * 8  # of 3 cases and their copies, of which 8 patches make a pass


def test_patches_far_larger_than_all_cases_are_refused(opened):
    with pytest.raises(UserError, match=r"--input.patch: expected sides of .*; received \[4800, 8, 8\]"):
        training_patches(opened, opened.split["train"], InputConfig(patch=(4800, 8, 8)))


def test_larger_volumes_come_up_more_often(uneven):
    (places,) = training_patches(uneven, ["a", "b"], InputConfig(patch=(4, 5, 5)))
    rows = [int(places[place][0]) for place in range(len(places))]
    assert (rows.count(0), rows.count(1)) == (8, 5)  # ceil(720 / 100) and ceil(420 / 100)


def test_copies_are_trained_on_if_they_are_asked_for(opened):
    cases = opened.split["train"]
    for copies in (True, False):
        (places,) = training_patches(opened, cases, InputConfig(patch=(4, 8, 8), copies=copies))
        assert places.items == [(case, copy) for case in cases for copy in ((0, 1) if copies else (0,))]
        assert {int(places[place][0]) for place in range(len(places))} == set(range(len(places.items)))


def test_a_copys_patch_is_cut_from_the_copy(opened):
    case = opened.split["train"][0]
    image, label = drawn_patch(opened, InputConfig(patch=SHAPE), item=(case, 1))
    np.testing.assert_array_equal(image, opened.shard(case, 1).image)
    np.testing.assert_array_equal(label, opened.shard(case, 1).label)
    assert (image != opened.shard(case).image).any()


def test_patches_around_tumour_where_there_is_none_are_refused(command, tmp_path):
    write_brats(tmp_path / "source", [scan(name, ids=(0,)) for name in "ab"])
    options = ("--prepare.size", "[8,8,8]", "--split.fractions", "[1,0,0]", "--workers", 1)
    assert command("data_prep.make_records", "--source", tmp_path / "source", "--out", tmp_path / "r", *options).status == 0
    records = Records(tmp_path / "r")
    for share in (0.5, 1.0):
        with pytest.raises(UserError, match=r"no training case has tumour; set --input\.tumour_share 0"):
            training_patches(records, ["a", "b"], InputConfig(patch=(4, 8, 8), tumour_share=share))
    assert len(training_patches(records, ["a", "b"], InputConfig(patch=(4, 8, 8), tumour_share=0.0))) == 1


def test_a_case_without_tumour_gives_no_patches_around_it(command, tmp_path):
    write_brats(tmp_path / "source", [scan("a"), scan("b", ids=(0,))])
    options = ("--prepare.size", "[8,8,8]", "--split.fractions", "[1,0,0]", "--workers", 1)
    assert command("data_prep.make_records", "--source", tmp_path / "source", "--out", tmp_path / "r", *options).status == 0
    tumour, others = training_patches(Records(tmp_path / "r"), ["a", "b"], InputConfig(patch=(4, 8, 8), tumour_share=0.5))
    assert {int(tumour[place][0]) for place in range(len(tumour))} == {0}
    assert {int(others[place][0]) for place in range(len(others))} == {0, 1}


def test_a_turned_patch_shows_what_lies_around_it_and_no_empty_corner(opened):
    """Patches around tumour, turned, lie in the head; few of them reach over the volume's own edge."""
    turned = AugmentConfig(rank=3, probability=1.0, flips=[], rotate_degrees=45, scale=0, elastic=0, contrast=0, noise=0)
    config = InputConfig(patch=(2, 6, 6))
    labels = [drawn_patch(opened, config, seed, tumour=True, augment=turned)[1] for seed in range(20)]
    assert np.mean([(label > 0).all() for label in labels]) > 0.5


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patch=PATCHES)
def test_tiles_cover_every_voxel_once(uneven, patch):
    tiles = Tiles(uneven, ["a", "b"], InputConfig(patch=patch))
    counts = np.zeros(4, np.int64)
    for place in range(len(tiles)):
        image, labels = tiles[place]
        label = labels[SEGMENTATION]
        assert image.shape == (patch if patch[0] > 1 else patch[1:]) + (4,)
        assert (label.shape, label.dtype, image.dtype) == (image.shape[:-1], np.uint8, np.float32)
        counts += [(label == 1 << bit).sum() for bit in range(4)]
    expected = sum(uneven.cases[case].voxels.sum(axis=0) for case in "ab")
    np.testing.assert_array_equal(counts, expected)


@given(length=st.integers(1, 300), side=st.integers(1, 100))
def test_tiles_of_an_axis_lie_inside_and_count_each_voxel_where_their_border_is_farther(length, side):
    spans = tile_spans(length, side, side_by_side=False)
    assert [place for start, low, high in spans for place in range(start + low, start + high) if 0 <= place < length] == [
        *range(length)
    ]
    assert len(spans) == -(-length // side)
    if length < side:
        assert [tuple(span) for span in spans] == [((length - side) // 2, 0, side)]
        return
    assert (spans[0].start, spans[-1].start) == (0, length - side)
    for one, other in pairwise(spans):
        behind, before = side - one.high, other.low
        assert 0 <= behind - before <= 1


def test_tiles_without_overlap_lie_side_by_side():
    assert [tuple(span) for span in tile_spans(10, 4, side_by_side=True)] == [(-1, 0, 4), (3, 0, 4), (7, 0, 4)]
    assert [tuple(span) for span in tile_spans(10, 4, side_by_side=False)] == [(0, 0, 3), (3, 0, 3), (6, 0, 4)]


def test_tiles_of_one_slice_carry_their_neighbours(opened):
    config = InputConfig(patch=(1, 16, 16), neighbours=1)
    tiles, shard = Tiles(opened, ["case_0"], config), opened.shard("case_0")
    assert len(tiles) == 8
    for number in range(8):
        image, labels = tiles[number]
        np.testing.assert_array_equal(image, with_neighbours(shard.image, np.array([number]), 1)[0])
        np.testing.assert_array_equal(labels[SEGMENTATION], shard.label[number])


def test_sources_of_patches_need_the_size_of_a_patch(opened):
    for make in (lambda: sampler(opened, InputConfig()), lambda: Tiles(opened, ["case_0"], InputConfig())):
        with pytest.raises(ValueError, match="with a patch"):
            make()


def test_copies_of_volumes_are_stored_as_they_were_drawn(command, tmp_path):
    """Rank 3 copies tilt with the case's own spacing, and replay from their JSON file."""
    from common.files import read_json
    from data_prep.augmentation.apply import apply
    from data_prep.augmentation.draw import Augmentation

    source = write_source(tmp_path / "source", cases=1)
    out = tmp_path / "records"
    augment = ("--augment.copies", 1, "--augment.rank", 3, "--augment.tilt_degrees", 20, "--augment.probability", 1)
    options = ("--split.fractions", "[1,0,0]", *SMALL)
    assert command("data_prep.make_records", "--source", source, "--out", out, *augment, *options).status == 0
    records = Records(out)
    drawn = Augmentation.from_dict(read_json(out / "cases" / "case_0.copy1.json", "case")["augmentation"])
    assert drawn.rank == 3
    assert any(drawn.tilt_degrees)
    whole, copy = records.shard("case_0"), records.shard("case_0", 1)
    spacing = records.cases["case_0"].geometry.spacing_mm
    image, label = apply(drawn, np.array(whole.image), np.array(whole.label), unit_range=True, spacing_mm=spacing)
    np.testing.assert_array_equal(copy.image, image)
    np.testing.assert_array_equal(copy.label, label)
    assert CopiesConfig(rank=3, tilt_degrees=20).copies == 0


def test_an_index_holds_the_shard_and_the_foreground_flag_of_each_patch():
    places = PatchIndex([("a", 0), ("b", 1)], [1, 2], tumour=True)
    assert [places[place].tolist() for place in range(len(places))] == [[0, 1], [1, 1], [1, 1]]


@pytest.mark.parametrize(("patch", "margin"), [((8, 10, 12), 3), ((1, 10, 12), 2)])
@pytest.mark.parametrize("tumour", [False, True])
def test_targets_lie_inside_the_margin_of_their_picture(patch, margin, tumour):
    """A numbered volume: the target is the label at the voxels of the inner part, which lie inside the volume."""
    shape = (9, 12, 13)
    records = Numbered(shape, {(2, 3, 4): 1, (7, 11, 12): 2})
    label = records.shard("case", 0).label
    for seed in range(20):
        drawn = PatchSampler(records, [("case", 0)], InputConfig(patch=patch), STILL, margin=margin)
        image, targets = drawn(np.array([0, tumour]), np.random.default_rng(seed))
        target = targets[SEGMENTATION]
        first = 0 if patch[0] == 1 else margin
        assert image.shape[:-1] == (patch if patch[0] > 1 else patch[1:])
        sides = (patch[0] - 2 * first, patch[1] - 2 * margin, patch[2] - 2 * margin)
        assert target.shape == (sides if patch[0] > 1 else sides[1:])
        inner = image[..., 0].reshape(patch)[first : patch[0] - first, margin:-margin, margin:-margin]
        assert (inner > 0).all()
        np.testing.assert_array_equal(target.reshape(sides), label.ravel()[inner.astype(int) - 1])
        assert not tumour or (target > 1).any()


@pytest.mark.parametrize(("patch", "margin"), [((8, 10, 12), 3), ((1, 10, 12), 2)])
def test_tiles_with_margins_cover_every_voxel_once(opened, patch, margin):
    first = 0 if patch[0] == 1 else margin
    tiles = Tiles(opened, ["case_0"], InputConfig(patch=patch), margin=margin)
    shard, size = opened.shard("case_0"), (patch[0] - 2 * first, patch[1] - 2 * margin, patch[2] - 2 * margin)
    total = 0
    for index in range(len(tiles)):
        image, targets = tiles[index]
        start = tuple(span.start for span in tiles.rows[index][1])
        inside = (slice(margin, -margin),) * (image.ndim - 1)
        np.testing.assert_array_equal(np.squeeze(targets[SEGMENTATION]), np.squeeze(cut_patch(shard.label, start, size)))
        np.testing.assert_array_equal(image[inside], np.squeeze(cut_patch(shard.image, start, size)))
        total += int((targets[SEGMENTATION] > 0).sum())
    assert total == int((shard.label > 0).sum())
