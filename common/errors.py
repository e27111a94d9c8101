"""Errors that a user can mend, told in one line."""

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in what the user gave: one line that says what is wrong, where, and what to do.

    Commands print it as `error: ...` and exit with status 2; a traceback is reserved for bugs.
    """


class Problems(UserError):
    """Several mistakes found before work started, one line each.

    Args:
        lines: the problems, each naming its file and the rule that it breaks.
        summary: what stands below the list, for example how many cases are affected.
    """

    def __init__(self, lines: Iterable[str], summary: str) -> None:
        self.lines = list(lines)
        self.summary = summary
        super().__init__("\n".join([*self.lines, summary]))

    def __reduce__(self) -> tuple[type, tuple[list[str], str]]:
        """Pickled form: the constructor's arguments, so that it comes whole out of a worker process."""
        return Problems, (self.lines, self.summary)


class MissingPackage(UserError):
    """An optional package is needed for what was asked.

    Args:
        package: the name on PyPI.
        needed_for: what cannot be done without it.
    """

    def __init__(self, package: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the package '{package}': pip install {package}")
        self._given = (package, needed_for)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Pickled form: the constructor's arguments, so that it comes whole out of a worker process."""
        return MissingPackage, self._given


def expect_number(option: str, value: float | None, low: float, high: float = math.inf) -> None:
    """Refuse a number outside low..high; None, an option that was left out, is fine.

    Args:
        option: its name on the command line, without dashes.
        value: what was given.
        low, high: bounds, both allowed.
    """
    if value is None or low <= value <= high:
        return
    wanted = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
    raise UserError(f"--{option}: expected {wanted}; received {value}")


def did_you_mean(wrong: str, names: Iterable[str], full: Mapping[str, str] | None = None) -> str:
    """Suggestion of similar names, for the end of an error line: "; did you mean A or B?", or nothing.

    Args:
        wrong: the unknown name.
        names: the known names.
        full: known name -> the text that is offered instead of it.
    """
    near = get_close_matches(wrong, list(names), n=3)
    offered = [name if full is None else full[name] for name in near]
    return f"; did you mean {' or '.join(offered)}?" if offered else ""
