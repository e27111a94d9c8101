"""A run's folder: what is damaged, and what does not fit, is refused in one line."""

import pytest
import yaml

from common.errors import UserError
from common.files import write_yaml
from training.run import Run, is_unused, refuse_used


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_that_do_not_fit_are_refused_in_one_line(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["filters"] = 3
    (run / "config.yaml").write_text(yaml.safe_dump(config))
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
    with pytest.raises(UserError, match="no epoch was finished"):
        _ = Run(run).weights


def left_behind(folder):
    """What a training that was killed before run.json leaves."""
    folder.mkdir()
    write_yaml(folder / "config.yaml", {"out": str(folder), "epochs": 3})
    for name in (".lock", "preparation.yaml", "schema.yaml", ".tmp12.run.json"):
        (folder / name).touch()
    return folder


def test_a_folder_left_before_run_json_is_unused(tmp_path):
    """Fault 14: such a training could neither start again nor resume."""
    assert is_unused(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert is_unused(tmp_path / "empty")
    folder = left_behind(tmp_path / "run")
    assert is_unused(folder)
    refuse_used(folder)
    for name in ("run.json", "history.csv", "notes.txt"):
        (folder / name).touch()
        with pytest.raises(UserError, match="exists and is not empty"):
            refuse_used(folder)
        (folder / name).unlink()
    (tmp_path / "file").touch()
    assert not is_unused(tmp_path / "file")


@pytest.mark.parametrize("content", ["epochs: 3\n", "[]\n", "out: elsewhere/other\n"])
def test_somebodys_own_config_is_not_overwritten(tmp_path, content):
    folder = left_behind(tmp_path / "run")
    (folder / "config.yaml").write_text(content)
    assert not is_unused(folder)
