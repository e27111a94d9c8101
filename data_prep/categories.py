"""Categories: values of a patient's attributes, such as grade, as classes; missing values are none, numbers are numbers."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

from common.tables import counted

MISSING = frozenset(("", "nan", "-nan", "n/a", "#n/a", "na", "#na", "<na>", "none", "null"))
"""Words for a missing value, lower-cased: those that pandas reads as such."""
NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{0,30})?")


def category(value: str | None) -> str:
    """Category of a text: `2` for 2, 2.0 and 02, empty for NaN, n/a and the like; other texts stripped."""
    text = (value or "").strip()
    if text.lower() in MISSING:
        return ""
    if NUMBER.fullmatch(text) is None:
        return text
    number = Decimal(text)
    return "0" if number == 0 else f"{number:f}".rstrip("0").rstrip(".") if "." in text else f"{number:f}"


def known_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes with their categories; missing ones are left out."""
    found = {name: category(value) for name, value in attributes.items()}
    return {name: value for name, value in found.items() if value}


def normalised_classes(classes: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Classes of a config: name -> categories of the values that mean it."""
    return {name: [category(value) for value in values] for name, values in classes.items()}


def class_counts(attribute: str, patients: Mapping[str, str]) -> str:
    """Line of the classes and their patients: "grade: II 20 patients, III 1 patient; without: 3 patients".

    Args:
        attribute: its name.
        patients: patient -> class; empty without one.
    """
    numbers = Counter(patients.values())
    known = ", ".join(f"{name} {counted(number, 'patient')}" for name, number in sorted(numbers.items()) if name)
    lacking = f"; without: {counted(numbers[''], 'patient')}" if numbers[""] else ""
    return f"{attribute}: {known or 'no patient'}{lacking}"
