"""One way from a config dataclass to a command: YAML file, options, help, one-line errors, exit status.

A command is a dataclass (its docstring is the help text, the strings below its fields the options') and a `main` that
takes it. `--config file.yaml` and options are the same thing; later ones win; unknown keys are refused.
"""

import errno
import json
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import field, fields, is_dataclass, make_dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import yaml

from common.errors import UserError
from common.files import read_yaml

USER_ERROR = 2
INTERRUPTED = 130
IMPORT_PATH = "package.module:callable"
OUTSIDE_OUR_HANDS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}


class _Parser(jsonargparse.ArgumentParser):
    """An argument parser that tells a mistake in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(f"{_plain(str(message))} (see {self.prog} --help)")


def choice(registry: dict[str, str], default: str) -> Any:
    """Declare a field of a config that is one of several dataclasses, told apart by its `name`.

    Args:
        registry: name -> "module:Dataclass"; the entry of the name `IMPORT_PATH` is for any name with a colon in it.
        default: the name that is taken where none is given.
    """
    return field(default_factory=lambda: _load(registry[default])(), metadata={"registry": registry, "default": default})


def run(main: Callable[[Any], None], config: type, arguments: Sequence[str] | None = None) -> None:
    """Parse the command line into `config`, call `main` with it and exit with the status that tells how it went.

    Status 0: done. 2: a user's mistake, told in a line on standard error. 130: stopped by Ctrl-C.
    """
    try:
        main(parse(config, sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        lines = str(error).splitlines()
        print("\n".join(f"error: {line}" for line in lines), file=sys.stderr)
        sys.exit(USER_ERROR)
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in OUTSIDE_OUR_HANDS:
            raise
        print(f"error: {error.filename or 'writing'}: {error.strerror}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("\nstopped by the user; what was finished is kept", file=sys.stderr)
        sys.exit(INTERRUPTED)


def parse(config: type, arguments: Sequence[str]) -> Any:
    """Turn command-line arguments into an instance of the dataclass `config`.

    Raises:
        UserError: an unknown option or key, a value of the wrong type, a missing option or file.
    """
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    _check_files(arguments)
    given = _bracket_lists(config, list(arguments))
    chosen = _with_choices(config, given)
    parser = _Parser(
        prog=_program(), allow_abbrev=False, description=config.__doc__, formatter_class=jsonargparse.DefaultHelpFormatter
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options below; what comes later wins")
    parser.add_class_arguments(chosen, None)
    parsed = parser.instantiate(parser.parse_args(given))
    return chosen(**{item.name: parsed[item.name] for item in fields(chosen)})


def _check_files(arguments: Sequence[str]) -> None:
    """Refuse a --config that is no YAML mapping, by its name, before it is mixed with other options."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    for option, value in pairwise(words):
        if option == "--config" and not isinstance(read_yaml(Path(value), "config"), dict):
            raise UserError(f"{value}: expected a config: a YAML mapping of options to values")


def _plain(message: str) -> str:
    """The parser's words without Python's names in them."""
    message = " ".join(message.split())
    for pattern, text in (
        (r'Parser key "([^"]+)":', r"--\1:"),
        (
            r"Does not validate against any of the Union subtypes.*?Subtypes: \[(.*)\] Errors:.*Given value: ",
            r"expected \1; received ",
        ),
        (r"Expected an? (.*?)\. Got value: ", r"expected \1; received "),
        (r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1"),
        (r"typing\.Literal\[([^\]]*)\]", r"one of \1"),
        (r"NoneType", "null"),
        (r"the following arguments are required: ", "missing option --"),
    ):
        message = re.sub(pattern, text, message)
    return message


def as_dict(value: Any) -> Any:
    """A config as plain dicts, lists, numbers and strings: what its YAML file holds."""
    if is_dataclass(value):
        return {item.name: as_dict(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: as_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_dict(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_dict(config: type, values: dict[str, Any], where: Path) -> Any:
    """The inverse of `as_dict`: a config from a YAML file's content; `where` names the file in errors."""
    try:
        return parse(config, [f"--{key}={_as_argument(value)}" for key, value in values.items()])
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _as_argument(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _program() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec else Path(sys.argv[0]).name


def _bracket_lists(config: type, arguments: list[str]) -> list[str]:
    """Let a list option take its items as words: `--runs A B` becomes `--runs=["A", "B"]`."""
    lists = {f"--{name}" for name, kind in typing.get_type_hints(config).items() if _is_list(kind)}
    joined: list[str] = []
    while arguments:
        word = arguments.pop(0)
        if word not in lists or not arguments or arguments[0].startswith("["):
            joined.append(word)
            continue
        items = []
        while arguments and not arguments[0].startswith("--"):
            items.append(arguments.pop(0))
        joined.append(f"{word}={json.dumps(items)}")
    return joined


def _is_list(kind: Any) -> bool:
    """Whether an option's type is a list, or a list that may be left out (`list[str] | None`)."""
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return any(typing.get_origin(part) is list for part in parts)


def _with_choices(config: type, arguments: list[str]) -> type:
    """The config with each `choice` field given the type that its name on the command line or in the file asks for."""
    replaced = []
    for item in fields(config):
        registry = item.metadata.get("registry")
        if registry is None:
            continue
        name = _chosen_name(item.name, arguments) or item.metadata["default"]
        entry = IMPORT_PATH if ":" in str(name) and name not in registry else name
        if entry not in registry:
            raise UserError(f"--{item.name}.name: expected one of {', '.join(registry)}; received {name!r}")
        replaced.append((item.name, _load(registry[entry]), choice(registry, entry)))
    if not replaced:
        return config
    return make_dataclass(config.__name__, replaced, bases=(config,), kw_only=True, namespace={"__doc__": config.__doc__})


def _chosen_name(option: str, arguments: list[str]) -> str | None:
    name = None
    for position, word in enumerate(arguments):
        key, equals, value = word.partition("=")
        if not equals:
            value = arguments[position + 1] if position + 1 < len(arguments) else ""
        if key == f"--{option}.name":
            name = value
        elif key in ("--config", f"--{option}"):
            found = _name_in(value, option if key == "--config" else None)
            name = found or name
    return name


def _name_in(text: str, option: str | None) -> str | None:
    """The `name` in a YAML file's (or a JSON argument's) mapping, or in its entry `option`."""
    path = Path(text)
    is_file = not text.startswith("{") and path.is_file()
    content = read_yaml(path, "config") if is_file else yaml.safe_load(text) if text.startswith("{") else None
    if option is not None and isinstance(content, dict):
        content = content.get(option)
    return content.get("name") if isinstance(content, dict) else None


def _load(path: str) -> type:
    module, name = path.split(":")
    loaded: type = getattr(import_module(module), name)
    return loaded
