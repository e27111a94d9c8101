"""The project as a package: what pyproject.toml lists, and a wheel that runs from any folder."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_SHIPPED = {"benchmarks", "docs", "tests"}
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def tracked(*patterns):
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(done.stdout.split())


def test_every_package_is_listed():
    folders = {path.partition("/")[0] for path in tracked("*/*.py", "*/*.yaml")} - NOT_SHIPPED
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sorted(include) == sorted(pattern for folder in folders for pattern in (folder, f"{folder}.*"))
    assert [f"{name}.py" for name in PROJECT["tool"]["setuptools"]["py-modules"]] == tracked(":(glob)*.py")


def test_every_file_of_requirements_is_an_extra():
    dynamic = PROJECT["tool"]["setuptools"]["dynamic"]
    assert dynamic["dependencies"] == {"file": "requirements.txt"}
    files = {f"requirements-{name}.txt" for name in dynamic["optional-dependencies"]}
    assert files == set(tracked("requirements-*.txt"))
    for name in ("requirements.txt", *files):
        lines = (ROOT / name).read_text().splitlines()
        assert lines[0].startswith("# ")
        assert not [line for line in lines if line.startswith("-")], f"{name}: extras hold packages alone"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what `pip install .` puts beside other packages."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        if not name.startswith(tuple(f"{part}/" for part in NOT_SHIPPED)) and (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "source" / name)
    program = [sys.executable, "-c", BUILD, folder]
    done = subprocess.run(program, cwd=folder / "source", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_every_module_and_config_and_nothing_else(installed):
    files = sorted(path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file())
    shipped = tracked("*.py", "*.yaml", "evaluation/reports/page/*")
    assert [name for name in files if ".dist-info/" not in name] == [
        name for name in shipped if name.partition("/")[0] not in NOT_SHIPPED
    ]
    (metadata,) = installed.glob("*.dist-info/METADATA")
    text = metadata.read_text()
    for line in (ROOT / "requirements.txt").read_text().splitlines()[1:]:
        assert f"Requires-Dist: {line.partition('>=')[0].partition('[')[0]}" in text
    assert "Provides-Extra: jax" in text
    assert (metadata.parent / "entry_points.txt").read_text().split() == [
        "[console_scripts]",
        "glioskull",
        "=",
        "glioskull:main",
    ]


def test_an_installed_command_runs_from_any_folder(installed, tmp_path):
    def call(*words):
        program = [sys.executable, "-m", "glioskull", *words]
        environment = os.environ | {"PYTHONPATH": str(installed)}
        done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "make_records" in call()
    small = ("--size", "[48,48,32]", "--cases", "3", "--workers", "1")
    call("make_phantom", "--config", "synthetic/phantom", *small, "--out", "scans")
    options = ("--prepare.size", "[16,32,32]", "--split.fractions", "[1,0,0]", "--workers", "1")
    call("make_records", "--config", "synthetic/data", "--source", "scans", "--out", "records", *options)
    assert (tmp_path / "records" / "dataset.json").is_file()


def test_outputs_are_ignored_by_git_and_packages_of_their_names_are_not():
    def is_ignored(path):
        return subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False).returncode == 0

    assert all(
        is_ignored(f"{name}/new.json") for name in ("records", "runs", "predictions", "figures", "studies", "cv", "demo")
    )
    assert not any(is_ignored(name) for name in ("data_prep/records/new.py", "evaluation/figures/new.py", "tests/runs/new.py"))
    assert tracked("--cached", "--ignored", "--exclude-standard") == []
