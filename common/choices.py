"""Choices: fields of a config that are one of several dataclasses, by the `name` that is given."""

from dataclasses import field, fields, make_dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from common.errors import UserError, did_you_mean
from common.files import read_yaml
from common.option_errors import file_of
from common.option_values import value_or_none

IMPORT_PATH = "package.module:callable"
"""Entry of a choice's registry that stands for any name with a colon in it."""


def choice(registry: dict[str, str], default: str) -> Any:
    """Declare a field of a config that is one of several dataclasses, chosen by its `name`.

    Args:
        registry: name -> "module:Dataclass"; the entry of the name `IMPORT_PATH` is for any name with a colon in it.
        default: the name that is taken where none is given.
    """
    return field(default_factory=lambda: load_class(registry[default])(), metadata={"registry": registry, "default": default})


def load_class(path: str) -> Any:
    """Class of an import path "package.module:Name" of the toolkit's own tables; its module is imported now."""
    module, name = path.split(":")
    return getattr(import_module(module), name)


def with_choices(config: type, arguments: list[str]) -> type:
    """The config with each `choice` field given the type of its name on the command line or in the file."""
    replaced = []
    for item in fields(config):
        registry = item.metadata.get("registry")
        if registry is None:
            continue
        name: Any = chosen_name(item.name, arguments) or item.metadata["default"]
        is_path = isinstance(name, str) and ":" in name and name not in registry
        entry = IMPORT_PATH if is_path else name
        if not isinstance(entry, str) or entry not in registry:
            hint = did_you_mean(str(entry), registry)
            where = file_of(f"{item.name}.name", arguments)
            raise UserError(f"{where}--{item.name}.name: expected one of {', '.join(registry)}; received {name!r}{hint}")
        replaced.append((item.name, entry, load_class(registry[entry])))
    return _with_chosen(config, tuple(replaced)) if replaced else config


@lru_cache(maxsize=64)
def _with_chosen(config: type, replaced: tuple[tuple[str, str, type], ...]) -> type:
    """The config with other types of some fields: their names, the entries of their registries, and the types."""
    registries = {item.name: item.metadata["registry"] for item in fields(config) if "registry" in item.metadata}
    types = [(name, kind, choice(registries[name], entry)) for name, entry, kind in replaced]
    return make_dataclass(config.__name__, types, bases=(config,), kw_only=True, namespace={"__doc__": config.__doc__})


def chosen_name(option: str, arguments: list[str]) -> str | None:
    """Name of a choice on the command line, or in its files; None where none is given."""
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
    content = read_yaml(path, "config") if is_file else value_or_none(text) if text.startswith("{") else None
    if option is not None and isinstance(content, dict):
        content = content.get(option)
        if isinstance(content, str) and Path(content).is_file():  # model: FILE
            return _name_in(content, None)
    return content.get("name") if isinstance(content, dict) else None
