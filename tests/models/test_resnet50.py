"""The classifier: what its backbone is given, which weights it accepts, what trains and what does not."""

import shutil
import zipfile

import numpy as np
import pytest

from common.errors import UserError
from models import CLASSIFIERS, pretrained
from models.resnet50 import (
    IMAGENET_MEANS_BGR,
    ResNet50Config,
    _preprocessing,
)
from training.freezing import LayerFreezing

HEADS = {"grade": 1}
MADE = {
    "plain": "plain.h5",
    "plain_new": "plain.weights.h5",
    "top": "top.h5",
    "top_new": "top.weights.h5",
    "whole": "whole.keras",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A `keras.applications.ResNet50` with made weights, and the folder of its files."""
    import keras

    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("published")
    network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3), pooling="avg")
    rng = np.random.default_rng(0)
    for variable in network.weights:
        if "kernel" not in variable.path:  # statistics and scales that are not those of a fresh network
            variable.assign(rng.uniform(0.8, 1.2, variable.shape))
    network.save(folder / MADE["plain"])
    network.save_weights(folder / MADE["plain_new"])
    with_top = keras.Model(network.input, keras.layers.Dense(7, name="predictions")(network.output))
    with_top.save(folder / MADE["top"])
    with_top.save_weights(folder / MADE["top_new"])
    with_top.save(folder / MADE["whole"])
    return network, folder


@pytest.fixture(scope="module")
def network(published):
    """A classifier of three channels with the published weights."""
    return ResNet50Config(weights=str(published[1] / MADE["plain"]), dense=4).build(3, HEADS, "minmax")


@pytest.fixture
def policy():
    """Set a dtype policy for one test."""
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def images(size=(32, 32), channels=3, batch=2):
    return np.random.default_rng(1).random((batch, *size, channels), np.float32)


def arrays(model):
    import keras

    return {variable.path: np.asarray(keras.ops.convert_to_numpy(variable)).copy() for variable in model.weights}


def test_it_is_registered():
    assert CLASSIFIERS["resnet50"] == f"{ResNet50Config.__module__}:{ResNet50Config.__name__}"


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
def test_images_of_any_size_give_a_row_of_logits(network, size):
    found = network(images(size))
    assert set(found) == {"grade"}
    assert found["grade"].shape == (2, 1)
    assert ResNet50Config().stride == 1


def test_the_backbone_sees_what_keras_applications_shows_it(published, network):
    from keras.applications.resnet50 import preprocess_input

    given = images()
    expected = published[0](preprocess_input(255 * given))
    found = network.get_layer("backbone")(network.get_layer("preprocessing")(given))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_zscores_are_clipped_and_zero_stays_the_middle():
    given = np.array([-10, -3, 0, 1.5, 3, 10], np.float32).reshape(1, 1, 6, 1)
    found = np.asarray(_preprocessing(1, "zscore")(given)).ravel() + np.mean(IMAGENET_MEANS_BGR)
    np.testing.assert_allclose(found, [0, 0, 127.5, 191.25, 255, 255], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("intensity", "white"), [("minmax", 1), ("median", 3)])
def test_zero_is_black_where_intensities_are_not_negative(intensity, white):
    given = np.array([0, white], np.float32).reshape(1, 1, 2, 1)
    found = np.asarray(_preprocessing(1, intensity)(given)).ravel() + np.mean(IMAGENET_MEANS_BGR)
    np.testing.assert_allclose(found, [0, 255], atol=1e-4)


def assert_all_loaded(reference, backbone, weights):
    for variable in backbone.weights:
        variable.assign(np.zeros(variable.shape))
    pretrained.load_backbone_weights(backbone, weights, 3)
    found, expected = arrays(backbone), arrays(reference)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


# The others of MADE: legacy without top as ImageNet's file, new with top where the stem is inflated.
@pytest.mark.parametrize("form", ["plain_new", "top", "whole"])
def test_every_array_of_every_form_is_loaded(published, network, form):
    assert_all_loaded(published[0], network.get_layer("backbone"), str(published[1] / MADE[form]))


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
    model = ResNet50Config(weights=str(folder / MADE["top_new"])).build(4, HEADS | {"other": 3}, "zscore")
    found, expected = arrays(model.get_layer("backbone")), arrays(reference)
    stem, rgb = found.pop(pretrained.STEM), expected.pop(pretrained.STEM)
    assert stem.shape == (7, 7, 4, 64)
    np.testing.assert_allclose(stem[:, :, 2], rgb.mean(axis=2) * 3 / 4, rtol=1e-5)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert {head: logits.shape for head, logits in model(images(channels=4)).items()} == {"grade": (2, 1), "other": (2, 3)}


def test_an_inflated_kernel_answers_to_grey_as_before():
    kernel = np.random.default_rng(0).standard_normal((7, 7, 3, 5)).astype(np.float32)
    assert pretrained.inflate(kernel, 3) is kernel
    for channels in (1, 2, 4, 12):
        inflated = pretrained.inflate(kernel, channels)
        assert inflated.dtype == np.float32
        np.testing.assert_allclose(inflated.sum(axis=2), kernel.sum(axis=2), rtol=1e-4, atol=1e-5)


def test_imagenet_is_the_file_that_keras_keeps(published, network, monkeypatch):
    import keras

    asked = {}

    def get_file(name, url, **options):
        asked.update(options, name=name, url=url)
        return str(published[1] / MADE["plain"])

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert_all_loaded(published[0], network.get_layer("backbone"), "imagenet")
    assert asked["name"] == "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert asked["url"] == f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{asked['name']}"
    assert asked["cache_subdir"] == "models"


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
    ) as told:
        pretrained.imagenet_file()
    assert "\n" not in str(told.value)


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
    with pytest.raises(UserError, match=words) as told:
        pretrained.load_backbone_weights(network.get_layer("backbone"), str(path), 3)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    assert all(np.array_equal(old, new) for old, new in zip(before, stem.get_weights(), strict=True))


@pytest.mark.parametrize("form", ["plain", "plain_new", "whole"])
@pytest.mark.parametrize("length", [0, 100_000])
def test_a_damaged_file_is_refused(published, network, tmp_path, form, length):
    path = tmp_path / MADE[form]
    with (published[1] / MADE[form]).open("rb") as whole:
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

    path = shutil.copy(published[1] / MADE["plain_new"], tmp_path / "resnet101.weights.h5")
    with h5py.File(path, "a") as file:
        file["layers/conv2d_99/vars/0"] = np.zeros((1, 1, 1024, 256), np.float32)
    refused(path, network, "0 of 318 arrays missing, 1 others")


@pytest.mark.parametrize("form", ["plain", "plain_new"])
def test_arrays_that_keras_would_skip_or_that_are_not_finite_are_refused(published, network, tmp_path, form):
    import h5py

    path = shutil.copy(published[1] / MADE[form], tmp_path / MADE[form])
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


def test_the_origin_is_told_in_words(published):
    assert ResNet50Config().origin() == "random initialisation"
    assert ResNet50Config(weights="imagenet").origin() == "ImageNet (keras.applications)"
    path = published[1] / MADE["plain"]
    assert ResNet50Config(weights=str(path)).origin() == f"file plain.h5 (crc32c {pretrained.checksum(path)})"
    with pytest.raises(UserError, match="not found"):
        ResNet50Config(weights="nowhere.h5").origin()


def test_the_checksum_is_crc32c(tmp_path):
    (tmp_path / "file").write_bytes(b"123456789")
    assert pretrained.checksum(tmp_path / "file") == "e3069283"


def test_only_random_weights_train_altogether(network):
    assert ResNet50Config().fixed_layers(network) == []
    assert len(ResNet50Config(weights="imagenet").fixed_layers(network)) == 53


@pytest.mark.parametrize(
    ("field", "value"), [("dense", 0), ("dropout", 1.0), ("momentum", 2), ("weights", "weights.npz"), ("weights", "")]
)
def test_settings_that_make_no_network_are_refused(field, value):
    with pytest.raises(UserError, match=f"--model.{field}"):
        ResNet50Config(**{field: value}).check()
    ResNet50Config(weights="some.weights.h5").check()


def trained_step(model, frozen=None):
    """What one training step changes: paths of the variables. Afterwards they are as they were."""
    import keras

    if frozen is not None:
        freezing = LayerFreezing(model, ResNet50Config(weights="imagenet").fixed_layers(model))
        freezing.apply(["backbone"] if frozen else [], "freeze")
    model.compile(keras.optimizers.SGD(0.01), {"grade": keras.losses.BinaryCrossentropy(from_logits=True)}, run_eagerly=True)
    before, kept = arrays(model), model.get_weights()
    model.train_on_batch(images(batch=4), {"grade": np.array([[0.0], [1], [1], [0]])})
    after = arrays(model)
    model.set_weights(kept)
    return {name for name, array in after.items() if not np.array_equal(before[name], array)}


def is_norm(path):
    return path.split("/")[0].endswith("_bn")


def test_the_head_trains_alone_first_and_the_convolutions_with_it_later(network):
    backbone = {variable.path for variable in network.get_layer("backbone").weights}
    head = {variable.path for variable in network.weights if variable.path.startswith("grade")}
    changed = trained_step(network, frozen=True)
    assert changed.isdisjoint(backbone)
    assert {"grade_dense/kernel", "grade_norm/moving_mean", "grade/kernel"} <= changed & head

    changed = trained_step(network, frozen=False)
    assert not [name for name in changed if is_norm(name)]
    assert {name for name in backbone if name.endswith("kernel")} <= changed
    assert {"grade_dense/kernel", "grade/kernel"} <= changed

    assert trained_step(network, frozen=True).isdisjoint(backbone)


def test_random_weights_train_with_live_batch_norms(policy):
    policy("mixed_bfloat16")
    model = ResNet50Config(dense=4, momentum=0.8).build(3, HEADS, "minmax")
    assert model(images())["grade"].dtype == "float32"
    assert model.get_layer("backbone").get_layer("conv1_bn").momentum == 0.8
    changed = trained_step(model)
    assert {"conv1_bn/moving_mean", "conv1_bn/gamma", "conv5_block3_3_bn/moving_variance", "conv1_conv/kernel"} <= changed


def test_a_runs_weights_need_no_pretrained_file():
    model = ResNet50Config(weights="gone.h5", dense=4).build(1, HEADS, "minmax", load_pretrained=False)
    assert model.count_params() > 20_000_000
