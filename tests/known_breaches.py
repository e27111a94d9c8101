"""Known breaches of the rules in test_architecture.py, which writes this file; entries are only ever removed."""

KNOWN: dict[str, set[str]] = {}
