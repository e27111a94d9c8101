"""Preparation to a voxel size, with intensities per channel and statistics of the head."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from common import cli
from common.errors import UserError
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig, fit_scaling, prepare
from data_prep.records.folder import Records
from data_prep.scans.case import Case, CaseFiles
from tests.scans import scan, write_table

SCHEMA = LabelSchema.load("binary")
WHOLE = PrepareConfig(crop=None, size=None)
THICK = np.array([[-0.5, 0, 0, 30], [0, 0, 3.0, -20], [0, 0.5, 0, 5], [0, 0, 0, 1]])  # thick coronal slices, left-handed


def head(shape=(48, 44, 10), affine=THICK):
    """CT and T1 of a ball of a head in air, with a tumour: CT in Hounsfield units, T1 with noise in the air."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    offsets = [(np.arange(n) - (n - 1) / 2) * length for n, length in zip(shape, lengths, strict=True)]
    radius = np.sqrt(sum(part**2 for part in np.meshgrid(*offsets, indexing="ij")))
    rng = np.random.default_rng(0)
    t1 = np.where(radius < 10, 300, 0) + rng.integers(1, 12, shape) + rng.normal(0, 10, shape) * (radius < 10)
    ct = np.where(radius < 10, np.where(radius > 9, 1200, 40), -1000)
    images = {"CT": ct.astype(np.int16), "T1": np.maximum(t1, 0).astype(np.int16)}
    label = (radius < 4).astype(np.uint8)
    return Case(CaseFiles("a", "a", dict.fromkeys(images)), images, label, affine, shape)


def test_scans_get_the_wanted_voxels_and_the_label_its_volume():
    case = head()
    prepared = prepare(case, SCHEMA, replace(WHOLE, spacing_mm=1.0))
    assert prepared.image.shape == (22, 30, 24, 2)
    assert prepared.grid.spacing_mm == pytest.approx((1, 1, 1))
    assert prepared.grid.native_shape == case.shape
    volume = np.count_nonzero(prepared.label == 2)
    assert volume == pytest.approx(case.label.sum() * 0.5 * 0.5 * 3, rel=0.2)
    back = prepared.grid.label_to_native((prepared.label == 2).astype(np.uint8))
    assert 2 * np.sum(back & case.label) / (back.sum() + case.label.sum()) > 0.85


def test_a_voxel_size_per_axis_is_that_of_slices_rows_and_columns():
    prepared = prepare(head(), SCHEMA, replace(WHOLE, spacing_mm=(0.5, 3.0, 1.0)))
    assert prepared.grid.spacing_mm == pytest.approx((0.5, 3.0, 1.0))
    assert prepared.image.shape[:3] == (44, 10, 24)


def test_a_scan_without_voxel_size_is_refused():
    case = replace(head(), affine=None)
    with pytest.raises(UserError, match=r"a: has no voxel size, so --prepare.spacing_mm cannot be used"):
        prepare(case, SCHEMA, replace(WHOLE, spacing_mm=1.0))


def test_the_crop_is_taken_of_resampled_voxels():
    config = replace(WHOLE, spacing_mm=1.0)
    whole = prepare(head(), SCHEMA, config)
    cut = prepare(head(), SCHEMA, replace(config, crop="middle", size=(8, 8, 8)))
    np.testing.assert_array_equal(cut.image, cut.geometry.cut(whole.image))
    np.testing.assert_array_equal(cut.label, cut.geometry.cut(whole.label))


def test_each_channel_has_its_own_intensity():
    config = replace(WHOLE, intensity={"CT": "window", "T1": "zscore"}, window=(-160, 240), statistics="head")
    case = head()
    prepared = prepare(case, SCHEMA, config)
    ct = prepared.geometry.reorient(case.channels["CT"]).astype(np.float64)
    np.testing.assert_allclose(prepared.image[..., 0], np.clip((ct + 160) / 400, 0, 1), atol=1e-3)
    t1 = prepared.image[..., 1].astype(np.float64)
    inside = prepared.geometry.reorient(case.channels["T1"]) > 150
    assert abs(t1[inside].mean()) < 0.1
    assert t1[inside].std() == pytest.approx(1, abs=0.2)
    assert (config.unit_range, config.network_range) == (False, "zscore")
    with pytest.raises(UserError, match=r"expected one for channel T2"):
        fit_scaling(case.channels["T1"], config, "T2")


@pytest.mark.parametrize("intensity", ["minmax", "zscore", "median"])
def test_statistics_of_the_head_ignore_the_air(intensity):
    case = head()
    t1 = case.channels["T1"]
    inside = t1[t1 > 150].astype(np.float64)
    scaling = fit_scaling(t1, replace(WHOLE, intensity=intensity, statistics="head"))
    expected = {"minmax": np.ptp(inside), "zscore": inside.std(), "median": np.median(inside)}[intensity]
    assert scaling.spread == pytest.approx(expected, rel=0.2)
    other = fit_scaling(t1, replace(WHOLE, intensity="zscore"))
    assert other.spread > 5 * inside.std()  # the air is non-zero, and counts


def test_zero_of_a_ct_is_water_not_background():
    ct = head().channels["CT"]
    assert not fit_scaling(ct, replace(WHOLE, intensity="zscore", statistics="head")).keep_zero
    assert fit_scaling(np.abs(ct), replace(WHOLE, intensity="zscore", statistics="head")).keep_zero


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intensity": "window"}, "--prepare.intensity: window needs --prepare.window"),
        ({"window": (0, 1)}, "give --prepare.window null"),
        ({"spacing_mm": (1, 1, 1000)}, "--prepare.spacing_mm: expected 0.05 to 25; received 1000"),
        ({"intensity": "window", "window": (5, 5)}, "expected two rising values"),
        ({"spacing_mm": 0.0}, "expected 0.05 to 25"),
        ({"spacing_mm": (1.0, -1.0, 1.0)}, "expected 0.05 to 25"),
        ({"intensity": {"CT": "minmax"}}, "expected one for channel T1; received CT"),
        ({"intensity": {"CT": "minmax", "T1": "zscore"}, "dtype": "uint8"}, "uint8 holds 0..1 alone"),
    ],
)
def test_contradictions_are_one_line(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        replace(WHOLE, **changes).of_channels(["CT", "T1"]).check()
    assert len(str(caught.value).splitlines()) == 1


def test_intensities_of_absent_channels_are_passed_over():
    both = replace(WHOLE, intensity={"CT": "window", "T1": "zscore"}, window=(-160.0, 240.0))
    assert both.of_channels(["T1"]) == replace(WHOLE, intensity={"T1": "zscore"}, window=None)
    assert both.of_channels(["T1", "CT"]) == replace(both, intensity={"T1": "zscore", "CT": "window"})
    assert WHOLE.of_channels(["T1"]) == WHOLE


def test_older_manifests_and_fingerprints_stay_as_they_were():
    assert list(PrepareConfig().to_dict()) == ["intensity", "clip", "crop", "size", "dtype"]
    changed = replace(WHOLE, spacing_mm=1.0, intensity={"CT": "window", "T1": "zscore"}, window=(-160.0, 240.0))
    stored = json.loads(json.dumps(changed.to_dict()))
    assert set(stored) == {"spacing_mm", "intensity", "window", "clip", "crop", "size", "dtype"}
    assert cli.from_dict(PrepareConfig, stored, "x") == changed
    assert cli.from_dict(PrepareConfig, json.loads(json.dumps(asdict(changed))), "x") == changed


def test_records_of_a_voxel_size_are_built_and_hold_the_way_back(command, tmp_path):
    made = [scan(name, shape=(16, 14, 6), ids=(0, 1), channels=("CT", "T1"), affine=THICK) for name in "abc"]
    table = write_table(tmp_path / "source", made)
    options = (
        "--prepare.spacing_mm",
        1.5,
        "--prepare.intensity",
        '{"CT": window, "T1": zscore}',
        "--prepare.window",
        "[0, 500]",
    )
    options += ("--prepare.crop", "null", "--prepare.size", "null", "--workers", 1)
    done = command("data_prep.make_records", "--source", table, "--out", tmp_path / "records", *options)
    assert done.status == 0, done.err
    records = Records(tmp_path / "records")
    facts = records.cases["a"]
    assert facts.grid.resampling is not None
    assert facts.grid.native_shape == (16, 14, 6)
    assert facts.shape == facts.grid.geometry.size == (5, 12, 5)
    assert records.preparation.intensity == {"CT": "window", "T1": "zscore"}
    again = command("data_prep.make_records", "--source", table, "--out", tmp_path / "records", *options)
    assert again.status == 0, again.err
    other = command("data_prep.make_records", "--source", table, "--out", tmp_path / "records", *options[2:])
    assert other.status == 2
    assert any("prepare.spacing_mm was 1.5 and is now None" in line for line in other.errors)
