"""Initial weights from another run: what is loaded, what is stored in run.json, and what is refused."""

from tests.training.runs import CUSTOM, SHORT, assert_equal_arrays, weights
from training.run import Run


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
    assert kept["loaded"] == kept["total"] - 1  # the first convolution has one channel instead of four
    assert next(line.split()[1:] for line in wider.out.splitlines() if line.startswith("  encoder1")) == ["3", "1", "0"]


def test_weights_without_a_counterpart_are_refused(toy, command, records, tmp_path):
    toy(tmp_path / "first", "--epochs", 1)
    out = tmp_path / "second"
    done = command("training.train", "--records", records, "--out", out, *CUSTOM, *SHORT, "--init_from", tmp_path / "first")
    assert (done.status, len(done.errors)) == (2, 1)
    assert "expected weights whose names and shapes are those of the network" in done.errors[0]
    assert not (out / "run.json").exists()
