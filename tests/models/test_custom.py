"""Custom models: found by its import path, built from shape and classes, refused in a line where it does not fit."""

import numpy as np
import pytest

from common import cli
from common.errors import UserError
from models.custom import CustomConfig
from training.config import TrainConfig

MADE = "tests.models.custom_networks"


def custom(name="tiny", **options):
    return CustomConfig(name=f"{MADE}:{name}", **{"stride": 2} | options)


def test_logits_are_those_of_the_model_itself():
    import keras

    from tests.models.custom_networks import tiny

    keras.utils.set_random_seed(0)
    network = custom(args={"filters": 5}).build(3, {"segmentation": 4})
    keras.utils.set_random_seed(0)
    expected = tiny((None, None, 3), 4, filters=5)
    image = np.random.default_rng(0).standard_normal((2, 8, 6, 3)).astype(np.float32)
    found = network.predict_on_batch(image)
    np.testing.assert_array_equal(found["segmentation"], expected.predict_on_batch(image))
    assert network.count_params() == expected.count_params()


def test_probabilities_become_logits_that_have_them_as_their_softmax():
    import keras

    network = custom("softmaxed", outputs="probabilities").build(3, {"segmentation": 4})
    image = 100 * np.random.default_rng(0).standard_normal((2, 8, 6, 3)).astype(np.float32)
    logits = network.predict_on_batch(image)["segmentation"]
    assert np.isfinite(logits).all()
    given = network.layers[1].predict_on_batch(image)
    assert given.min() < 1e-12  # even of what is all but impossible
    np.testing.assert_allclose(keras.ops.softmax(logits), given, atol=1e-6)


def test_one_size_alone_is_what_the_model_is_built_for():
    network = custom(input_size=[8, 6]).build(3, {"segmentation": 4})
    assert network.input.shape == (None, 8, 6, 3)


@pytest.mark.parametrize(
    ("options", "patch", "expected"),
    [
        ({}, None, None),
        ({}, (1, 8, 8), None),
        ({"input_size": [8, 6]}, None, (1, 8, 6)),
        ({"rank": 3}, (4, 8, 8), (4, 8, 8)),
        ({"rank": 3, "input_size": [4, 8, 6]}, (4, 8, 6), (4, 8, 6)),
    ],
)
def test_prediction_shows_patches_of_the_size_that_the_model_takes(options, patch, expected):
    assert custom(**options).prediction_patch(patch) == expected


@pytest.mark.parametrize("name", ["nowhere.at_all:tiny", ":tiny", "tests.models.custom_networks"])
def test_a_package_that_is_not_there_is_told_in_a_line(name):
    with pytest.raises(UserError, match=r"expected package\.module:callable of a package or of a module") as caught:
        CustomConfig(name=name).check()
    assert f"--model.name {name}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{MADE}:missing", "missing"),
        (f"{MADE}.nowhere:tiny", "nowhere"),
        (f"{MADE}:NOT_CALLABLE", "something that can be called; found int"),
    ],
)
def test_what_its_package_does_not_have_is_told_in_a_line(name, words):
    with pytest.raises(UserError, match=words) as caught:
        CustomConfig(name=name).build(3, {"segmentation": 4})
    assert f"--model.name {name}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("picky", "no model for 4 classes, and none for"),
        ("half_as_large", r"expected outputs \(\.\.\., 4\) of rank 2; received \(None, None, None, 2\)"),
        ("no_model", "expected a keras.Model; received list"),
        ("renamed", "classes"),
    ],
)
def test_a_model_that_does_not_fit_is_told_in_a_line(name, words):
    config = custom(name)
    config.check()
    with pytest.raises(UserError, match=words) as caught:
        config.build(3, {"segmentation": 4})
    assert "\n" not in str(caught.value)


def test_arguments_that_the_model_does_not_take_are_told_in_a_line():
    with pytest.raises(UserError, match=r"cannot be built with input_shape.*colour"):
        custom(args={"colour": "red"}).build(3, {"segmentation": 4})


@pytest.mark.parametrize(("rank", "size"), [(2, [8]), (2, [4, 8, 8]), (3, [8, 8])])
def test_a_size_has_as_many_numbers_as_the_model_has_axes(rank, size):
    with pytest.raises(UserError, match=rf"--model\.input_size: expected {rank} numbers"):
        custom(rank=rank, input_size=size).check()


def test_a_size_is_larger_than_both_margins():
    with pytest.raises(UserError, match=r"--model\.input_size: expected numbers of more than 6, twice model\.margin; received"):
        custom(input_size=[16, 6], margin=3).check()
    custom(input_size=[16, 7], margin=3).check()
    with pytest.raises(UserError, match=r"--model\.input_size: expected numbers of at least 1"):
        custom(input_size=[16, 0]).check()


def test_an_import_path_is_a_name_on_the_command_line_and_in_a_runs_config(tmp_path):
    options = ["--model.name", f"{MADE}:tiny", "--model.args", '{"filters": 5}', "--model.rank", "3", "--model.stride", "4"]
    config = cli.parse(TrainConfig, options)
    assert type(config.model) is CustomConfig
    assert config.model == CustomConfig(name=f"{MADE}:tiny", args={"filters": 5}, rank=3, stride=4)
    again = cli.from_dict(TrainConfig, cli.as_dict(config), tmp_path)
    assert again.model == config.model


def test_other_names_without_a_colon_are_refused():
    with pytest.raises(
        UserError, match=r"--model\.name: expected one of unet, encoder_unet, .*, package\.module:callable; received 'vnet'"
    ):
        cli.parse(TrainConfig, ["--model.name", "vnet"])
