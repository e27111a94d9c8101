"""Patient ids that may be of one patient: alike but for letter case or the ending of a time point; and their joining."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from common.errors import UserError
from data_prep.scans.case import CaseFiles

OPTION = "--patient_pattern"
NUMBER = re.compile(r"(?P<stem>.*\w)[ ._-]\d{1,3}", re.DOTALL)  # X_11, BraTS-X-001
NUMBER_PATTERN = r"(.+)[ ._-]\d+"
WORDS = "t|tp|time|timepoint|v|visit|ses|session|scan|exam|study|fu|followup|day|week|month|baseline|pre|post|preop|postop"
POINT = re.compile(rf"(?P<stem>.*\w)[ ._-](?:{WORDS})[ ._-]?\d{{0,4}}[a-z]?", re.IGNORECASE | re.DOTALL)  # X_t1, X-FU003d
POINT_PATTERN = r"(.+?)([ ._-][a-zA-Z]+[ ._-]?\d*[a-z]?)?"
MOST_PER_STEM = 3  # patients for each beginning, on average: with more the numbers are those of patients, not of time points
MOST_LISTED = 5


def join_patients(cases: Sequence[CaseFiles], pattern: str | None) -> list[CaseFiles]:
    """Cases with the patients that a regular expression finds in their patient ids.

    Args:
        cases: of a source.
        pattern: its first group, of a match with the whole id, is the patient; ids without a match stay as they are. Patients
            that differ in letter case alone are joined. None: nothing changes.

    Raises:
        UserError: no regular expression, none with a group, or one that no id matches.
    """
    if pattern is None:
        return list(cases)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"{OPTION}: expected a regular expression such as '{NUMBER_PATTERN}'; received {pattern} ({error})"
        ) from None
    found = {case.patient: compiled.fullmatch(case.patient) if compiled.groups else None for case in cases}
    if not any(found.values()):
        raise UserError(
            f"{OPTION}: expected a regular expression whose first group is the patient, such as '{NUMBER_PATTERN}'; received "
            f"{pattern}, which matches no patient id such as {next(iter(found), 'none')}"
        )
    names = {patient: match[1] if match and match[1] else patient for patient, match in found.items()}
    first: dict[str, str] = {}
    return [replace(case, patient=first.setdefault(_plain(names[case.patient]), names[case.patient])) for case in cases]


def alike_names(patients: Sequence[str]) -> list[str]:
    """Warnings about patients whose ids may be those of one, a line for each group of them.

    Args:
        patients: ids; numbers at their ends count as time points where few ids share a beginning, for else they are those of
            the patients.
    """
    names = sorted(set(patients))
    lines = []
    for group in _groups({name: _plain(name) for name in names}):
        lines.append(f"patients {_listed(group)} differ in letter case alone; if they are one, join them by {OPTION} '(.+)'")
    points = {name: _plain(match["stem"]) for name in names if (match := POINT.fullmatch(name))}
    stems = points | {name: _plain(name) for name in names if _plain(name) in points.values()}
    for group in _groups(stems):
        lines.append(_time_points(group, POINT_PATTERN))
    rest = [name for name in names if name not in stems]
    numbered = {name: _plain(match["stem"]) for name in rest if (match := NUMBER.fullmatch(name))}
    beginnings = {numbered.get(name, _plain(name)) for name in rest}
    if len(beginnings) > 1 and len(rest) <= MOST_PER_STEM * len(beginnings):
        lines += [_time_points(group, NUMBER_PATTERN) for group in _groups(numbered)]
    return lines


def _time_points(group: list[str], pattern: str) -> str:
    return f"patients {_listed(group)} may be time points of one; if they are, join them by {OPTION} '{pattern}'"


def _groups(keys: dict[str, str]) -> list[list[str]]:
    """Names that have one key in common, two at least in each group."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name, key in keys.items():
        groups[key].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _plain(name: str) -> str:
    """Name without regard to letter case."""
    return unicodedata.normalize("NFC", name).casefold()


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "")
