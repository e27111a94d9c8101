"""A run's folder: what is damaged, and what does not fit, is refused in one line."""

import shutil

import pytest
import yaml

from common.errors import UserError
from common.files import checksum, read_json, write_json, write_yaml
from tests.training.runs import write_model
from training.run import Run
from training.run_facts import FORMAT


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_that_do_not_fit_are_refused_in_one_line(run):
    write_model(run, yaml.safe_load((run / "config.yaml").read_text())["model"] | {"filters": 3})
    with pytest.raises(UserError, match="weights do not fit the network") as error:
        Run(run).load_network()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_what_is_no_run_is_refused(run, damage):
    damage(run / "run.json")
    with pytest.raises(UserError, match=r"run\.json"):
        Run(run)


def test_a_run_without_an_epoch_has_no_weights(run):
    (run / "best.weights.h5").unlink()
    (run / "last.weights.h5").unlink()
    with pytest.raises(UserError, match=r"its weights files are not there; go on with --resume .*, which writes them again"):
        _ = Run(run).weights
    write_json(run / "run.json", {k: v for k, v in read_json(run / "run.json", "run").items() if k != "weights"})
    with pytest.raises(UserError, match="no epoch was finished"):
        _ = Run(run).weights


def test_an_epoch_that_is_repeated_after_a_stop_expects_the_weights_of_one_that_was_not(tmp_path):
    whole, stopped = (trained_by(tmp_path / name, epochs) for name, epochs in (("whole", "ab"), ("stopped", "abb")))
    assert whole.metadata["weights"] == stopped.metadata["weights"]
    assert len(whole.metadata["weights"]["last.weights.h5"]) == 2


def test_epochs_that_are_repeated_with_other_weights_expect_the_file_that_is_there(tmp_path):
    run = trained_by(tmp_path / "run", "a")
    file = run.path / "last.weights.h5"
    for other in ("b1", "b2"):  # each was stopped before it wrote its file
        run.expect_weights([file.name], other)
        Run(run.path).verify_weights(file)
    assert run.metadata["weights"][file.name] == [checksum(file), "b2"]


@pytest.mark.parametrize(("name", "key"), [("preparation.yaml", "intensity"), ("schema.yaml", "name")])
def test_preparation_and_schema_are_those_that_the_run_began_with(run, name, key):
    values = yaml.safe_load((run / name).read_text())
    read = {"preparation.yaml": lambda: Run(run).preparation, "schema.yaml": lambda: Run(run).schema}[name]
    (run / name).write_text(yaml.safe_dump(values, sort_keys=True))  # another order is no change
    before = read()
    (run / name).write_text(yaml.safe_dump(values | {key: "zscore"}))
    with pytest.raises(UserError, match=rf"{name}: expected the .* of the run as it was trained; received other values"):
        read()
    write_json(run / "run.json", {k: v for k, v in read_json(run / "run.json", "run").items() if k != "settings"})
    assert type(read()) is type(before)  # of an earlier version


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.yaml", lambda values: values | {"model": values["model"] | {"dropout": 0.3}}),
        ("config.yaml", lambda values: values | {"input": values["input"] | {"resize": [32, 32]}}),
        ("run.json", lambda values: values | {"channels": values["channels"][::-1]}),
        ("run.json", lambda values: values | {"heads": dict.fromkeys(["other"], next(iter(values["heads"].values())))}),
    ],
)
def test_a_network_is_the_one_that_was_trained(run, name, change):
    write = write_json if name == "run.json" else write_yaml
    before = yaml.safe_load((run / name).read_text())  # JSON is YAML
    write(run / name, dict(reversed(before.items())))  # another order is no change
    assert Run(run).config
    write(run / name, change(before))
    with pytest.raises(
        UserError, match=r"config.yaml: model, input, precision, or heads and channels in run.json: expected those that the run"
    ):
        _ = Run(run).config


def test_the_last_weights_are_not_taken_for_the_best(run):
    shutil.copy(run / "last.weights.h5", run / "best.weights.h5")
    facts = read_json(run / "run.json", "run")
    facts["weights"]["best.weights.h5"] = ["00000000"]
    write_json(run / "run.json", facts)
    with pytest.raises(UserError, match=r"best.weights.h5: is damaged, of another epoch or of another run"):
        Run(run).verify_weights(run / "best.weights.h5")


@pytest.mark.parametrize(("written", "status"), [(False, "stopped"), (True, "finished")])
def test_an_interrupt_while_the_end_is_written_leaves_no_run_running(tmp_path, monkeypatch, written, status):
    run = trained_by(tmp_path / "run", "a")

    def interrupted(path, values):
        if written:
            write_json(path, values)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("training.run.write_json", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.set_status("finished")
    run.mark_stopped()
    assert Run(run.path).metadata["status"] == status


def trained_by(folder, epochs):
    """A run whose epochs have written a letter each in the place of weights."""
    write_json(folder / "run.json", {"format": FORMAT, "status": "running"})
    run, letter, file = Run(folder), folder / "letter", folder / "last.weights.h5"
    for content in epochs:
        letter.write_text(content)
        run.expect_weights([file.name], checksum(letter))
        letter.replace(file)
    return Run(folder)
