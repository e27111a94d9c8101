"""Values of options: text of a command line or of a config file, read as YAML with bounds."""

from typing import Any

import jsonargparse
import yaml

from common.yaml_loader import BoundedLoader, parse_yaml


def option_value(text: str) -> Any:
    """Value of an option's or a config's text; keys without values, such as `a:` or `{a}`, stay text.

    Raises:
        YAMLError: no YAML, or beyond the bounds.
    """
    value = parse_yaml(text)
    if not isinstance(value, dict) or not value or any(item is not None for item in value.values()):
        return value
    words = set(text.strip(" {}").replace(" ", "").split(","))
    return text if words == set(value) or text.strip() == f"{next(iter(value))}:" else value


def value_or_none(text: str) -> Any:
    """Value of an option's text; None where it is no YAML."""
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        return None


def bound_parser() -> None:
    """Let jsonargparse read YAML by our loader alone, in configs and in options."""
    jsonargparse.set_loader("yaml", option_value, (yaml.YAMLError,))
    # Values of the type Any are read by its own loader's class, which no setting changes.
    loaders: Any = jsonargparse._loaders_dumpers
    loaders.yaml_default_loader = BoundedLoader
