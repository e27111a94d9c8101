import numpy as np
import pytest

from common.errors import UserError
from data_prep.records.folder import Records
from tests.scans import scan, write_brats
from tests.training.runs import assert_equal, read_batches, training_sources
from training.data.batches import SEGMENTATION, InputConfig, validation_batches
from training.data.slices import Slices, check_sizes, training_slices, whole_slices


def batches(opened, config, seed=0, start=0, count=20):
    """Some training batches: (image, label) arrays."""
    return read_batches(training_sources(opened, config), config, count, seed, start)


def one_pass(source, config, even=False, passes=1):
    """Whole batches: (image, label) arrays."""
    dataset, count = validation_batches(source, config, unannotated if even else None)
    iterator = iter(dataset)
    return [(image, labels[SEGMENTATION]) for image, labels in (next(iterator) for _ in range(passes * count))]


def unannotated(example):
    return example[0], {head: np.zeros_like(target) for head, target in example[1].items()}


def test_an_example_is_a_slice_of_its_shard(opened):
    source = whole_slices(opened, opened.split["train"], InputConfig())
    assert len(source) == 24
    image, labels = source[8 + 3]
    shard = opened.shard(opened.split["train"][1])
    np.testing.assert_array_equal(image, shard.image[3])
    np.testing.assert_array_equal(labels[SEGMENTATION], shard.label[3])
    assert (image.dtype, labels[SEGMENTATION].dtype) == (np.float16, np.uint8)


def test_neighbours_are_channels(opened):
    case = opened.split["train"][0]
    image, _ = whole_slices(opened, [case], InputConfig(neighbours=1))[0]
    shard = opened.shard(case)
    np.testing.assert_array_equal(image, np.concatenate([shard.image[0], shard.image[0], shard.image[1]], axis=-1))


@pytest.mark.parametrize("share", [None, 0.5])
def test_what_a_step_sees_does_not_depend_on_where_reading_began(opened, share):
    config = InputConfig(batch_size=5, tumour_share=share)
    whole = batches(opened, config, seed=3, count=40)
    for start in (1, 9, 23):  # within the first, the second and a later pass
        assert_equal(batches(opened, config, seed=3, start=start, count=5), whole[start : start + 5])


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_any_number_of_threads_gives_the_same_batches(opened, threads):
    expected = batches(opened, InputConfig(batch_size=4, threads=2), seed=1)
    assert_equal(batches(opened, InputConfig(batch_size=4, threads=threads), seed=1), expected)


def test_the_seed_names_the_order(opened):
    config = InputConfig(batch_size=8)
    first, again, other = (batches(opened, config, seed=seed, count=2) for seed in (0, 0, 1))
    assert_equal(first, again)
    assert any((left[0] != right[0]).any() for left, right in zip(first, other, strict=True))


def fingerprints(images):
    return sorted(image.tobytes() for image in images)


def test_a_pass_shows_every_slice_of_the_training_cases_and_their_copies_once(opened):
    config = InputConfig(batch_size=6)
    passes = [np.concatenate([image for image, _ in batches(opened, config, start=8 * number, count=8)]) for number in (0, 1)]
    shards = [opened.shard(case, copy) for case in opened.split["train"] for copy in (0, 1)]
    expected = fingerprints(image for shard in shards for image in shard.image)
    assert fingerprints(passes[0]) == fingerprints(passes[1]) == expected
    assert (passes[0] != passes[1]).any()


def test_other_cases_and_their_copies_are_never_trained_on(opened):
    config = InputConfig()
    for fold in range(len(opened.folds)):
        train = opened.subset("train", fold)
        (source,) = training_slices(opened, train, config)
        seen = {image.tobytes() for image, _ in (source[place] for place in range(len(source))) if image.any()}
        for case in set(opened.cases) - set(train):
            for copy in range(opened.copies_of(case) + 1):
                assert seen.isdisjoint(image.tobytes() for image in opened.shard(case, copy).image)


def test_validation_sees_no_copies(opened):
    case = opened.split["validation"][0]
    assert opened.copies_of(case) == 1
    assert len(whole_slices(opened, [case], InputConfig())) == 8


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_the_share_of_slices_with_tumour_is_kept(opened, share):
    labels = np.concatenate([label for _, label in batches(opened, InputConfig(batch_size=10, tumour_share=share), count=40)])
    assert (labels > 1).any(axis=(1, 2)).mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_tumour_alone_and_none_at_all_are_legal_shares(opened, share):
    labels = np.concatenate([label for _, label in batches(opened, InputConfig(batch_size=10, tumour_share=share), count=5)])
    assert set((labels > 1).any(axis=(1, 2))) == {bool(share)}


def test_as_they_come_every_slice_counts_alike(opened):
    (source,) = training_slices(opened, opened.split["train"], InputConfig())
    assert len(source) == 3 * 2 * 8


def test_slices_without_brain_can_be_left_out(opened):
    (source,) = training_slices(opened, opened.split["train"], InputConfig(drop_empty=True))
    assert len(source) == 3 * 2 * 6
    assert all(image.any() for image, _ in (source[place] for place in range(len(source))))


def test_drop_empty_keeps_the_share_of_tumour(opened):
    tumour, others = training_slices(opened, opened.split["train"], InputConfig(drop_empty=True, tumour_share=0.5))
    assert all((labels[SEGMENTATION] > 1).any() for _, labels in (tumour[place] for place in range(len(tumour))))
    assert not any((labels[SEGMENTATION] > 1).any() for _, labels in (others[place] for place in range(len(others))))
    assert len(tumour) + len(others) == 3 * 2 * 6


def test_a_share_of_tumour_without_tumour_is_refused(command, tmp_path):
    made = [scan(name, ids=(0,)) for name in "ab"]
    write_brats(tmp_path / "source", made)
    options = ("--prepare.size", "[8,8,8]", "--split.fractions", "[1,0,0]", "--workers", 1)
    assert command("data_prep.make_records", "--source", tmp_path / "source", "--out", tmp_path / "r", *options).status == 0
    opened = Records(tmp_path / "r")
    with pytest.raises(UserError, match="no slices to train on"):
        training_slices(opened, ["a", "b"], InputConfig(tumour_share=0.5))


@pytest.mark.parametrize("even", [False, True])
def test_whole_batches_show_every_slice_in_order(opened, even):
    config = InputConfig(batch_size=7)
    source = whole_slices(opened, opened.split["train"], config)
    found = one_pass(source, config, even)
    images, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    shards = [opened.shard(case) for case in opened.split["train"]]
    np.testing.assert_array_equal(images[:24], np.concatenate([shard.image for shard in shards]))
    np.testing.assert_array_equal(labels[:24], np.concatenate([shard.label for shard in shards]))
    assert [len(image) for image, _ in found] == [7, 7, 7, 7 if even else 3]
    assert not labels[24:].any()
    assert len(images) == (28 if even else 24)


def test_a_second_pass_equals_the_first(opened):
    config = InputConfig(batch_size=7)
    both = one_pass(whole_slices(opened, opened.split["train"], config), config, passes=2)
    assert_equal(both[:4], both[4:])


def test_even_adds_nothing_where_batches_are_full(opened):
    config = InputConfig(batch_size=8)
    source = whole_slices(opened, opened.split["train"], config)
    assert [len(image) for image, _ in one_pass(source, config, even=True)] == [8, 8, 8]


def test_slices_of_several_sizes_are_fitted_to_one(uneven):
    config = InputConfig(size=(8, 16), batch_size=13)
    ((image, label),) = one_pass(whole_slices(uneven, ["a", "b"], config), config)
    assert image.shape == (13, 8, 16, 4)
    np.testing.assert_array_equal(label[0, :, 3:13], uneven.shard("a").label[0, :8])
    np.testing.assert_array_equal(label[8, :7, 2:14], uneven.shard("b").label[0])
    assert not label[8, 7].any()


def test_sizes_that_differ_need_one(uneven):
    with pytest.raises(UserError, match=r"slices differ in size .*--input\.size"):
        check_sizes(uneven, ["a", "b"], InputConfig(), 1)
    check_sizes(uneven, ["a", "b"], InputConfig(size=(8, 8)), 8)
    check_sizes(uneven, ["a"], InputConfig(), 1)


@pytest.mark.parametrize(("size", "stride", "hint"), [(None, 4, "[12, 12]"), ((16, 20), 8, "[16, 24]")])
def test_sizes_that_the_network_cannot_halve_are_refused(uneven, size, stride, hint):
    with pytest.raises(UserError) as error:
        check_sizes(uneven, ["a"], InputConfig(size=size), stride)
    assert f"multiples of {stride}, such as {hint}" in str(error.value)


def test_a_source_reads_one_slice_at_a_time(opened):
    rows = np.array([[0, 5], [0, 2]])
    source = Slices(opened, [("case_0", 0)], rows, InputConfig())
    assert len(source) == 2
    np.testing.assert_array_equal(source[1][0], opened.shard("case_0").image[2])
