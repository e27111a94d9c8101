"""Schema of a manifest or table: the type and range of each value, checked as it is read.

A file that parses can still hold anything. A reader describes what it needs, and gets that or an error in one line:

    RUN = Fields({"channels": ListOf(Text(), least=1)}, optional={"fold": Maybe(Whole(0))})
    values = read_manifest(path, "run", RUN)         # run.json: channels: expected a list of one item or more; received []

Keys that a description does not name are kept as they are, for later versions may have added them.
"""

import math
import reprlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from common.errors import UserError
from common.files import read_json, read_yaml
from common.tables import counted, read_rows

LONGEST_TEXT = 4096  # letters of a text, such as a path
WHOLE = 2**63  # whole numbers lie below it, as in arrays of int64
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlist = _SHORT.maxdict = 4
_SHORT.maxlevel = 2


class WrongValueError(Exception):
    """Value of another type or range than its description: its key, what was expected and what was received."""

    def __init__(self, key: str, wanted: str, value: Any) -> None:
        super().__init__(f"{f'{key}: ' if key else ''}expected {wanted}; received {shown(value)}")


class Kind(Protocol):
    """Description of a value."""

    def check(self, value: Any, key: str) -> Any:
        """The value, as its reader takes it.

        Raises:
            WrongValueError: another type or range; `key` names it, such as records[0].path.
        """


@dataclass(frozen=True)
class Text:
    """Text without control characters.

    Args:
        one_of: the texts that it may be; empty: any.
        least: letters that it has at least.
    """

    one_of: tuple[str, ...] = ()
    least: int = 0

    def check(self, value: Any, key: str) -> str:
        """The text."""
        if self.one_of:
            if not isinstance(value, str) or value not in self.one_of:
                raise WrongValueError(key, f"one of {', '.join(self.one_of)}", value)
            return value
        if not isinstance(value, str) or not self.least <= len(value) <= LONGEST_TEXT:
            raise WrongValueError(key, f"a text of {self.least} to {LONGEST_TEXT} letters", value)
        if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in value):
            raise WrongValueError(key, "a text without control characters", value)
        return value


@dataclass(frozen=True)
class Number:
    """Finite number, both bounds allowed; `or_nan` allows NaN and infinity too, and an empty cell of a table."""

    low: float = -math.inf
    high: float = math.inf
    or_nan: bool = False

    def check(self, value: Any, key: str) -> int | float:
        """The number."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.or_nan and isinstance(value, float) and not math.isfinite(value):
            return value
        if not (is_number and abs(value) <= sys.float_info.max and self.low <= value <= self.high):
            raise WrongValueError(key, f"a finite number{_bounds(self.low, self.high)}", value)
        return value


@dataclass(frozen=True)
class Whole:
    """Whole number of 64 bits, both bounds allowed."""

    low: int = -WHOLE
    high: int = WHOLE - 1

    def check(self, value: Any, key: str) -> int:
        """The number."""
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            bounds = _bounds(-math.inf if self.low == -WHOLE else self.low, math.inf if self.high == WHOLE - 1 else self.high)
            raise WrongValueError(key, f"a whole number{bounds}", value)
        return value


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def check(self, value: Any, key: str) -> bool:
        """The flag."""
        if not isinstance(value, bool):
            raise WrongValueError(key, "true or false", value)
        return value


@dataclass(frozen=True)
class Maybe:
    """Value that may be null; in a table an empty cell."""

    kind: Kind

    def check(self, value: Any, key: str) -> Any:
        """The value or None."""
        return None if value is None else self.kind.check(value, key)


@dataclass(frozen=True)
class ListOf:
    """List of values of one kind.

    Args:
        kind: of each item.
        least, most: items that it has; the same number twice for a fixed length.
    """

    kind: Kind
    least: int = 0
    most: int = 10_000_000

    def check(self, value: Any, key: str) -> list[Any]:
        """The list, with checked items."""
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            fixed = f" of {counted(self.least, 'item')}" if self.least == self.most else ""
            least = f" of at least {counted(self.least, 'item')}" if self.least and not fixed else ""
            raise WrongValueError(key, f"a list{fixed}{least}", value)
        return [self.kind.check(item, f"{key}[{place}]") for place, item in enumerate(value)]


@dataclass(frozen=True)
class MapOf:
    """Mapping of free names to values of one kind.

    Args:
        kind: of each value.
        least: names that it has at least.
    """

    kind: Kind
    least: int = 0

    def check(self, value: Any, key: str) -> dict[str, Any]:
        """The mapping, with checked names and values."""
        if not isinstance(value, dict) or len(value) < self.least:
            raise WrongValueError(
                key, f"a mapping of at least {counted(self.least, 'name')}" if self.least else "a mapping", value
            )
        for name in value:
            Text(least=1).check(name, f"{key}: name")
        return {name: self.kind.check(item, _inner(key, name)) for name, item in value.items()}


@dataclass(frozen=True)
class Fields:
    """Mapping of given keys; others are kept as they are.

    Args:
        needed: key -> kind.
        optional: key -> kind, of keys that may lack.
    """

    needed: Mapping[str, Kind]
    optional: Mapping[str, Kind] = field(default_factory=dict)

    def check(self, value: Any, key: str) -> dict[str, Any]:
        """The mapping, with checked values."""
        if not isinstance(value, dict):
            raise WrongValueError(key, f"a mapping with {_listed(self.needed or self.optional)}", value)
        lacking = next((name for name in self.needed if name not in value), None)
        if lacking is not None:
            raise WrongValueError(_inner(key, lacking), "this key", list(value))
        kinds = {**self.optional, **self.needed}
        return {name: kinds.get(name, CONTENT).check(item, _inner(key, str(name))) for name, item in value.items()}


@dataclass(frozen=True)
class Content:
    """Value of any type, without a description of its own."""

    def check(self, value: Any, key: str) -> Any:
        """The value as it is."""
        return value


CONTENT = Content()


def read_manifest(path: Path, what: str, kind: Kind, version: Any = None, advice: str = "") -> Any:
    """Read a JSON or YAML file, by its ending, and check its values.

    Args:
        path: the file.
        what: names it in errors.
        kind: description of its values.
        version: value of its key `format`; None: it has none.
        advice: end of an error line, such as "score again".

    Raises:
        UserError: not found, not JSON or YAML, of another version, or a value of another type or range.
    """
    try:
        values = (read_yaml if path.suffix in (".yaml", ".yml") else read_json)(path, what)
    except UserError as error:
        raise UserError(f"{error}{_end(advice)}") from None
    if version is not None and (not isinstance(values, dict) or values.get("format") != version):
        received = shown(values.get("format") if isinstance(values, dict) else values)
        raise UserError(f"{path}: expected {what} of format {version}; received {received}{_end(advice)}")
    return checked(values, kind, path, advice)


def checked(values: Any, kind: Kind, where: Path | str, advice: str = "") -> Any:
    """Values of a file that is read already, checked; arguments as of `read_manifest`, and the same error."""
    try:
        return kind.check(values, "")
    except WrongValueError as error:
        raise UserError(f"{where}: {error}{_end(advice)}") from None


def read_table(
    path: Path, what: str, columns: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None, advice: str = ""
) -> list[dict[str, Any]]:
    """Read a CSV file and check its cells; columns that are not described stay text.

    Args:
        path: the file.
        what: names it in errors.
        columns: name -> kind of its cells.
        optional: the same, of columns that may lack.
        advice: end of an error line.

    Raises:
        UserError: no table, a column that lacks, or a cell of another type or range.
    """
    rows: list[dict[str, Any]] = [dict(row) for row in read_rows(path)]
    kinds = {**(optional or {}), **columns}
    lacking = [name for name in columns if rows and name not in rows[0]]
    if lacking:
        raise UserError(f"{path}: expected {what} with a column {lacking[0]}; received {_listed(rows[0])}{_end(advice)}")
    for place, row in enumerate(rows, start=1):
        for name, kind in kinds.items():
            if name in row:
                row[name] = checked(_of_cell(row[name], kind), kind, f"{path}: row {place}: {name}", advice)
    return rows


def shown(value: Any) -> str:
    """Value in an error line, shortened."""
    return "null" if value is None else _SHORT.repr(value)


def _end(advice: str) -> str:
    return f"; {advice}" if advice else ""


def _inner(key: str, name: str) -> str:
    """Key of a value in a mapping."""
    name = name if name.isprintable() and len(name) <= 60 else shown(name)
    return f"{key}.{name}" if key else name


def _listed(names: Iterable[str]) -> str:
    """Names in an error line, the first few."""
    first = [name if name.isprintable() else shown(name) for name in list(names)[:8]]
    return ", ".join(first) or "none"


def _bounds(low: float, high: float) -> str:
    """Words for the bounds of a number."""
    if math.isfinite(low) and math.isfinite(high):
        return f" of {low:g} to {high:g}"
    return f" of at least {low:g}" if math.isfinite(low) else f" of at most {high:g}" if math.isfinite(high) else ""


def _of_cell(cell: str, kind: Kind) -> Any:
    """Value of a table's cell: a number where its kind is one and it can be read so, else its text."""
    if isinstance(kind, Maybe):
        return _of_cell(cell, kind.kind) if cell else None
    if isinstance(kind, Number) and not cell and kind.or_nan:
        return math.nan
    try:
        # int() of thousands of digits takes long
        return float(cell) if isinstance(kind, Number) else int(cell) if isinstance(kind, Whole) and len(cell) < 20 else cell
    except ValueError:
        return cell
