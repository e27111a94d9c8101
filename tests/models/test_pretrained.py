"""Weights of other trainings: every form is loaded whole, anything else is refused in one line."""

import shutil
import zipfile

import numpy as np
import pytest

from common.errors import UserError
from models import pretrained
from models.resnet50 import ResNet50Config
from tests.models.published import FILES, HEADS, arrays, images


def assert_all_loaded(reference, backbone, weights):
    for variable in backbone.weights:
        variable.assign(np.zeros(variable.shape))
    pretrained.load_backbone_weights(backbone, weights, 3)
    found, expected = arrays(backbone), arrays(reference)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


# The others of FILES: legacy without top as ImageNet's file, new with top where the stem is inflated.
@pytest.mark.parametrize("form", ["plain_new", "top", "whole"])
def test_every_array_of_every_form_is_loaded(published, network, form):
    assert_all_loaded(published[0], network.get_layer("backbone"), str(published[1] / FILES[form]))


def test_an_optimizers_arrays_beside_the_weights_do_not_count(tmp_path):
    import h5py

    path = tmp_path / "compiled.h5"
    with h5py.File(path, "w") as file:
        for name in ("layers/dense/vars/0", "optimizer/vars/2", "optimizer_weights/adam/momentum"):
            file[name] = np.zeros((3, 4))
        file["layers/dense/scalar"] = 1.0
    assert pretrained._shapes(path, path) == {(3, 4): 1}


def test_other_numbers_of_channels_inflate_the_stem_alone(published):
    reference, folder = published
    model = ResNet50Config(weights=str(folder / FILES["top_new"])).build(4, HEADS | {"other": 3}, "zscore")
    found, expected = arrays(model.get_layer("backbone")), arrays(reference)
    stem, rgb = found.pop(pretrained.STEM), expected.pop(pretrained.STEM)
    assert stem.shape == (7, 7, 4, 64)
    np.testing.assert_allclose(stem[:, :, 2], rgb.mean(axis=2) * 3 / 4, rtol=1e-5)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert {head: logits.shape for head, logits in model(images(channels=4)).items()} == {"grade": (2, 1), "other": (2, 3)}


def test_imagenet_is_the_file_that_keras_keeps(published, network, monkeypatch):
    import keras

    arguments = {}

    def get_file(name, url, **options):
        arguments.update(options, name=name, url=url)
        return str(published[1] / FILES["plain"])

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert_all_loaded(published[0], network.get_layer("backbone"), "imagenet")
    assert arguments["name"] == "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert arguments["url"] == f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{arguments['name']}"
    assert arguments["cache_subdir"] == "models"


def test_the_address_of_imagenets_file_is_that_of_keras():
    from keras.src.applications import resnet

    assert resnet.BASE_WEIGHTS_PATH + pretrained.FILE == pretrained.URL
    assert resnet.WEIGHTS_HASHES["resnet50"][1] == pretrained.MD5


def test_without_a_network_the_error_says_what_to_fetch(monkeypatch):
    import keras

    def get_file(*_, **__):
        raise Exception("URL fetch failure: Name or service not known\nand more")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(
        UserError, match=r"notop\.h5 could not be downloaded.*not known.*--model\.weights PATH.*~/\.keras"
    ) as caught:
        pretrained.imagenet_file()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing.h5", "not found"), ("weights.npz", "expected imagenet, or a file"), (".", "expected imagenet")],
)
def test_a_file_that_cannot_be_one_of_weights_is_refused(tmp_path, name, words):
    with pytest.raises(UserError, match=words):
        pretrained.weights_file(str(tmp_path / name))


def refused(path, network, words):
    """Try to load; the error must be one line that names the file."""
    stem = network.get_layer("backbone").get_layer("conv1_conv")
    before = stem.get_weights()
    with pytest.raises(UserError, match=words) as caught:
        pretrained.load_backbone_weights(network.get_layer("backbone"), str(path), 3)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(old, new) for old, new in zip(before, stem.get_weights(), strict=True))


@pytest.mark.parametrize("form", ["plain", "plain_new", "whole"])
@pytest.mark.parametrize("length", [0, 100_000])
def test_a_damaged_file_is_refused(published, network, tmp_path, form, length):
    path = tmp_path / FILES[form]
    with (published[1] / FILES[form]).open("rb") as whole:
        path.write_bytes(whole.read(length))
    refused(path, network, "damaged")


def test_a_keras_file_without_arrays_is_refused(network, tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as packed:
        packed.writestr("config.json", "{}")
    refused(tmp_path / "empty.keras", network, "damaged")


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_weights_of_another_network_are_refused(network, tmp_path, suffix):
    import keras

    other = keras.Sequential([keras.Input((2048,)), keras.layers.Dense(3)])
    path = tmp_path / f"other{suffix}"
    other.save_weights(path) if suffix == ".weights.h5" else other.save(path)
    refused(path, network, "another network")


def test_a_deeper_resnet_is_refused_though_it_has_all_shapes(published, network, tmp_path):
    import h5py

    path = shutil.copy(published[1] / FILES["plain_new"], tmp_path / "resnet101.weights.h5")
    with h5py.File(path, "a") as file:
        file["layers/conv2d_99/vars/0"] = np.zeros((1, 1, 1024, 256), np.float32)
    refused(path, network, "0 of 318 arrays missing, 1 others")


@pytest.mark.parametrize("form", ["plain", "plain_new"])
def test_arrays_that_keras_would_skip_or_that_are_not_finite_are_refused(published, network, tmp_path, form):
    import h5py

    path = shutil.copy(published[1] / FILES[form], tmp_path / FILES[form])
    found = []
    with h5py.File(path, "a") as file:
        file.visititems(lambda name, item: found.append(name) if getattr(item, "shape", None) == (2048,) else None)
        file[found[0]][3] = np.nan
    refused(path, network, "1 arrays of the ResNet50 are missing or not finite")


def test_arrays_in_another_file_are_refused(network, tmp_path):
    import h5py

    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file.create_dataset("secret", (4,), np.uint8, external=[(str(tmp_path / "passwords"), 0, 4)])
    refused(tmp_path / "linked.h5", network, "other files")
