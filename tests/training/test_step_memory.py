"""Memory of a step: what layers give is counted, and what is far beyond the memory is refused before the first step."""

import keras
import pytest

from common.errors import UserError
from tests.training.runs import TOY
from training import step_memory
from training.step_memory import check_step_memory, estimate, layer_outputs


def network():
    """Two convolutions, one of them in a network within the network; all give 6 x 6 numbers for each filter."""
    inner_input = keras.Input((None, None, 3))
    inner = keras.Model(inner_input, keras.layers.Conv2D(5, 3, padding="same")(inner_input))
    inputs = keras.Input((None, None, 1))
    outputs = {"a": inner(keras.layers.Conv2D(3, 3, padding="same")(inputs))}
    model = keras.Model(inputs, outputs)
    model.compile("sgd")
    model.optimizer.build(model.trainable_variables)
    return model


def test_what_every_layer_gives_is_counted_networks_within_included():
    assert layer_outputs(network(), (6, 6, 1)) == 6 * 6 * (3 + 5) * 4


def test_the_estimate_grows_with_the_batch():
    one, ten = (estimate(network(), (6, 6, 1), batch) for batch in (1, 10))
    assert (ten.activations, ten.inputs, ten.variables) == (10 * one.activations, 10 * one.inputs, one.variables)


def test_a_network_that_is_no_graph_is_not_estimated():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    assert estimate(Own(), (6, 6, 1), 1) is None


def test_a_step_far_beyond_the_memory_is_refused_and_one_beyond_it_is_warned_of(monkeypatch, capsys):
    need = estimate(network(), (64, 64, 1), 1000).total
    monkeypatch.setattr(step_memory, "available_memory", lambda: 2 * need)
    check_step_memory(network(), (64, 64, 1), 1000, on_gpu=False)
    assert "it may not suffice" not in capsys.readouterr().out
    monkeypatch.setattr(step_memory, "available_memory", lambda: 0.9 * need)
    check_step_memory(network(), (64, 64, 1), 1000, on_gpu=False)
    assert "it may not suffice" in capsys.readouterr().out
    monkeypatch.setattr(step_memory, "available_memory", lambda: need / 4)
    with pytest.raises(UserError, match=r"--input\.batch_size 1000: about .* such as 2\d\d$"):
        check_step_memory(network(), (64, 64, 1), 1000, on_gpu=False)
    check_step_memory(network(), (64, 64, 1), 1000, on_gpu=True)  # the steps lie in the memory of the GPU


def test_a_training_is_refused_before_its_first_step(command, records, tmp_path, monkeypatch):
    monkeypatch.setattr(step_memory, "available_memory", lambda: 1000)
    done = command("training.train", "--records", records, "--out", tmp_path / "run", *TOY, "--epochs", 1)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "--input.batch_size 4: about " in done.errors[0]
    assert not (tmp_path / "run" / "run.json").exists()
