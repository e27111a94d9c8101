"""Beginning of a run, which is whole or nothing: a training that was stopped before its first epoch ended may be started again.

Files are removed by their names. What somebody put into the folder stays.
"""

import shutil
from pathlib import Path

from common.errors import UserError
from common.files import foreign_names, read_json, read_yaml, remove_unfinished
from training.run import BEFORE_RUN_JSON
from training.state.history import read_history

OF_FIRST_EPOCH = ("last.weights.h5", "best.weights.h5", "history.csv", "environment.json", "stacks.txt")
"""Files that are written after run.json and before the state of the first epoch."""
LOGS = "logs/*/events.out.tfevents.*"
FOLDERS = ("logs/train", "logs/validation", "logs", "state", "examples")


def has_epochs(run: Path) -> bool:
    """True for a run with a finished epoch, also where somebody has deleted its states."""
    if any(run.glob("state/epoch_*.npz")) or len(read_history(run)) > 1:
        return True
    facts = read_json(run / "run.json", "run")
    return not isinstance(facts, dict) or any(facts.get(name) for name in ("ended", "epoch"))


def is_unused(path: Path) -> bool:
    """True for a folder in which a training can start: missing, empty, or left by one that has finished no epoch.

    What such a training leaves is made again; a config.yaml that the user wrote is not one of its files.
    """
    if (path / "run.json").is_file():
        return not has_epochs(path)
    if foreign_names(path, BEFORE_RUN_JSON):
        return False
    file = path / "config.yaml"
    config = read_yaml(file, "config of the run") if file.exists() else {"out": path.resolve()}
    return isinstance(config, dict) and Path(str(config.get("out"))).name == path.resolve().name


def refuse_used(path: Path) -> None:
    """Refuse a folder for a new run that holds something already.

    Raises:
        UserError: names the folder.
    """
    if not is_unused(path):
        hint = f"go on with it by --resume {path}, or choose" if (path / "run.json").is_file() else "choose"
        raise UserError(f"{path}: exists and is not empty; {hint} another --out")


def remove_start(run: Path) -> None:
    """Remove the files of a run that has finished no epoch; run.json, by which it is known, last but for those before it."""
    remove_unfinished(run)
    for path in [*(run / name for name in OF_FIRST_EPOCH), *run.glob(LOGS)]:
        path.unlink(missing_ok=True)
    wandb = run / "wandb"
    if wandb.is_dir() and not wandb.is_symlink():
        shutil.rmtree(wandb)
    for folder in (run / name for name in FOLDERS):
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
    for name in ("run.json", *reversed(BEFORE_RUN_JSON)):
        (run / name).unlink(missing_ok=True)
