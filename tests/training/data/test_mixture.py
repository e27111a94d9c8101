"""Mixtures of records folders: shares, an order that is a function of (seed, step), and folders that do not go together."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import UserError
from data_prep.records.folder import Records
from tests.training.runs import assert_equal, read_batches
from training.config import RecordsConfig, TrainConfig
from training.data.batches import CLASSIFICATION, InputConfig
from training.data.mixture import open_mixture, open_records, with_input_size
from training.heads.classification import ClassificationHead
from training.heads.segmentation import SegmentationHead

SHARE = 0.75


def make(command, source, out, *options):
    common = ("--workers", 1, "--split.fractions", "[0.6,0.4,0]")
    done = command("data_prep.make_records", "--source", source, "--out", out, *common, *options)
    assert done.status == 0, done.err
    return out


@pytest.fixture(scope="module")
def others(source, command, tmp_path_factory):
    """Records of the same scans as bytes, so that another folder stands beside `records`."""
    return make(
        command, source, tmp_path_factory.mktemp("others") / "r", "--prepare.size", "[8,16,16]", "--prepare.dtype", "uint8"
    )


def config(*folders, **changes):
    settings = InputConfig(batch_size=4, **changes)
    return TrainConfig(records=list(folders), input=settings, seed=7)


def opened(settings, heads=None):
    records = open_records(settings)
    return open_mixture(settings, records, heads or settings.make_heads(records))


def batches(data, settings, start=0, count=12):
    iterator = iter(data.training_batches(settings, start))
    return [(image, *targets.values()) for image, targets in (next(iterator) for _ in range(count))]


def with_slices(*sizes):
    """Stand-in of records: cases with slices of these sizes."""
    return SimpleNamespace(cases={str(size): SimpleNamespace(shape=(3, *size)) for size in sizes})


def test_slices_are_padded_to_what_the_network_can_halve(capsys):
    settings = config("r")
    settings.model.depth = 3
    padded = with_input_size(settings, [with_slices((20, 30)), with_slices((16, 40), (17, 17))])
    assert padded.input == replace(settings.input, size=(24, 40))
    assert settings.input.size is None
    assert capsys.readouterr().out == "slices of between 16 x 40 and 20 x 30 are zero-padded to 24 x 40 (--input.size)\n"


@pytest.mark.parametrize("given", [{}, {"size": (8, 8)}, {"patch": (1, 8, 8)}])
def test_slices_that_fit_and_sizes_that_are_given_stay(given, capsys):
    settings = config("r", **given)
    sizes = [(48, 32)] if not given else [(48, 33), (20, 20)]
    assert with_input_size(settings, [with_slices(*sizes)]) is settings
    assert not capsys.readouterr().out


def test_slices_that_are_resized_are_padded_to_one_size_alone():
    settings = config("r", resize=(16, 16))
    assert with_input_size(settings, [with_slices((20, 30), (21, 9))]).input.size == (21, 30)


@pytest.mark.parametrize("share", [None, 0.5])
def test_one_folder_is_read_in_the_order_of_its_seed(records, share):
    settings = config(records, tumour_share=share)
    data = opened(settings)
    alone = read_batches(data.folders[0].sources, settings.input, count=6, seed=settings.seed, start=3)
    assert_equal(batches(data, settings, 3, 6), alone)


def test_each_folder_gives_its_share_of_the_batches(records, others):
    settings = config(RecordsConfig(records, SHARE), RecordsConfig(others, 1 - SHARE))
    data = opened(settings)
    pictures = [{image.tobytes() for source in folder.sources for image, _ in source} for folder in data.folders]
    images = [image.tobytes() for batch in batches(data, settings, count=40) for image in batch[0] if image.any()]
    first = sum(image in pictures[0] for image in images)
    assert all((image in pictures[0]) != (image in pictures[1]) for image in images)
    assert first / len(images) == pytest.approx(SHARE, abs=0.08)  # slices without brain are not counted


@pytest.mark.parametrize("patch", [None, (4, 8, 8)])
def test_what_a_step_reads_does_not_depend_on_where_reading_began(records, others, patch):
    settings = config(RecordsConfig(records, SHARE), RecordsConfig(others, 1 - SHARE), patch=patch)
    data = opened(settings)
    whole = batches(data, settings, count=20)
    for start in (1, 9):
        assert_equal(batches(data, settings, start, 5), whole[start : start + 5])
    assert_equal(batches(opened(settings), settings, 0, 5), whole[:5])


def test_all_folders_are_validated(records, others):
    settings = config(records, others)
    data = opened(settings)
    found, steps = data.validation_batches(settings, even=False)
    iterator = iter(found)
    images = np.concatenate([next(iterator)[0] for _ in range(steps)])
    shards = [folder.records.shard(case).image for folder in data.folders for case in folder.validation]
    np.testing.assert_array_equal(images, np.concatenate([np.asarray(shard) for shard in shards]))
    assert data.validation_batches(replace(settings, validate=False), even=False) == (None, None)


def test_a_2d_network_of_patches_is_validated_on_padded_slices(records):
    settings = config(records, patch=(1, 8, 8))
    settings.model.depth = 5
    found, _ = opened(settings).validation_batches(settings, even=False)
    assert next(iter(found))[0].shape[1:3] == (32, 32)


def test_a_folder_annotates_the_heads_that_it_names(records, others):
    grade = ClassificationHead("grade", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]}, slices_with_tumour=False)
    settings = config(RecordsConfig(records, 0.5, ["a"]), RecordsConfig(others, 0.5, ["b", "grade"]))
    schema = Records(records).schema
    heads = {"a": SegmentationHead("a", schema), "b": SegmentationHead("b", schema), "grade": grade}
    data = opened(settings, heads)
    iterator = iter(data.training_batches(settings, 0))
    seen = set()
    for _ in range(12):
        _, targets = next(iterator)
        assert list(targets) == ["a", "b", "grade"]
        for first, second, index in zip(targets["a"], targets["b"], targets["grade"], strict=True):
            assert not (first.any() and second.any())
            assert first.any() == (index[0] == -1)
            seen.add(float(index[0]))
    assert seen == {-1.0, 0.0, 1.0}
    found, steps = data.validation_batches(settings, even=True)
    iterator = iter(found)
    last = [next(iterator)[1] for _ in range(steps)][-1]
    assert [len(target) for target in last.values()] == [4, 4, 4]


def test_slices_that_fill_a_batch_are_not_annotated(records):
    grade = ClassificationHead(CLASSIFICATION, "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})
    settings = config(records)
    data = opened(replace(settings, input=InputConfig(batch_size=3)), {CLASSIFICATION: grade})
    found, steps = data.validation_batches(replace(settings, input=InputConfig(batch_size=3)), even=True)
    iterator = iter(found)
    indices = np.concatenate([next(iterator)[1][CLASSIFICATION] for _ in range(steps)])[:, 0]
    assert len(indices) == 6  # four slices with tumour, and two to fill the batch
    assert (indices[4:] == -1).all()
    assert (indices[:4] >= 0).all()


@pytest.mark.parametrize(
    ("options", "changes", "said"),
    [
        (("--prepare.size", "[8,12,12]"), {}, "size [8, 16, 16]; received [8, 12, 12]"),
        (("--prepare.size", "[8,16,16]", "--prepare.intensity", "zscore"), {}, "intensity minmax; received zscore"),
        (("--prepare.size", "[8,16,16]", "--channels", '["t1","t2"]'), {}, "choose those of both by --input.channels"),
        (("--prepare.size", "[8,16,16]", "--channels", '["t1","t2"]'), {"channels": ["flair"]}, "received flair"),
    ],
)
def test_folders_that_do_not_go_together_are_refused(records, source, command, tmp_path, options, changes, said):
    other = make(command, source, tmp_path / "r", *options)
    with pytest.raises(UserError) as error:
        open_records(config(records, other, **changes))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_folders_with_common_channels_go_together(records, source, command, tmp_path):
    other = make(command, source, tmp_path / "r", "--prepare.size", "[8,16,16]", "--channels", '["t1","t2"]')
    settings = config(records, other, channels=["t2", "t1"])
    assert [each.channels for each in open_records(settings)] == [["t2", "t1"]] * 2
    assert batches(opened(settings), settings, count=1)[0][0].shape == (4, 16, 16, 2)


def test_heads_that_no_folder_annotates_are_refused(records):
    with pytest.raises(UserError, match="received mets, so no folder annotates segmentation"):
        opened(config(RecordsConfig(records, 1.0, ["mets"])))
    with pytest.raises(UserError, match="received none, so no folder annotates segmentation"):
        opened(config(RecordsConfig(records, 1.0, [])))
