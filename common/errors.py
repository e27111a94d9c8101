"""Errors that a user can correct, one line each."""

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """Mistake of the user, in one line: expected, received, which file, what to do.

    Commands print it as `error: ...` and exit with status 2; a traceback is reserved for bugs.
    """


class Problems(UserError):
    """Several mistakes of the user, found before work starts, one line each.

    Args:
        lines: the problems, each naming its file and the rule that it breaks.
        summary: last line, for example the number of cases affected.
    """

    def __init__(self, lines: Iterable[str], summary: str) -> None:
        self.lines = list(lines)
        self.summary = summary
        super().__init__("\n".join([*self.lines, summary]))

    def __reduce__(self) -> tuple[type, tuple[list[str], str]]:
        """Pickling, for exceptions of worker processes."""
        return Problems, (self.lines, self.summary)


def problem_lines(error: UserError) -> list[str]:
    """Lines of an error, a problem each, without the summary of several."""
    return error.lines if isinstance(error, Problems) else str(error).splitlines()


class MissingPackage(UserError):
    """Optional package that is not installed.

    Args:
        package: the name on PyPI.
        needed_for: the option or command that needs it.
        option: of pip, such as --no-deps.
    """

    def __init__(self, package: str, needed_for: str, option: str = "") -> None:
        super().__init__(f"{needed_for} needs the package '{package}': pip install {f'{option} {package}'.strip()}")
        self._given = (package, needed_for, option)

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """Pickling, for exceptions of worker processes."""
        return MissingPackage, self._given


def expect_number(option: str, value: float | None, low: float, high: float = math.inf, above: bool = False) -> None:
    """Refuse a number outside low..high; None, an option that was left out, is fine.

    Args:
        option: its name on the command line, without dashes.
        value: what was given.
        low, high: bounds, both allowed.
        above: `low` itself is refused; without `high`.
    """
    if value is None or (low <= value <= high and not (above and value == low)):
        return
    least = f"more than {low:g}" if above else f"at least {low:g}"
    wanted = least if high == math.inf else f"{low:g} to {high:g}"
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


def did_you_mean_path(path: Path) -> str:
    """Suggestion of files or folders beside a missing one with similar names, for the end of an error line, or nothing."""
    try:
        missing = not path.exists() and path.parent.is_dir()
        beside = {entry.name: str(entry) for entry in path.parent.iterdir() if entry.name[0] != "."} if missing else {}
    except OSError:  # a folder that may not be listed
        return ""
    return did_you_mean(path.name, beside, beside)
