import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import gradcam
from models.gradcam import grad_cam
from models.resnet50 import ResNet50Config
from tests.training.runs import environment

ROOT = Path(__file__).parents[2]
HEADS = {"grade": 1, "kind": 3}


class Tiny(ResNet50Config):
    """The classifier around a backbone of one convolution."""

    def backbone(self, channels):
        import keras

        inputs = keras.Input((None, None, channels))
        features = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(inputs)
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(features), name="backbone")


def made(heads=HEADS):
    """A network with numbers of NumPy's, the same on every backend."""
    model = Tiny(dense=5).build(2, heads, "zscore")
    rng = np.random.default_rng(7)
    for variable in model.weights:
        variable.assign(
            rng.uniform(0.1, 1, variable.shape) * rng.choice([-1, 1], variable.shape) ** ("kernel" in variable.path)
        )
    return model


def images():
    return np.random.default_rng(2).standard_normal((3, 12, 16, 2)).astype(np.float32)


def maps(model):
    return [grad_cam(model, images(), head, index) for head, index in (("grade", None), ("grade", 0), ("kind", 1))]


def by_hand(model, head, index):
    """The formula of the paper: every position's own gradient, its mean per channel, the weighted sum, cut off at zero."""
    import tensorflow as tf

    shown = model.get_layer("preprocessing")(images())
    features = model.get_layer("backbone").layers[1](shown)
    with tf.GradientTape() as tape:
        tape.watch(features)
        hidden = tf.reduce_mean(features, (1, 2))
        for name in (f"{head}_dense", f"{head}_norm", f"{head}_relu", head):
            hidden = model.get_layer(name)(hidden)
        logit = hidden[:, index]
    weights = tf.reduce_mean(tape.gradient(logit, features), (1, 2), keepdims=True)
    heat = np.maximum(tf.reduce_sum(weights * features, -1), 0)
    large = np.asarray(tf.image.resize(heat[..., None], (12, 16)))[..., 0]
    return large / np.maximum(large.max((1, 2), keepdims=True), 1e-30)


@pytest.mark.parametrize(("head", "index", "logit"), [("grade", None, 0), ("grade", 1, 0), ("kind", 1, 1), ("kind", None, 2)])
def test_it_is_the_formula_of_the_paper(head, index, logit):
    model = made()
    found = grad_cam(model, images(), head, index, batch_size=2)
    assert found.shape == (3, 12, 16)
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() == 1
    np.testing.assert_allclose(found, by_hand(model, head, logit), atol=1e-4)


def test_the_other_category_of_a_single_logit_is_what_speaks_against_it():
    model = made()
    kernel, bias = model.get_layer("grade").get_weights()
    against = grad_cam(model, images(), "grade", 0)
    model.get_layer("grade").set_weights([-kernel, bias])
    np.testing.assert_allclose(grad_cam(model, images(), "grade", 1), against, atol=1e-6)


def test_the_heat_is_where_the_evidence_is():
    model = made({"grade": 1})
    for name, value in (("grade_dense", 1.0), ("grade", 1.0)):
        layer = model.get_layer(name)
        layer.set_weights([np.full_like(array, value) for array in layer.get_weights()])
    convolution = model.get_layer("backbone").layers[1]
    kernel = np.zeros_like(convolution.get_weights()[0])
    kernel[1, 1] = 1.0
    convolution.set_weights([kernel, np.zeros(6)])
    given = np.full((1, 32, 32, 2), -3, np.float32)
    given[0, 4:12, 18:26] = 3
    heat = grad_cam(model, given, "grade")[0]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 4 <= row < 12
    assert 18 <= column < 26
    assert heat[20:, :12].max() == 0


def test_nothing_that_speaks_for_it_is_no_heat_and_no_image_no_map():
    model = made()
    model.get_layer("grade").set_weights([np.zeros((5, 1)), np.ones(1)])
    assert not grad_cam(model, images(), "grade").any()
    assert grad_cam(model, images()[:0], "grade").shape == (0, 12, 16)


def test_the_whole_resnet_can_be_looked_into():
    model = ResNet50Config(dense=4).build(1, {"grade": 1}, "minmax")
    features_of, head_of = gradcam._split(model, "grade")
    assert features_of.output_shape[0][-1] == 2048
    assert head_of.output_shape == (None, 1)


@pytest.mark.slow
def test_jax_draws_the_same_maps(tmp_path):
    program = (
        "import sys, numpy as np; sys.path[:0] = sys.argv[2:]; from test_gradcam import made, maps; "
        "np.save(sys.argv[1], maps(made()))"
    )
    arguments = [str(tmp_path / "maps.npy"), str(ROOT), str(Path(__file__).parent)]
    subprocess.run([sys.executable, "-c", program, *arguments], env=environment("jax"), check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy"), maps(made()), atol=1e-4)
