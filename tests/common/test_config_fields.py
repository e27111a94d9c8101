from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.config_fields import default_of, is_list, item_dataclass, leaves, null_key


@dataclass
class Inner:
    size: tuple[int, int] | None = (4, 5)
    rates: dict[str, float] = field(default_factory=dict)


@dataclass
class Outer:
    out: Path
    parts: list[Inner] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)


def test_lists_are_found_in_unions():
    assert is_list(list[str])
    assert is_list(list[str] | None)
    assert not any(map(is_list, (str, tuple[int, int], dict[str, list[str]], Path | None)))


def test_the_dataclass_of_a_lists_items():
    assert item_dataclass(list[Inner]) is Inner
    assert item_dataclass(list[Path | Inner] | Path | None) is Inner
    assert item_dataclass(dict[str, Inner]) is Inner
    assert all(item_dataclass(kind) is None for kind in (Inner, list[str], list[str] | None, dict[str, str]))


def test_the_default_of_an_option():
    assert default_of(Outer, "inner.size") == (4, 5)
    assert default_of(Outer, "parts") == []
    assert [default_of(Outer, key) for key in ("out", "nothing", "inner.nothing", "inner.size.x")] == [None] * 4


def test_leaves_are_the_options_and_the_values_in_lists_and_mappings():
    config = Outer(Path("x"), [Inner((1, 2))], Inner(None, {"a": 0.5}))
    expected = [("out", Path("x")), ("parts.size", 1), ("parts.size", 2), ("inner.size", None), ("inner.rates", 0.5)]
    assert list(leaves(config)) == expected


@dataclass
class Part:
    size: int = 1
    names: list[str] | None = None


@dataclass
class Whole:
    inner: Part = field(default_factory=Part)
    several: list[Part] = field(default_factory=list)
    anything: Any = None


def test_null_is_found_where_a_type_has_none():
    assert null_key(Whole()) == ""
    assert null_key(Whole(inner=None)) == "inner"
    assert null_key(Whole(inner=Part(size=None))) == "inner.size"
    assert null_key(Whole(several=None)) == "several"
    assert null_key(Whole(several=[Part(size=None)])) == "several.size"
