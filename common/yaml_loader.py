"""Parsers of YAML and JSON with bounds: nesting, repetition by anchors, length of numbers.

A few bytes can stand for gigabytes (anchors that repeat anchors), end a program (nesting deeper than its stack), or take
minutes (whole numbers of a million digits). All of that is refused while it is parsed, with a line number.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import yaml

DEEPEST = 64  # levels of lists and mappings in each other
MOST_REPEATED = 1 << 18  # values and letters that anchors add
MOST_YAML = 4 << 20  # letters of YAML; JSON is parsed a hundred times faster
LONGEST_NUMBER = 64  # letters of a number
MOST_WHOLE = 1 << 64
INT, FLOAT, TIMESTAMP = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
SIGNS_AND_DIGITS = "-+0123456789."
WHOLE = re.compile(r"[-+]?(?:0b[0-1_]+|0[0-7_]+|(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F_]+)$")
FINITE = r"[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
NUMBER = re.compile(rf"(?:[-+]?(?:{FINITE})|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$")


class BoundedLoader(yaml.SafeLoader):
    """Loader of YAML: keys are text and stand once in a mapping; dates and numbers of base 60 are text."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._size = 0  # values and letters so far, those that anchors repeat included
        self._repeated = 0
        self._sizes: dict[str, int] = {}  # of each anchor that is complete

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Node of the next event.

        Raises:
            MarkedYAMLError: nested or repeated beyond the bounds.
        """
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self._sizes:
                raise _refused(f"anchor {event.anchor} stands in itself", event)
            size = self._sizes.get(str(event.anchor), 0)
            self._size, self._repeated = self._size + size, self._repeated + size
            if self._repeated > MOST_REPEATED:
                raise _refused(f"its anchors repeat more than {MOST_REPEATED} values and letters", event)
            return super().compose_node(parent, index)
        before, self._depth = self._size, self._depth + 1
        self._size += 1 + (len(event.value) if isinstance(event, yaml.ScalarEvent) else 0)
        if self._depth > DEEPEST:
            raise _refused(f"expected at most {DEEPEST} lists and mappings in each other", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._sizes[event.anchor] = self._size - before
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Mapping of the next event.

        Raises:
            MarkedYAMLError: a key that is a list or mapping, or stands twice.
        """
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("expected a word as the key of a value; received a list or mapping", key)
            if key.value in lines:
                raise _refused(f"key {key.value[:60]} stands in line {lines[key.value]} too; remove one", key)
            lines[key.value] = key.start_mark.line + 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Mapping of a node, its keys as they are written: `no` and `1` are words there."""
        if not isinstance(node, yaml.MappingNode):
            raise _refused("expected a mapping", node)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Number of at most 64 bits.

        Raises:
            MarkedYAMLError: more digits, or no number behind an explicit tag.
        """
        construct = self.construct_yaml_int if node.tag == INT else self.construct_yaml_float
        try:
            value = construct(node) if len(node.value) <= LONGEST_NUMBER else None
        except (ValueError, IndexError, OverflowError):
            value = None
        if value is None or (isinstance(value, int) and abs(value) >= MOST_WHOLE):
            raise _refused(f"expected a number of at most 64 bits; received {node.value[:30]!r} (quote it if it is text)", node)
        return value

    def construct_flag(self, node: yaml.ScalarNode) -> bool:
        """True or false.

        Raises:
            MarkedYAMLError: another word behind an explicit tag.
        """
        try:
            return self.construct_yaml_bool(node)
        except KeyError:
            raise _refused(f"expected true or false; received {node.value[:30]!r}", node) from None


class TextLoader(BoundedLoader):
    """Loader of YAML whose plain scalars are all text: 007 and 1e3 stay as they are."""


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Types of plain scalars by their first letter: those of PyYAML, but that dates are text and 1e-3 is a number."""
    kept: dict[str, list[tuple[str, re.Pattern[str]]]] = {
        letter: [(tag, pattern) for tag, pattern in known if tag not in (INT, FLOAT, TIMESTAMP)]
        for letter, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for letter in SIGNS_AND_DIGITS:
        kept[letter] = [*kept.get(letter, []), (FLOAT, NUMBER), (INT, WHOLE)]
    return kept


BoundedLoader.yaml_implicit_resolvers = _resolvers()
TextLoader.yaml_implicit_resolvers = {}
BoundedLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "str", "seq", "map")
}
BoundedLoader.add_constructor(INT, BoundedLoader.construct_number)
BoundedLoader.add_constructor(FLOAT, BoundedLoader.construct_number)
BoundedLoader.add_constructor("tag:yaml.org,2002:bool", BoundedLoader.construct_flag)


def parse_yaml(text: str, as_text: bool = False) -> Any:
    """Value of a YAML text; with `as_text` nothing becomes a number or null.

    Raises:
        YAMLError: no YAML, or beyond the bounds.
    """
    if text[:1] in ("[", "{") and not as_text:  # JSON is YAML too, and an option may list ten thousand cases
        try:
            return parse_json(text)
        except ValueError:
            pass
    if len(text) > MOST_YAML:
        raise yaml.YAMLError(f"more than {MOST_YAML} letters")
    return yaml.load(text, TextLoader if as_text else BoundedLoader)


def yaml_error(error: yaml.YAMLError) -> str:
    """Line number and reason of an error: `line 3: key a stands in line 2 too; remove one`."""
    line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
    reason = getattr(error, "problem", None) or getattr(error, "reason", "") or (str(error) if not error.args[1:] else "")
    return f"line {line}{f': {reason}' if reason else ''}"


def parse_json(text: str, finite: bool = True) -> Any:
    """Value of a JSON text; with `finite` false NaN and Infinity are numbers, as Python writes them.

    Raises:
        JSONDecodeError: no JSON.
        ValueError: beyond the bounds, a key that stands twice, or a number that is not finite.
    """
    constant = _no_constant if finite else float
    too_deep = f"expected at most {DEEPEST} lists and mappings in each other"
    try:
        value = json.loads(
            text,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=constant,
            object_pairs_hook=_mapping,
        )
    except RecursionError:
        raise ValueError(too_deep) from None
    if text.count("[") + text.count("{") > DEEPEST and _is_deeper(value, DEEPEST):
        raise ValueError(too_deep)
    if "\\u" in text:  # half a letter, which no file can hold
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a letter (a surrogate)") from None
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """True for a value with more levels of lists and mappings in each other."""
    level = [value]
    for _ in range(levels + 1):
        level = [each for each in level if isinstance(each, dict | list)]
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return bool(level)


def _whole(text: str) -> int:
    value = int(text) if len(text) <= LONGEST_NUMBER else MOST_WHOLE
    if abs(value) >= MOST_WHOLE:
        raise ValueError(f"expected a number of at most 64 bits; received {text[:30]}")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number; received {text[:30]}")
    return value


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Mapping of keys and values, each key once."""
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:60]} stands twice; remove one")
    return values


def _refused(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
