"""Fields of config dataclasses: their types, defaults and values, by dotted option such as prepare.size."""

import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any


def is_list(kind: Any) -> bool:
    """True for a list type, or a list that may be left out (`list[str] | None`)."""
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return any(typing.get_origin(part) is list for part in parts)


def item_dataclass(kind: Any) -> Any:
    """Dataclass of the items of a list type or the values of a dict type, or of a union with one; None where there is none."""
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    items = [typing.get_args(part)[-1] for part in parts if typing.get_origin(part) in (list, dict)]
    options = [option for item in items for option in (typing.get_args(item) or (item,))]
    return next((option for option in options if is_dataclass(option)), None)


def default_of(config: type, key: str) -> Any:
    """Default of an option, such as prepare.size; None where it has none."""
    value: Any = config
    for name in key.split("."):
        item = next((each for each in fields(value) if each.name == name), None) if is_dataclass(value) else None
        if item is None:
            return None
        value = item.default if item.default_factory is MISSING else item.default_factory()
    return None if value is MISSING else value


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted option and value of everything in a config that is no mapping of options itself."""
    if is_dataclass(value):
        for item in fields(value):
            yield from leaves(getattr(value, item.name), f"{key}.{item.name}" if key else item.name)
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part, key)
    else:
        yield key, value


def null_key(value: Any, key: str = "") -> str:
    """Dotted option of a config that is null though its type has no null; empty where there is none.

    The parser takes null for any list, mapping or group of options.
    """
    if isinstance(value, dict | list | tuple):
        inner = value.values() if isinstance(value, dict) else value
        return next((found for item in inner if (found := null_key(item, key))), "")
    if not is_dataclass(value) or isinstance(value, type):
        return ""
    kinds = _types(type(value))
    for item in fields(value):
        name, held = f"{key}.{item.name}" if key else item.name, getattr(value, item.name)
        if held is None and not _takes_null(kinds[item.name]):
            return name
        if found := null_key(held, name):
            return found
    return ""


@cache
def _types(config: type) -> dict[str, Any]:
    return typing.get_type_hints(config)


def _takes_null(kind: Any) -> bool:
    """True for a type that null belongs to."""
    return kind in (Any, None, type(None), object) or any(
        _takes_null(part) for part in typing.get_args(kind) if _is_union(kind)
    )


def _is_union(kind: Any) -> bool:
    return isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
