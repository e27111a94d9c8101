"""Command `glioskull`: lists the toolkit's commands, and runs one: `glioskull train ...` is `python -m training.train ...`.

It stands beside the packages, not in one of them: it refers to commands of all packages, so it is to the right of them all, and
the top of a package holds its commands alone. The table is read off the packages: a command is a module at the top of a package
that ends with `cli.run(main, Config)`; its line is the first sentence of the config's docstring. The list imports no command.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from textwrap import fill

from common import cli
from common.configs import find_config
from common.errors import UserError, did_you_mean
from common.exit_status import exit_status
from common.files import read_yaml

ROOT = Path(__file__).resolve().parent
PACKAGES = ("data_prep", "models", "training", "evaluation")
NAME = Path(__file__).stem
WIDTH = 100


@dataclass(frozen=True)
class Command:
    """Command of a package.

    Attributes:
        name: what is typed, such as train.
        module: its module, such as training.train.
        config: name of its config dataclass, such as TrainConfig.
        text: the first sentence of the config's docstring.
    """

    name: str
    module: str
    config: str
    text: str


def commands() -> dict[str, Command]:
    """All commands by name, package by package."""
    return {command.name: command for package in PACKAGES for command in _commands_of(package)}


def _commands_of(package: str) -> Iterator[Command]:
    for path in sorted((ROOT / package).glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "cli.run(main, " not in source:
            continue
        tree = ast.parse(source)
        config = _config_name(tree)
        if config is not None:
            paragraph = " ".join(_docstring(tree, config).split("\n\n")[0].split())
            yield Command(path.stem, f"{package}.{path.stem}", config, paragraph.split(". ")[0].removesuffix("."))


def _config_name(tree: ast.Module) -> str | None:
    """`Config` of a module's last statement `if __name__ == "__main__": cli.run(main, Config)`."""
    last = tree.body[-1]
    if isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'":
        call = last.body[-1].value if isinstance(last.body[-1], ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "cli.run" and isinstance(call.args[1], ast.Name):
            return call.args[1].id
    return None


def _docstring(tree: ast.Module, config: str) -> str:
    """Docstring of a class that a module defines, or imports from another of the toolkit's modules."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == config:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == config for alias in node.names):
            path = ROOT / Path(*node.module.split(".")).with_suffix(".py")
            return _docstring(ast.parse(path.read_text(encoding="utf-8")), config)
    return ""


def listing() -> str:
    """Help text: how a command is called, and all of them with a line each."""
    table = commands()
    column = max(map(len, table)) + 4
    lines = [f"usage: {NAME} COMMAND [options]", f"       {NAME} COMMAND --help", ""]
    for package in PACKAGES:
        inside = [command for command in table.values() if command.module.startswith(f"{package}.")]
        lines += [f"{package}:"] if inside else []
        for command in inside:
            head = f"  {command.name:{column - 2}}"
            lines.append(fill(command.text, WIDTH, initial_indent=head, subsequent_indent=" " * column))
        lines += [""] if inside else []
    lines.append("Options may stand in a YAML file: --config FILE, or the name of a shipped one, such as glioma/train_best.")
    return "\n".join(lines)


def refuse_config_of_another(command: Command, table: dict[str, Command], arguments: list[str]) -> None:
    """Refuse a --config with options that the command does not have and another command has.

    Raises:
        UserError: names the commands that have all options of the file.
    """

    def options(each: Command) -> set[str]:
        return {item.name for item in fields(getattr(import_module(each.module), each.config))}

    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    for path in [find_config(value) for word, value in pairwise(words) if word == "--config"]:
        content = read_yaml(path, "config")
        unknown = [key for key in content if key not in options(command)] if isinstance(content, dict) else []
        others = [each.name for each in table.values() if unknown and set(content) <= options(each)]
        if others:
            raise UserError(
                f"{path}: expected a config of {NAME} {command.name}, which has no option {unknown[0]}; "
                f"received one of {' or '.join(f'{NAME} {name}' for name in others)}"
            )


def main() -> None:
    """Run the command line of this process: print the list, or run a command and exit with its status."""
    with exit_status():
        name, *arguments = sys.argv[1:] or ["--help"]
        if name in ("-h", "--help"):
            print(listing(), flush=True)
            return
        table = commands()
        if name not in table:
            word = name.replace("-", "_").rpartition(".")[2]
            hint = did_you_mean(word, [word] if word in table else table)
            raise UserError(f"{name}: unknown command{hint} (see {NAME} --help)")
        command = table[name]
        refuse_config_of_another(command, table, arguments)
        module = import_module(command.module)
        cli.run(module.main, getattr(module, command.config), arguments, f"{NAME} {name}")


if __name__ == "__main__":
    main()
