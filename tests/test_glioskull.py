"""The command that lists and runs all others."""

import subprocess
import sys
from importlib import import_module

import pytest

import glioskull
from tests.test_commands import COMMANDS, HEAVY, config_of


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["glioskull", *words])
    glioskull.main()


def test_the_table_holds_every_command_once():
    found = glioskull.commands()
    assert sorted(command.module for command in found.values()) == COMMANDS
    for name, command in found.items():
        module = import_module(command.module)
        assert command.module.rpartition(".")[2] == name
        assert getattr(module, command.config) is config_of(module)


def test_a_commands_line_is_the_first_sentence_of_its_config():
    for command in glioskull.commands().values():
        text = " ".join(getattr(import_module(command.module), command.config).__doc__.split())
        assert len(command.text) > 10
        assert text.startswith(command.text)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_list_shows_each_command_with_its_line(words, monkeypatch, capsys):
    call(monkeypatch, *words)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 120
    for name, command in glioskull.commands().items():
        assert f"\n  {name} " in shown
        assert command.text in " ".join(shown.split())


def test_the_list_imports_no_framework():
    """By what is loaded, and not by seconds, which a busy machine decides."""
    program = "import sys, glioskull; sys.argv = ['glioskull']; glioskull.main(); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], cwd=glioskull.ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "common" in loaded
    assert loaded & (HEAVY | {"numpy", "training", "evaluation"}) == set()


@pytest.mark.parametrize(
    ("word", "meant"), [("trian", "train"), ("cross-validate", "cross_validate"), ("training.train", "train")]
)
def test_another_name_is_one_line_with_a_similar_one(word, meant, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, word)
    shown = capsys.readouterr()
    assert (end.value.code, shown.out) == (2, "")
    assert shown.err == f"error: {word}: unknown command; did you mean {meant}? (see glioskull --help)\n"


def test_a_command_runs_with_its_options_and_ends_with_its_status(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "make_records", "--source", "nowhere", "--out", "x")
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: nowhere: source not found; expected a folder of scans or a CSV table\n"
    call(
        monkeypatch, "make_phantom", "--cases", "1", "--size", "[48,48,32]", "--workers", "1", "--out", str(tmp_path / "scans")
    )
    assert list((tmp_path / "scans").iterdir())


def test_the_usage_line_and_the_errors_name_this_program(monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "train", "--help")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: glioskull train [options]\n")
    with pytest.raises(SystemExit):
        call(monkeypatch, "train", "--epoch", "3")
    said = "error: unrecognized arguments: --epoch 3; did you mean --epochs? (see glioskull train --help)\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("make_records", "--config", "glioma/train_best"), "no option model; received one of glioskull train"),
        (("train", "--config=glioma/data_best"), "no option prepare; received one of glioskull make_records"),
        (("train", "--config", "glioma/sweep"), "no option sweep; received one of glioskull study"),
    ],
)
def test_a_config_of_another_command_is_refused_with_that_command(words, said, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, *words)
    shown = capsys.readouterr().err
    assert end.value.code == 2
    assert f"{words[-1].rpartition('/')[2]}.yaml: expected a config of glioskull {words[0]}, which has {said}\n" in shown
    assert shown.count("\n") == 1


def test_a_mistake_in_a_config_of_the_command_itself_is_the_options(monkeypatch, capsys, tmp_path):
    (tmp_path / "own.yaml").write_text("patienc: 3\n")
    with pytest.raises(SystemExit):
        call(monkeypatch, "train", "--config", str(tmp_path / "own.yaml"))
    said = f"error: {tmp_path}/own.yaml: option patienc is not known; did you mean patience? (see glioskull train --help)\n"
    assert capsys.readouterr().err == said


def test_it_runs_as_a_module_and_for_a_reader_that_goes_away():
    command = f"{sys.executable} -m glioskull | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=glioskull.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "u", "")


def test_a_module_of_the_users_folder_is_found(tmp_path):
    (tmp_path / "my_models.py").write_text("tiny = 3\n")
    program = glioskull.ROOT / "glioskull.py"
    for name, words in (
        ("my_models:tiny", "records"),
        ("your_models:tiny", "of a package or of a module here"),
    ):
        command = [sys.executable, program, "train", "--model.name", name, "--records", "R", "--out", "O"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert ("--model.name" in done.stderr) == (name == "your_models:tiny")
