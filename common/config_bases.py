"""Bases of config dataclasses: facts on the command line that a config came from, beside its options."""

from collections.abc import Mapping, Sequence
from pathlib import Path


class ConfigWithFiles:
    """Base of a config whose files name other files by paths relative to themselves.

    Attributes:
        config_files: the --config files that it was read from; it is no option.
    """

    config_files: Sequence[Path] = ()


class ConfigWithOptions:
    """Base of a config of which it matters what the user gave, default values included.

    Attributes:
        given_options: dotted option, such as input.batch_size -> the --config file that gave it, "" for the command line. In
            the order in which they were given. None in a config that was not parsed.
    """

    given_options: Mapping[str, str] | None = None


class ConfigWithTrust:
    """Base of the config of a command that opens runs; it gives the command the option --trust (`common.trust`).

    It is given on the command line alone, so that no file can ask for trust in itself, and stored nowhere.

    Attributes:
        trust: import paths of the code that runs may name.
    """

    trust: Sequence[str] = ()
