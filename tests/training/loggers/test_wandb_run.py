"""Weights & Biases: an offline run of the package itself is read back; whatever fails gives one warning and no more."""

import re
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from benchmarks.wandb_folder import read_folder
from tests.training.runs import SHORT, history
from training.loggers import wandb_run
from training.loggers.config import WandbConfig
from training.loggers.wandb_run import WandbRun, has_api_key, state_files, without_folders
from training.run import Run

KEY = "0123456789" * 4
real = pytest.mark.skipif(find_spec("wandb") is None, reason="the package wandb is not installed (requirements-wandb.txt)")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No account, and variables that the logger sets are put back."""
    for name in ("API_KEY", "MODE", "BASE_URL", "IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    for name in ("CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / name))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)


class Package:
    """Stand-in for the package: keeps what it is given; `fails` names calls that raise, or that hang."""

    def __init__(self, folder, fails=(), hangs=()):
        self.fails, self.hangs, self.folder = fails, hangs, folder
        self.given, self.rows, self.saved, self.ended = [], [], [], None
        self.Settings = lambda **settings: SimpleNamespace(base_url="https://example.org", **settings)
        self.Image = lambda path, caption: (path, caption)
        self.teardown = lambda: None

    def _happen(self, name):
        if name in self.hangs:
            time.sleep(2)
        if name in self.fails:
            raise RuntimeError(f"{name} failed: 500\nmore")

    def init(self, **given):
        self.given.append(given)
        self._happen(given["mode"])
        made = SimpleNamespace(
            id=given["id"], dir=str(self.folder / given["mode"] / "files"), summary={}, log=self._log, save=self._save
        )
        made.finish = self._finish
        return made

    def _log(self, row, step):
        self._happen("log")
        self.rows.append((step, row))

    def _save(self, path, base_path, policy):
        self._happen("save")
        self.saved.append(Path(path).relative_to(base_path).as_posix())

    def _finish(self, exit_code):
        self._happen("finish")
        self.ended = exit_code


@pytest.fixture
def package(monkeypatch, tmp_path):
    """`package(**behaviour)`: put a stand-in in the place of wandb."""

    def put(**behaviour):
        made = Package(tmp_path / "there", **behaviour)
        monkeypatch.setitem(sys.modules, "wandb", made)
        return made

    return put


def read_back(folder):
    """Content of an offline run, when the package has written all of it."""
    import_module("wandb").teardown()
    return read_folder(folder)


def log_all(folder, **settings):
    """A training's calls: start, an epoch, the files, the end."""
    log = WandbRun(Run(folder), WandbConfig(**settings))
    log.start([])
    log.log_epoch({"epoch": 5.0, "loss": 0.25})
    log.save_state()
    log.finish({"best": 0.5})
    return log


@real
def test_an_offline_run_of_the_package_holds_config_curves_pictures_and_state_and_a_resume_continues_it(
    train, records, tmp_path
):
    out = tmp_path / "run"
    options = (*SHORT, "--epochs", 1, "--logger.name", "wandb", "--logger.mode", "offline", "--logger.examples", 1)
    done = train(out, *options)
    assert done.status == 0, done.err
    assert "warning" not in done.out + done.err
    (folder,) = (out / "wandb").glob("offline-run-*")
    assert f"wandb: logged offline; send it by: wandb sync {folder}" in done.out
    found = read_back(folder)
    assert Run(out).metadata["wandb"] == {"id": found.id, "project": "glioskull", "entity": None}
    assert found.config["optimizer"]["learning_rate"] == 0.01
    assert found.config["records"] == records.name
    (row,) = [row for row in found.rows if "loss" in row]
    assert {name: f"{row[name]:.9g}" for name in history(out)[0]} == history(out)[0]
    assert (row["_step"], found.summary["best_epoch"]) == (1, 1)
    (picture,) = (out / "examples").glob("*.png")
    assert any(path.startswith(f"media/images/examples/{picture.stem}") for path in found.files)
    kept = [path for path in found.files if path.startswith("run/")]
    assert kept == [f"run/{path.relative_to(out).as_posix()}" for path in state_files(out)]
    assert {"run/history.csv", "run/last.weights.h5", "run/state/epoch_00001.npz"} <= set(kept)
    stored = folder / "files" / "run"
    assert (stored / "last.weights.h5").read_bytes() == (out / "last.weights.h5").read_bytes()
    texts = "".join((stored / name).read_text() for name in ("config.yaml", "run.json"))
    assert str(tmp_path) not in texts
    (log,) = folder.glob("run-*.wandb")
    assert b"not recorded" in log.read_bytes()  # in the place of the host's name
    assert str(tmp_path).encode() not in log.read_bytes()
    assert str(records.parent) not in texts + str(found.config)


def test_a_resumed_training_continues_the_run_that_run_json_names(package, run):
    there = package()
    log_all(run)
    first = there.given[0]["id"]
    log = WandbRun(Run(run), WandbConfig())
    log.start([{"epoch": 1.0}])
    assert [given["id"] for given in there.given] == [first, first]
    assert all(given["resume"] == "allow" for given in there.given)
    assert [step for step, _ in there.rows] == [5]  # the history that is there already is not logged again


def test_a_run_that_is_new_there_is_given_the_history_so_far(package, run):
    there = package()
    WandbRun(Run(run), WandbConfig()).start([{"epoch": 1.0}, {"epoch": 2.0}])
    assert [step for step, _ in there.rows] == [1, 2]


@pytest.mark.parametrize("module", [None, ModuleType("wandb")])
def test_without_the_package_there_is_one_warning(run, module, monkeypatch, capsys):
    """A folder of logs in the working directory, `wandb`, is a module without content."""
    monkeypatch.setitem(sys.modules, "wandb", module)
    log_all(run)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: wandb: needs the package 'wandb'")
    assert line.endswith("pip install wandb; nothing is logged there")
    assert "wandb" not in Run(run).metadata


@pytest.mark.parametrize(
    ("fails", "mode", "said"),
    [
        (("online",), "auto", "online failed: 500; logged offline, into "),
        (("online", "offline"), "online", "online failed: 500; nothing is logged there"),
        (("log",), "online", "log failed: 500; no longer logged there; what was logged is in "),
        (("save",), "online", "save failed: 500; no longer logged there"),
        (("finish",), "online", "finish failed: 500; no longer logged there"),
    ],
)
def test_a_call_that_fails_gives_one_warning(package, run, monkeypatch, capsys, fails, mode, said):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    package(fails=fails)
    log_all(run, mode=mode)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert line.startswith(f"warning: wandb: {said}")


@pytest.mark.parametrize("call", ["online", "log", "finish"])
def test_a_call_that_does_not_return_is_left_behind(package, run, monkeypatch, capsys, call):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(wandb_run, "QUICK", 0.3)
    package(hangs=(call,))
    log_all(run, timeout=0.01)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(lines) == 1
    assert "no answer within 0.3" in lines[0]


def test_without_an_account_auto_is_offline_and_online_says_so(package, run, capsys):
    there = package()
    log_all(run)
    assert "warning" not in capsys.readouterr().out
    log_all(run, mode="online")
    assert "warning: wandb: no API key; see `wandb login`; logged offline" in capsys.readouterr().out
    assert [given["mode"] for given in there.given] == ["offline", "offline"]


def test_wandb_mode_goes_before_the_option(package, run, monkeypatch):
    there = package()
    monkeypatch.setenv("WANDB_MODE", "disabled")
    log_all(run, mode="online")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_all(run, mode="online")
    assert [given["mode"] for given in there.given] == ["offline"]


@real
@pytest.mark.parametrize(
    ("key", "said"), [("wrong", "WANDB_API_KEY invalid"), (KEY, "refused|giving up|Failed|no answer")], ids=["key", "network"]
)
def test_with_a_wrong_key_or_without_network_the_package_logs_offline_after_one_warning(run, monkeypatch, capsys, key, said):
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    import_module("wandb").teardown()  # settings that it has read before stay
    log = log_all(run, mode="online", timeout=2.0)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert re.search(said, line)
    assert "; logged offline, into " in line
    assert [row["loss"] for row in read_back(log.folder).rows] == [0.25]


def test_files_that_are_too_large_are_named_and_left_out(package, run, capsys):
    there = package()
    (run / "best.weights.h5").write_bytes(b"0" * 2_000_000)
    log_all(run, upload_mb=1.5)
    assert "wandb: best.weights.h5 (2 MB) left out; --logger.upload_mb 1.5" in capsys.readouterr().out
    assert "run/last.weights.h5" in there.saved
    assert "run/best.weights.h5" not in there.saved


def test_a_key_is_found_in_the_environment_or_a_netrc_file(monkeypatch, tmp_path):
    assert not has_api_key("https://example.org")
    (tmp_path / "netrc").write_text(f"machine example.org login user password {KEY}\n")
    assert has_api_key("https://example.org")
    assert not has_api_key("https://example.com")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert has_api_key("https://example.com")


def test_paths_are_cut_to_their_last_part():
    given = {"records": [{"path": "/clinic/Doe/records"}], "out": Path("/clinic/run"), "model": "unet", "rate": 0.1}
    assert without_folders(given) == {"records": [{"path": "records"}], "out": "run", "model": "unet", "rate": 0.1}
