"""Records that are deleted or changed while a training reads them: one line, and the epochs before are kept."""

import shutil
from pathlib import Path

import pytest

from data_prep.records.folder import Records
from tests.training.runs import SHORT, TOY, history
from training.run import Run
from training.state.callbacks import EpochKeeper


def replace(path):
    """Put a file in place of itself, as a copy does."""
    shutil.copyfile(path, path.with_suffix(".new")).replace(path)


@pytest.mark.parametrize(("change", "word"), [(Path.unlink, "deleted"), (replace, "changed")])
def test_records_that_change_during_a_training_end_it_in_one_line(command, records, tmp_path, monkeypatch, change, word):
    own, out = shutil.copytree(records, tmp_path / "records"), tmp_path / "run"
    shard = own / "cases" / f"{Records(own).split['train'][0]}.tfrecord"
    begin = EpochKeeper.on_epoch_begin

    def begin_epoch(keeper, epoch, logs=None):
        begin(keeper, epoch, logs)
        if epoch == 1:
            change(shard)

    monkeypatch.setattr(EpochKeeper, "on_epoch_begin", begin_epoch)
    done = command("training.train", "--records", own, "--out", out, *TOY, *SHORT, "--epochs", 3)
    assert (done.status, len(done.errors)) == (2, 1), done.err
    assert done.errors[0].startswith(f"error: {shard}: shard was {word} while it was in use; ")
    assert done.errors[0].endswith(f"; then go on with --resume {out}")
    assert "Traceback" not in done.err
    assert Run(out).metadata["status"] == "stopped"
    assert len(history(out)) == 1
    monkeypatch.undo()
    resumed = command("training.train", "--resume", out)
    assert (resumed.status, len(resumed.errors)) == ((2, 1) if word == "deleted" else (0, 0)), resumed.err
