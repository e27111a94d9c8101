"""Random augmentation parameters: keyed by seed, independent of each other, checked."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import cli
from common.errors import UserError
from data_prep.augmentation.draw import Augmentation, AugmentConfig, CopiesConfig, case_rng, draw
from tests.data_prep.augmentation.synthetic import EVERYTHING, OFF

PER_CHANNEL = ("brightness", "contrast", "gamma", "sources", "bias", "blur", "erase", "erase_levels")
UNEQUAL = {"bias_seed": 0, "erase_tumour": False, "erase_at": 0.0, "fade": 0.0}  # drawn after what is drawn per channel


def test_nothing_is_drawn_where_all_is_switched_off():
    config = AugmentConfig(flips=[], rotate_degrees=0, scale=0, elastic=0, brightness=0, contrast=0, gamma=0, noise=0)
    drawn = draw(config, case_rng(0, "a", 1))
    assert replace(drawn, elastic_seed=1, noise_seed=1) == OFF
    assert draw(AugmentConfig(probability=0.0), case_rng(0, "a", 1)) == drawn


def test_draws_are_keyed_by_seed_case_and_copy():
    drawn = {key: draw(EVERYTHING, case_rng(*key)) for key in [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2)]}
    assert len({repr(augmentation) for augmentation in drawn.values()}) == 4
    for key in reversed(drawn):
        assert draw(EVERYTHING, case_rng(*key)) == drawn[key]
    # Pinned: another Python, machine or order must draw the same.
    assert case_rng(0, "a", 1).integers(1000, size=3).tolist() == [25, 915, 24]


def test_one_switch_leaves_the_other_draws_as_they_are():
    full, calm = (
        draw(EVERYTHING, case_rng(0, "a", 1)),
        draw(replace(EVERYTHING, noise=0, rotate_degrees=0), case_rng(0, "a", 1)),
    )
    assert replace(calm, noise=full.noise, rotate_degrees=full.rotate_degrees) == full
    assert (calm.noise, calm.rotate_degrees) == (0, 0)
    few = draw(EVERYTHING, case_rng(0, "a", 1), channels=2)
    per_channel = dict.fromkeys(PER_CHANNEL, ()) | UNEQUAL
    assert replace(few, **per_channel) == replace(full, **per_channel)


def test_volumes_draw_what_pictures_draw_and_tilts_besides():
    picture = draw(EVERYTHING, case_rng(0, "a", 1))
    volume = draw(replace(EVERYTHING, rank=3, tilt_degrees=20.0), case_rng(0, "a", 1))
    assert all(0 < abs(degrees) <= 20 for degrees in volume.tilt_degrees)
    assert replace(volume, rank=2, tilt_degrees=(0.0, 0.0)) == picture


def test_probability_is_that_of_each_change():
    drawn = [draw(AugmentConfig(probability=0.3), case_rng(seed, "a", 1)) for seed in range(400)]
    for happened in (
        [bool(a.rotate_degrees) for a in drawn],
        [a.scale != 1 for a in drawn],
        [bool(a.elastic) for a in drawn],
        ["x" in a.flips for a in drawn],
        [any(a.brightness) for a in drawn],
    ):
        assert 0.2 < np.mean(happened) < 0.4
    assert not any("z" in a.flips for a in drawn)


@given(seed=st.integers(0, 10_000), crop=st.floats(0, 0.9))
def test_windows_of_a_crop_lie_inside_the_picture(seed, crop):
    drawn = draw(AugmentConfig(crop=crop, probability=1.0), np.random.default_rng(seed), channels=3)
    for share, middle in zip(drawn.crop, drawn.crop_at, strict=True):
        assert 1 - crop - 1e-9 <= share <= 1
        assert abs(middle) + share / 2 <= 0.5 + 1e-9


def test_neighbouring_slices_are_changed_alike():
    drawn = draw(
        AugmentConfig(fill=0.5, fill_from=1, probability=1.0, bias=0.2, blur=1.0, erase=0.3),
        np.random.default_rng(3),
        channels=2,
    )
    wide = drawn.with_neighbours(1)
    assert wide.contrast == drawn.contrast * 3
    assert (wide.bias, wide.blur, len(wide.bias)) == (drawn.bias * 3, drawn.blur * 3, 6)
    assert (wide.erase, wide.erase_levels) == (drawn.erase, drawn.erase_levels * 3)
    assert wide.sources == tuple(2 * place + source for place in range(3) for source in drawn.sources)
    assert wide.crop == drawn.crop
    assert drawn.with_neighbours(0) == drawn


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("copies", -1),
        ("flips", ["x", "q"]),
        ("rotate_degrees", -15.0),
        ("scale", 1.0),
        ("gamma", 1.5),
        ("elastic_sigma", 0.5),
        ("noise", -0.1),
        ("probability", 1.1),
        ("fill", 1.1),
        ("crop", 1.0),
        ("erase", 1.0),
        ("fade", 1.0),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UserError, match=f"augment.{name}: expected"):
        CopiesConfig(**{name: value})
    with pytest.raises(UserError, match=f"augment.{name}: expected"):
        cli.parse(CopiesConfig, [f"--{name}={json.dumps(value)}"])


def test_pictures_are_not_tilted():
    with pytest.raises(UserError, match=r"augment\.tilt_degrees: turns volumes, so it needs --augment\.rank 3"):
        AugmentConfig(tilt_degrees=10.0)


def test_augmentations_from_before_there_were_volumes_are_of_pictures():
    values = asdict(replace(OFF, rotate_degrees=5.0))
    for name in ("rank", "tilt_degrees", "bias", "bias_seed", "blur", "fade", *(name for name in values if "erase" in name)):
        del values[name]
    assert Augmentation.from_dict(values) == replace(OFF, rotate_degrees=5.0)


@pytest.mark.parametrize("rank", [2, 3])
def test_geometry_and_noise_do_not_depend_on_the_number_of_channels(rank):
    config = replace(EVERYTHING, rank=rank, tilt_degrees=20.0 if rank == 3 else 0.0, crop=0.2, fill=0.5)
    drawn = [draw(config, case_rng(0, "a", 1), channels) for channels in (1, 4, 12)]
    drawn.append(draw(config, case_rng(0, "a", 1), 4).with_neighbours(1))
    per_channel = dict.fromkeys(PER_CHANNEL, ()) | UNEQUAL
    assert len({replace(augmentation, **per_channel) for augmentation in drawn}) == 1
    assert [len(augmentation.sources) for augmentation in drawn] == [1, 4, 12, 12]
    assert any(drawn[0].tilt_degrees) == (rank == 3)
