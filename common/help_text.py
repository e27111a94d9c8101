"""Help of a command: a usage line of its required options, then every option with its values and its default."""

import argparse
from collections.abc import Iterable
from typing import Any

import jsonargparse
from jsonargparse import _actions

PRINT_CONFIG_HELP = "Print all options as YAML, those of the command line among them, and exit."
NUMBERS = {"int": "whole number", "float": "number"}
HIDDEN = (_actions._ActionConfigLoad, _actions._ActionHelpClassPath)
"""Options that every group of options has: a file for the group alone, and the names of its classes."""


class HelpFormatter(jsonargparse.DefaultHelpFormatter):
    """Formatter of help: jsonargparse's without the types of Python and the options that only it needs."""

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: Any, **named: Any) -> None:
        """Usage of a command: required options, and that there are others."""
        required = [f"{action.option_strings[0]} {self._metavar(action)}" for action in actions if action.required]
        super().add_usage(" ".join(["%(prog)s", *required, "[options]"]), (), *args, **named)

    def add_argument(self, action: argparse.Action) -> None:
        """Add an option, unless it is one that every group has."""
        if not isinstance(action, HIDDEN):
            super().add_argument(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """An option and its values: --runs RUN [RUN ...] rather than --runs [ITEM,...], --runs+ [ITEM,...]."""
        if action.nargs == 0 or isinstance(action, _actions._ActionPrintConfig | _actions.ActionConfigFile):
            return super()._format_action_invocation(action)
        return f"{action.option_strings[0]} {self._metavar(action)}"

    def _metavar(self, action: argparse.Action) -> str:
        """Words for the values of an option: its choices, else its own name, repeated where it takes several."""
        name = action.dest.rpartition(".")[2].upper()
        metavar = str(action.metavar or name)
        return f"{name} [{name} ...]" if metavar.startswith(("[", "'[")) else metavar

    def _get_help_string(self, action: argparse.Action) -> str:
        """Help of an option with the kind of number and the default; required options have none."""
        if isinstance(action, _actions._ActionPrintConfig):
            return PRINT_CONFIG_HELP
        if action.nargs == 0 or isinstance(action, _actions.ActionConfigFile):
            return super()._get_help_string(action)
        kind = NUMBERS.get((self._get_type_str(action) or "").partition(" | ")[0], "")
        default = "required" if action.required else "default: %(default)s"
        return f"{action.help or ''} ({'; '.join(part for part in (kind, default) if part)})"


def in_reading_order(parser: jsonargparse.ArgumentParser) -> None:
    """Put the groups of a parser's help into reading order: the command's options first, its required ones in front."""
    general, *groups = [group for group in parser._action_groups if group._group_actions]
    for group in groups:
        if group.title and parser.description and parser.description.startswith(group.title):
            group.title = "options of the command"
        group._group_actions.sort(key=lambda action: not action.required)
    general.title = "general options"
    parser._action_groups = [*groups, general]
