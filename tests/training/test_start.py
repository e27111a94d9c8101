"""The beginning of a run is whole or nothing, and files of others in its folder stay."""

import errno
import shutil

import pytest

from common.errors import UserError
from common.files import write_json, write_yaml
from tests.training.runs import EPOCHS, SHORT, assert_equal_runs
from training import engine
from training.run import Run
from training.start import has_epochs, is_unused, refuse_used, remove_start


def left_behind(folder):
    """What a training that was killed before run.json leaves."""
    folder.mkdir()
    write_yaml(folder / "config.yaml", {"out": str(folder), "epochs": 3})
    for name in (".lock", "preparation.yaml", "schema.yaml", ".tmp12.run.json"):
        (folder / name).touch()
    return folder


def test_a_folder_left_before_run_json_is_unused(tmp_path):
    assert is_unused(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert is_unused(tmp_path / "empty")
    folder = left_behind(tmp_path / "run")
    assert is_unused(folder)
    refuse_used(folder)
    for name in ("history.csv", "notes.txt", ".tmp_notes", ".tmp0.run.json"):
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state/epoch_00001.npz", ""),
        ("run.json", '{"status": "finished", "ended": "epochs"}'),
        ("run.json", '{"status": "stopped", "epoch": 1}'),
        ("history.csv", "epoch,loss\n1,0.5\n2,0.4\n"),
    ],
)
def test_a_run_with_an_epoch_is_used_even_where_its_states_were_deleted(tmp_path, name, content):
    folder = left_behind(tmp_path / "run")
    write_json(folder / "run.json", {"status": "running"})
    assert is_unused(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    assert has_epochs(folder)
    with pytest.raises(UserError, match="go on with it by --resume"):
        refuse_used(folder)


def begun(folder):
    """What a training that was killed at the end of its first epoch leaves, and what somebody has added."""
    left_behind(folder)
    write_json(folder / "run.json", {"status": "running"})
    for name in ("last.weights.h5", "best.weights.h5", "history.csv", "environment.json"):
        (folder / name).touch()
    (folder / "history.csv").write_text("epoch,loss\n1,0.5\n")
    for name in ("state", "logs/train", "notes", "wandb/run"):
        (folder / name).mkdir(parents=True)
    for name in ("state/.tmp12.epoch_00001.npz", "logs/train/events.out.tfevents.1", "wandb/run/files"):
        (folder / name).touch()
    return folder


def test_only_files_of_the_run_are_removed_and_links_are_not_followed(tmp_path):
    folder, elsewhere = begun(tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("thesis.tex", ".tmp12.half"):
        (elsewhere / name).touch()
    (folder / "link").symlink_to(elsewhere)
    (folder / "examples").symlink_to(elsewhere)
    for name in (".tmp_notes", "notes/plan.txt", "logs/ideas.txt"):
        (folder / name).touch()
    remove_start(folder)
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert left == {".lock", ".tmp_notes", "notes", "notes/plan.txt", "logs", "logs/ideas.txt", "link", "examples"}
    assert sorted(path.name for path in elsewhere.iterdir()) == [".tmp12.half", "thesis.tex"]


def test_a_start_that_was_stopped_at_any_moment_is_started_again(tmp_path):
    """Files are removed one by one; a kill between two of them leaves a folder in which a training can start."""
    folder = begun(tmp_path / "run")
    shutil.rmtree(folder / "notes")
    removed = ["environment.json", "best.weights.h5", "last.weights.h5", "history.csv", "run.json", "schema.yaml"]
    for name in removed:
        assert is_unused(folder)
        if name == "run.json":
            for further in ("state", "logs", "wandb"):
                shutil.rmtree(folder / further)
        (folder / name).unlink()
    assert is_unused(folder)


def test_a_training_without_an_epoch_is_started_again_by_the_same_command(whole, train, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(folder / "state")
    history = (folder / "history.csv").read_text().splitlines()
    (folder / "history.csv").write_text("\n".join(history[:2]) + "\n")
    write_json(folder / "run.json", {"status": "running"})
    (folder / "notes.txt").write_text("mine")
    done = train(folder, "--epochs", EPOCHS)
    assert done.status == 0, done.err
    assert_equal_runs(whole, folder)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device", "history.csv")])
@pytest.mark.parametrize("place", ["print_start", "prepare_phase"])
def test_a_training_that_ends_anywhere_is_no_longer_running(train, tmp_path, monkeypatch, place, error):
    """Interrupts, and a full disk, also outside of its steps."""

    def end(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(engine, place, end)
        done = train(tmp_path / "run", "--epochs", 1, *SHORT)
    assert done.status == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert Run(tmp_path / "run").metadata["status"] == "stopped"
    assert train(tmp_path / "run", "--epochs", 1, *SHORT).status == 0
    assert Run(tmp_path / "run").metadata["status"] == "finished"
