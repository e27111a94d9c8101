"""Weights & Biases run of a training: config, a row of scores per epoch, pictures, files of the exact state.

Every call is made in a thread with a time limit. One that fails ends the log with one warning; the training goes on. The
package's id of the run is stored in run.json, and a resumed training continues that run.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from netrc import NetrcParseError, netrc
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from common import cli
from common.files import write_json, write_yaml
from common.manifests import CONTENT, MapOf, read_manifest
from training.data.mixture import Mixture
from training.heads.base import Head
from training.loggers.config import WandbConfig
from training.loggers.examples import draw_examples
from training.run import Run
from training.state.checkpoint import Progress

if TYPE_CHECKING:
    import keras

FOLDER = "wandb"  # in the run
QUICK = 10.0  # seconds that a call without network may take
MEGABYTE = 1e6
LONGEST = 200  # letters of a reason in a warning
HOSTS = ("api.wandb.ai",)  # of API keys in a netrc file, beside that of WANDB_BASE_URL
PRIVATE = {
    **{"silent": True, "console": "off", "disable_git": True, "disable_code": True, "save_code": False},
    **{"x_disable_meta": True, "x_disable_machine_info": True, "x_save_requirements": False, "disable_job_creation": True},
    "host": "not recorded",
}
"""Settings by which nothing but what is logged leaves the machine; those that a version of the package lacks are left out."""


@contextmanager
def logged(run: Run, data: Mixture, heads: Mapping[str, Head], progress: Progress) -> Iterator["WandbRun"]:
    """Weights & Biases run around a training: its epochs are logged in the block, pictures and files after it.

    Where the config of the training asks for none, the run that is given does nothing.
    """
    config = run.config.logger
    wandb_run = WandbRun(run, config)
    if isinstance(config, WandbConfig):
        wandb_run.start(progress.history)
    ended = False
    try:
        yield wandb_run
        ended = True
    finally:
        if wandb_run.is_open:
            pictures = draw_examples(run, data, heads, config.examples) if ended and progress.epoch else {}
            wandb_run.log_pictures(pictures, progress.epoch)
            wandb_run.save_state()
            facts = {"epoch": progress.epoch, "best": progress.best, "best_epoch": progress.best_epoch}
            wandb_run.finish(facts, exit_code=0 if ended else 1)


class WandbRun:
    """Connection to Weights & Biases; after a failure it does nothing.

    Args:
        run: folder of the training.
        config: options of the logger.

    Attributes:
        folder: that the package writes into; None where nothing is logged.
    """

    def __init__(self, run: Run, config: WandbConfig) -> None:
        self.folder: Path | None = None
        self._run, self._config = run, config
        self._there: Any = None

    def callbacks(self, progress: Progress) -> "list[keras.callbacks.Callback]":
        """Callback that logs the last row of the history at the end of each epoch; none where nothing is logged."""
        import keras

        if not self.is_open:
            return []
        return [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self.log_epoch(progress.history[-1]))]

    @property
    def is_open(self) -> bool:
        """True while a run there takes logs."""
        return self._there is not None

    def start(self, history: Sequence[Mapping[str, float]]) -> None:
        """Begin a run there, or continue the one that run.json names; a new one is given the history so far."""
        if os.environ.get("WANDB_MODE") == "disabled":
            return
        stored = self._run.metadata.get(FOLDER)
        if stored is not None and (stored.get("project"), stored.get("entity")) != (self._config.project, self._config.entity):
            stored = None  # a resumed training that logs into another project begins a run there
        self._there = self._connect((stored or {}).get("id") or secrets.token_hex(4))
        if self._there is None:
            return
        self.folder = Path(self._there.dir).parent
        self._run.set_status(
            self._run.metadata["status"],
            wandb={"id": self._there.id, "project": self._config.project, "entity": self._config.entity},
        )
        for row in history if stored is None else ():
            self.log_epoch(row)

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log a row of history.csv; its epoch is the step."""
        self._call(lambda there: there.log(dict(row), step=int(row["epoch"])))

    def log_pictures(self, pictures: Mapping[str, Path], epoch: int) -> None:
        """Log PNG files by their names, as of an epoch."""

        def log(there: Any) -> None:
            import wandb

            shown = {f"examples/{name}": wandb.Image(str(path), caption=name) for name, path in pictures.items()}
            there.log(shown, step=epoch)

        if pictures:
            self._call(log)

    def save_state(self) -> None:
        """Store copies of the run's files, as many as are allowed, in the order of `state_files`."""
        left, missing = self._config.upload_mb * MEGABYTE, []
        for path in state_files(self._run.path):
            size = path.stat().st_size
            if size > left:
                missing.append(f"{path.name} ({size / MEGABYTE:.0f} MB)")
                continue
            left -= size
            self._call(partial(self._save, path), QUICK + size / MEGABYTE)
        if missing and self._there is not None:
            print(f"wandb: {', '.join(missing)} left out; --logger.upload_mb {self._config.upload_mb:g}")

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        """End the run there; waits for what is left to send, no longer than the timeout.

        Args:
            summary: shown as the run's results.
            exit_code: 0 for a training that has come to its end.
        """
        self._call(lambda there: there.summary.update(dict(summary)))
        self._call(lambda there: there.finish(exit_code=exit_code), self._config.timeout + QUICK)
        if self._there is not None and self.folder is not None and self.folder.name.startswith("offline"):
            print(f"wandb: logged offline; send it by: wandb sync {self.folder}")
        self._there = None

    def _connect(self, id_: str) -> Any:
        """The package's run, online or offline as the options say; None, with a warning, where there is none."""
        try:
            import wandb

            server = getattr(wandb.Settings(), "base_url", "")
        except Exception as error:  # a broken installation, or a folder of logs that Python takes for the package
            self._warn(f"needs the package 'wandb' ({_reason(error)}): pip install wandb; nothing is logged there")
            return None
        mode = os.environ.get("WANDB_MODE") or self._config.mode
        known = has_api_key(server)
        if mode == "auto":
            mode = "online" if known else "offline"
        failed = "no API key; see `wandb login`" if mode == "online" and not known else ""
        if mode == "online" and known:
            try:
                return _within(self._config.timeout + QUICK, lambda: self._init(wandb, "online", id_))
            except Exception as error:  # of the network, the account or the package
                failed = _reason(error)
                with suppress(Exception):  # else its process says that the id is in use
                    _within(QUICK, wandb.teardown)
        try:
            there = _within(self._config.timeout + QUICK, lambda: self._init(wandb, "offline", id_))
        except Exception as error:
            self._warn(f"{failed or _reason(error)}; nothing is logged there")
            return None
        if failed:
            self._warn(f"{failed}; logged offline, into {there.dir}")
        return there

    def _init(self, wandb: Any, mode: str, id_: str) -> Any:
        """A run of the package in a mode."""
        folder = self._run.path / FOLDER
        folder.mkdir(exist_ok=True)
        # Nothing is written outside of the run, and no errors of the package are reported to its makers.
        for name, value in (("CACHE_DIR", folder / "cache"), ("DATA_DIR", folder / "data"), ("ERROR_REPORTING", "false")):
            os.environ.setdefault(f"WANDB_{name}", str(value))
        os.environ.setdefault("WANDB_SILENT", "true")
        wait = self._config.timeout
        limits = {
            **{"init_timeout": wait, "finish_timeout": wait, "finish_timeout_raises": True, "login_timeout": max(int(wait), 1)},
            **{"x_graphql_retry_max": 1, "x_graphql_timeout_seconds": wait, "x_file_transfer_timeout_seconds": 10 * wait},
        }
        known = getattr(wandb.Settings, "model_fields", None)
        settings = {name: value for name, value in (PRIVATE | limits).items() if known is None or name in known}
        return wandb.init(
            project=self._config.project,
            entity=self._config.entity,
            name=self._config.title or self._run.path.resolve().name,
            dir=str(self._run.path),
            config=self._facts(),
            id=id_,
            resume="allow",
            mode=mode,
            settings=wandb.Settings(**settings),
        )

    def _facts(self) -> dict[str, Any]:
        """Settings of the training and its environment, paths without their folders."""
        environment = read_manifest(self._run.path / "environment.json", "environment of the run", MapOf(CONTENT))
        facts: dict[str, Any] = without_folders(cli.as_dict(self._run.config))
        return facts | {"input_channels": self._run.channels, "environment": environment}

    def _save(self, path: Path, there: Any) -> None:
        """Copy a file into the folder that the package sends; settings without folders in their paths."""
        copy = Path(there.dir) / "run" / path.relative_to(self._run.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "config.yaml":
            write_yaml(copy, without_folders(cli.as_dict(self._run.config)))
        elif path.name == "run.json":
            write_json(copy, without_folders(self._run.metadata))
        else:
            shutil.copyfile(path, copy)
        there.save(str(copy), base_path=there.dir, policy="now")

    def _call(self, call: Callable[[Any], Any], seconds: float | None = None) -> None:
        """Make a call, if there is a run, of so many seconds or QUICK; one that fails is the last."""
        if self._there is None:
            return
        try:
            _within(QUICK if seconds is None else seconds, lambda: call(self._there))
        except Exception as error:  # whatever the package raises, the training goes on
            self._there = None
            self._warn(f"{_reason(error)}; no longer logged there; what was logged is in {self.folder}")

    def _warn(self, reason: str) -> None:
        print(f"warning: wandb: {reason}", flush=True)


def state_files(run: Path) -> list[Path]:
    """Files of a run that hold its exact state, in the order of their use: what is needed to go on comes first."""
    names = ("history.csv", "config.yaml", "run.json", "preparation.yaml", "schema.yaml", "environment.json", "last.weights.h5")
    found = [run / name for name in names] + sorted((run / "state").glob("epoch_*.npz"))[-1:] + [run / "best.weights.h5"]
    return [path for path in found if path.is_file()]


def has_api_key(base_url: str) -> bool:
    """True where the environment or a netrc file has a key for the server, so that the package will not ask for one."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    for file in (os.environ.get("NETRC"), Path.home() / ".netrc", Path.home() / "_netrc"):
        with suppress(OSError, NetrcParseError):
            hosts = netrc(str(file)).hosts if file else {}
            if any(host in hosts for host in (urlsplit(base_url).hostname, *HOSTS)):
                return True
    return False


def without_folders(value: Any) -> Any:
    """Value of a config whose absolute paths are cut to their last part: folders may be named after patients or clinics."""
    if isinstance(value, Mapping):
        return {name: without_folders(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    if isinstance(value, Path) or (isinstance(value, str) and Path(value).is_absolute()):
        return Path(value).name
    return value


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Result of a call in a thread of its own; a call that takes too long is left behind.

    Raises:
        TimeoutError: it took too long.
        Exception: what the call raised.
    """
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} s")
    if errors:
        raise errors[0] if isinstance(errors[0], Exception) else RuntimeError(_reason(errors[0]))
    return results[0]


def _reason(error: BaseException) -> str:
    """First line of an error, without its end where that is long."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:LONGEST]
