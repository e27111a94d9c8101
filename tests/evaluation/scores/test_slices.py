"""Slices that a run is scored on: all of a subset, those with tumour, those of a slice split, and empty subsets."""

import json
import shutil
from dataclasses import replace

import pytest

from common.errors import UserError
from data_prep.records.folder import Records
from evaluation.scores.slices import scored_slices
from training.data.batches import CLASSIFICATION, SEGMENTATION
from training.run import Run


def pairs(slices):
    """(case, slice number) of every slice."""
    return [(slices.items[item][0], int(number)) for item, number in slices.rows]


def all_pairs(records, cases):
    return [(case, number) for case in cases for number in range(len(records.cases[case].voxels))]


@pytest.mark.parametrize("subset", ["train", "validation", "test"])
def test_a_segmentation_is_scored_on_every_slice(trained, records, subset):
    opened = Records(records)
    assert pairs(scored_slices(Run(trained), opened, subset, SEGMENTATION)) == all_pairs(opened, opened.split[subset])


def test_a_run_on_patches_is_scored_on_slices_that_it_can_halve(trained, records):
    run = Run(trained)
    run.config = replace(run.config, input=replace(run.config.input, patch=(1, 8, 8)), model=replace(run.config.model, depth=5))
    image, targets = scored_slices(run, Records(records), "validation", SEGMENTATION)[0]
    assert image.shape[:2] == targets[SEGMENTATION].shape == (32, 32)


@pytest.mark.parametrize(("size", "expected"), [((8, 16), (16, 16)), ((24, 16), (24, 16))])
def test_slices_larger_than_those_of_the_training_are_scored_whole(trained, records, size, expected):
    run = Run(trained)
    run.config = replace(run.config, input=replace(run.config.input, size=size))
    image, targets = scored_slices(run, Records(records), "validation", SEGMENTATION)[0]
    assert image.shape[:2] == targets[SEGMENTATION].shape == expected


def test_a_classifier_of_slices_with_tumour_is_scored_on_those(classified, records):
    opened = Records(records)
    every = all_pairs(opened, opened.split["train"])
    expected = [(case, number) for case, number in every if opened.cases[case].voxels[number, 1:].any()]
    assert pairs(scored_slices(Run(classified), opened, "train", CLASSIFICATION)) == expected
    assert len(expected) < len(every)


def test_validation_slices_of_a_slice_split_are_those_of_the_training(trained, records):
    run, opened = Run(trained), Records(records)
    run.config = replace(run.config, split="slice")
    found, mixed = (
        pairs(scored_slices(run, opened, "validation", SEGMENTATION)),
        {*opened.split["train"], *opened.split["validation"]},
    )
    assert {case for case, _ in found} == mixed
    assert 0 < len(found) < len(all_pairs(opened, mixed))
    assert pairs(scored_slices(run, opened, "test", SEGMENTATION)) == all_pairs(opened, opened.split["test"])


def test_a_subset_without_cases_is_refused(trained, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = json.loads((copy / "dataset.json").read_text())
    manifest["split"]["test"] = []
    (copy / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="subset test has no case; choose another --subset: "):
        scored_slices(Run(trained), Records(copy), "test", SEGMENTATION)
