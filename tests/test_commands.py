"""What holds for every command: help from docstrings, no framework before it is needed."""

import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from common import cli

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data_prep", "training", "evaluation")
HEAVY = {"tensorflow", "keras", "jax", "grain", "sklearn", "albumentations", "cv2", "matplotlib", "optuna"}
COMMANDS = sorted(
    f"{package}.{path.stem}"
    for package in PACKAGES
    for path in (ROOT / package).glob("*.py")
    if "cli.run(main" in path.read_text(encoding="utf-8")
)
IMPORT_ALL = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def config_of(module):
    """The config that a command's last line hands to `cli.run`."""
    last = Path(module.__file__).read_text(encoding="utf-8").strip().splitlines()[-1]
    return getattr(module, last.split("cli.run(main, ")[1].rstrip(") "))


def test_the_commands_were_found():
    assert {"data_prep.make_records", "data_prep.make_phantom", "data_prep.check", "training.train"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_every_option(name, capsys):
    module = import_module(name)
    config = config_of(module)
    assert is_dataclass(config)
    with pytest.raises(SystemExit) as end:
        cli.run(module.main, config, ["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert " ".join(config.__doc__.split("\n\n")[0].split()) in shown
    for option in config.__dataclass_fields__:
        assert f"--{option}" in shown
        assert f"--{option} {option.upper()} (" not in shown, f"--{option} of {name} has no help text"
    words = shown.replace(f"python -m {name}", "")
    assert [command for command in COMMANDS if command in words] == [], "a command is named as users type it: glioskull train"


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_one_line_and_status_2(name, capsys):
    module = import_module(name)
    with pytest.raises(SystemExit) as end:
        cli.run(module.main, config_of(module), ["--no_such_option", "1"])
    shown = capsys.readouterr()
    assert (end.value.code, shown.out) == (2, "")
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_print_config_prints_a_yaml_file_that_gives_the_same_again(name, capsys, tmp_path):
    module = import_module(name)
    required = [
        word
        for option in fields(config_of(module))
        if option.default is MISSING and option.default_factory is MISSING
        for word in (f"--{option.name}", str(tmp_path / "x"))
    ]
    with pytest.raises(SystemExit) as end:
        cli.run(module.main, config_of(module), [*required, "--print_config"])
    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert set(yaml.safe_load(printed)) == {option.name for option in fields(config_of(module))}
    assert "class_path" not in printed, "a dataclass is a group of options, whatever its bases"
    (tmp_path / "printed.yaml").write_text(printed)
    with pytest.raises(SystemExit) as end:
        cli.run(module.main, config_of(module), ["--config", str(tmp_path / "printed.yaml"), "--print_config"])
    assert (end.value.code, capsys.readouterr().out) == (0, printed)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mistyped_option_is_answered_with_the_right_one(name, capsys):
    module = import_module(name)
    option = max((item.name for item in fields(config_of(module))), key=len)
    with pytest.raises(SystemExit):
        cli.run(module.main, config_of(module), [f"--{option[:-2]}{option[-1]}", "1"])
    assert f"; did you mean --{option}" in capsys.readouterr().err


def test_no_command_imports_a_framework_before_it_is_needed():
    program = [sys.executable, "-c", IMPORT_ALL, *COMMANDS]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert set(PACKAGES) <= loaded
    assert loaded & HEAVY == set()


def test_a_command_runs_as_a_module():
    program = [sys.executable, "-m", "data_prep.make_records", "--source", "nowhere", "--out", "x"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nowhere: source not found; expected a folder of scans or a CSV table\n"
    usage = subprocess.run([*program[:3], "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert usage.stdout.startswith("usage: python -m data_prep.make_records")
