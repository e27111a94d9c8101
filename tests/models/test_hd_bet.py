"""HD-BET's network with heads of its own."""

import keras
import numpy as np
import pytest
from keras import ops

from common.errors import UserError
from models.hd_bet import HDBETConfig
from models.stem import stem_variables

HEADS = {"segmentation": 3, "grade": 1}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return HDBETConfig(filters=1).build(2, HEADS, ["grade"])


def test_heads_have_logits_of_their_shape(network, rng):
    logits = network(rng.normal(size=(1, 32, 16, 16, 2)).astype(np.float32))
    shapes = {name: tuple(values.shape) for name, values in logits.items()}
    assert shapes == {"segmentation": (1, 32, 16, 16, 3), "grade": (1, 1)}
    assert all(np.isfinite(ops.convert_to_numpy(values)).all() for values in logits.values())


def test_levels_are_named(network):
    """So that `freeze: [encoder]` freezes the encoder."""
    groups = [layer.name.partition("_")[0] for layer in network.layers if layer.weights]
    encoder, decoder = [f"encoder{level}" for level in range(1, 6)], [f"decoder{level}" for level in (4, 3, 2, 1)]
    assert list(dict.fromkeys(groups))[:9] == encoder + decoder
    assert set(groups) == {*encoder, *decoder, *HEADS}
    assert [variable.path for variable in stem_variables(network)] == ["encoder1_init_conv/kernel"]


def test_weights_are_saved_and_loaded(network, tmp_path):
    network.save_weights(tmp_path / "a.weights.h5")
    other = HDBETConfig(filters=1).build(2, HEADS, ["grade"])
    other.load_weights(tmp_path / "a.weights.h5")
    for one, same in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)


def test_logits_are_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = HDBETConfig(filters=1).build(1, {"segmentation": 2})
    finally:
        keras.config.set_dtype_policy(before)
    assert network.output["segmentation"].dtype == "float32"
    assert network.get_layer("encoder1_init_conv").compute_dtype == "bfloat16"


def test_predicted_and_trained_in_patches():
    config = HDBETConfig()
    config.check()
    assert config.prediction_patch((64, 64, 64)) == (64, 64, 64)
    assert (config.rank, config.stride, config.margin, config.fixed_patch) == (3, 16, 0, None)
    assert (config.origin(), config.fixed_layers(None)) == ("random initialisation", [])


def test_numbers_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"--model\.network: expected 0 to 4; received 5"):
        HDBETConfig(network=5).check()
    with pytest.raises(UserError, match=r"--model\.filters: expected at least 1; received 0"):
        HDBETConfig(filters=0).check()
