"""One way from a config dataclass to a command: YAML file, options, help, one-line errors, exit status.

A command is a dataclass (its docstring is the help text, the strings below its fields the options') and a `main` that
takes it. `--config file.yaml` and options are the same thing; later ones win; unknown keys are refused.
"""

import json
import math
import re
import sys
import typing
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse

from common.choices import chosen_name, load_class, with_choices
from common.config_bases import ConfigWithFiles, ConfigWithOptions, ConfigWithTrust
from common.config_fields import default_of, is_list, item_dataclass, leaves, null_key
from common.configs import find_config
from common.errors import UserError, did_you_mean
from common.exit_status import exit_status
from common.files import read_yaml
from common.help_text import HelpFormatter, in_reading_order
from common.manifests import shown
from common.option_errors import HELP, explained, file_of, given_options, given_values, plain, refuse_undecoded, unknown_key
from common.option_values import bound_parser, value_or_none
from common.printable import printable_output
from common.processes import current_folder_unsearched
from common.trust import trusting

CONFIG_HELP = """YAML file with any of the options below, by its path or the name of a shipped one, such as glioma/train_best;
what comes later wins"""
TRUST_HELP = """Code that a run names, such as my_networks:tiny, and that may be imported and called; it can do anything on this
machine. On the command line alone; it may be repeated."""
_program: ContextVar[str | None] = ContextVar("program", default=None)
"""Name of the command that runs, for usage lines and errors, such as `glioskull train`; None: see `_module_program`."""
bound_parser()


def _loaded_dataclass(path: str, *arguments: Any, **named: Any) -> type:
    """Dataclass of a module that is loaded already; nothing is imported.

    jsonargparse asks for those of its own types by their paths, and in the same way for what a value names: a class_path, or a
    text where a mapping is expected. Its own function would import that.
    """
    module, _, name = str(path).rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    if isinstance(found, type) and is_dataclass(found):
        return found
    raise ValueError(f"Expected a dot import path string: {path}")


IMPORTER = "import_object"  # of jsonargparse
for _module in (jsonargparse._actions, jsonargparse._typehints, jsonargparse._util):
    setattr(_module, IMPORTER, _loaded_dataclass)


class _ItemError(UserError):
    """Mistake in an item of a list of dataclasses, before the option is named."""


class _Parser(jsonargparse.ArgumentParser):
    """Argument parser that raises a mistake as a `UserError` of one line."""

    given: Sequence[str] = ()
    """The arguments that are parsed."""
    config: type | None = None
    """Dataclass of the command; None in a parser that jsonargparse makes for an item of a list."""

    def format_help(self, *arguments: Any) -> str:
        """Help of the command, without the backspace that jsonargparse puts into the option --print_config."""
        return str(super().format_help(*arguments)).replace(" \b", "")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the parser's message in plain words: which file or option, what was expected, which options are similar."""
        if self.config is None:
            raise _ItemError(plain(str(message)))
        option = re.match(r'Parser key "([^"]+)":', str(message))
        message = plain(str(message), default_of(self.config, option[1]) if option else None)
        known = [name.removeprefix("--") for name in self._option_string_actions if name.startswith("--")]
        line = (
            _wrong_item(self.config, self.given)
            or _option_of_another_choice(self.config, unknown_key(message), self.given)
            or explained(message, known, self.given)
        )
        raise UserError(f"{line} (see {self.prog} --help)")

    def dump(self, cfg: jsonargparse.Namespace, *arguments: Any, **named: Any) -> str:
        """YAML of options, without --trust, which no file can give."""
        options = cfg.clone()
        options.pop("trust", None)
        return super().dump(options, *arguments, **named)


def run(main: Callable[[Any], None], config: type, arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Command line -> `config` -> `main`, and exit with a status.

    Status 0: done. 2: a user's mistake, one line on standard error. 130: stopped by Ctrl-C, SIGTERM or SIGHUP.

    Args:
        main: the command.
        config: its dataclass.
        arguments: the command line; None: that of this process.
        program: name in the usage line; None: python -m MODULE.
    """
    token = _program.set(program)
    try:
        with printable_output(), exit_status():
            given = sys.argv[1:] if arguments is None else arguments
            refuse_undecoded(given)
            parsed = parse(config, given)
            with trusting(getattr(parsed, "trust", ())), current_folder_unsearched():
                main(parsed)
    finally:
        _program.reset(token)


def parse(config: type, arguments: Sequence[str], program: str | None = None) -> Any:
    """Command-line arguments -> an instance of the dataclass `config`; `program` is named in the usage line.

    Raises:
        UserError: an unknown option or key, a value of the wrong type, a missing option or file.
    """
    parser, chosen = _parser(config, arguments, program)
    try:
        parsed = parser.instantiate(parser.parse_args([*parser.given, *_last_items(config, parser.given)]))
    except _ItemError as error:
        parser.error(str(error))
    except ValueError as error:
        if "null byte" not in str(error):  # of a path
            raise
        raise UserError("expected options and values without NUL characters (byte 0); received one in a path") from None
    instance = chosen(**{item.name: parsed[item.name] for item in fields(chosen)})
    if key := null_key(instance):
        parser.error(f"--{key}: expected a value; received null")
    for key, value in leaves(instance):
        if isinstance(value, float) and not math.isfinite(value):
            parser.error(f'Parser key "{key}": Expected a float. Got value: {value}')
        if isinstance(value, Path) and str(value).startswith(("[", "{")) and _wrong_item(config, parser.given):
            parser.error(f"{key}: {value}")  # a list with a mistake in it has been taken for a path
    if isinstance(instance, ConfigWithFiles):
        instance.config_files = [Path(str(path)) for path in parsed.get("config") or []]
    if isinstance(instance, ConfigWithOptions):
        instance.given_options = given_options(parser.given)
    if isinstance(instance, ConfigWithTrust):
        instance.trust = parsed.trust
    return instance


def _last_items(config: type, given: Sequence[str]) -> list[str]:
    """Lists and mappings of dataclasses, such as phases, that are given more than once: the last ones again, with defaults.

    The parser fills items of the last one with values of an earlier one where their numbers or keys are equal.
    """
    again = []
    for name, kind in typing.get_type_hints(config).items():
        values = given_values(name, given) if item_dataclass(kind) is not None else []
        if len(values) > 1 and not any(word.startswith((f"--{name}.", f"--{name}+")) for word in given):
            alone = make_dataclass(name, [(name, kind, field(kw_only=True))])
            last = getattr(parse(alone, [f"--{name}={_as_argument(values[-1][1])}"]), name)
            again.append(f"--{name}={json.dumps(as_dict(last))}")
    return again


def command_name(module: str) -> str:
    """Name by which messages call a command, as users type it: `glioskull train` for the module training.train."""
    return f"glioskull {module.rpartition('.')[2]}"


def option_names(config: type, arguments: Sequence[str] = ()) -> set[str]:
    """Options of a command, such as `model.filters`, without dashes.

    Args:
        config: dataclass of the command.
        arguments: command line; a choice has the options of the entry that is named here, else of its default.

    Raises:
        UserError: a config file that is not found or is no mapping, or an unknown name of a choice.
    """
    known = _parser(config, arguments)[0]._option_string_actions
    return {name.removeprefix("--") for name in known if name.startswith("--")}


def _parser(config: type, arguments: Sequence[str], program: str | None = None) -> tuple[_Parser, type]:
    """Parser of a command, with its `given` arguments, and the config whose choices they make."""
    given = _bracket_lists(config, _with_config_paths(config, arguments))
    if issubclass(config, ConfigWithTrust):
        given = _joined_trust(given)
    chosen = with_choices(config, given)
    parser = _built_parser(chosen, wants_help=not {"-h", "--help"}.isdisjoint(arguments))
    parser.prog, parser.given = program or _program.get() or _module_program(), given
    return parser, chosen


@lru_cache(maxsize=64)
def _built_parser(chosen: type, wants_help: bool) -> _Parser:
    """Parser of the options of a dataclass; building it takes longer than parsing does, and a run's files are parsed too."""
    # Only help needs attributes' docstrings, which are slow. Dataclasses with an abstract base are groups of options too.
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=wants_help, subclasses_disabled=[is_dataclass])
    parser = _Parser(allow_abbrev=False, description=chosen.__doc__, formatter_class=HelpFormatter)
    parser.config = chosen
    parser.add_argument("--config", action="config", help=CONFIG_HELP)
    parser.add_class_arguments(chosen, None)
    if issubclass(chosen, ConfigWithTrust):
        parser.add_argument("--trust", type=list[str], default=[], help=TRUST_HELP)
    _list_choices(parser, chosen)
    if wants_help:
        in_reading_order(parser)
    return parser


def _with_config_paths(config: type, arguments: Sequence[str]) -> list[str]:
    """The arguments with each --config given by its path; each must be a YAML mapping, with mappings for groups of options."""
    groups = [name for name, kind in typing.get_type_hints(config).items() if is_dataclass(kind)]
    given: list[str] = []
    for word in arguments:
        prefix = "--config=" if word.startswith("--config=") else ""
        if prefix or (given and given[-1] == "--config"):
            path = find_config(word.removeprefix(prefix))
            content = read_yaml(path, "config")
            if not isinstance(content, dict):
                raise UserError(f"{path}: expected a config: a YAML mapping of options to values")
            for name in groups:
                if not isinstance(content.get(name, {}), dict | str):
                    raise UserError(f"{path}: {name}: expected a mapping of its options; received {content[name]!r}")
            word = f"{prefix}{path}"
        given.append(word)
    return given


def _joined_trust(arguments: list[str]) -> list[str]:
    """The arguments with the names that all --trust give as one list.

    Raises:
        UserError: a config file gives some.
    """
    names: list[str] = []
    others: list[str] = []
    inside = False
    for word in arguments:
        option, equals, name = word.partition("=") if word.startswith("--") else ("", "", word)
        inside = option == "--trust" or (inside and not option)
        if not inside:
            others.append(word)
        elif equals or not option:
            names.append(name)
    asked = next((file for file, value in given_values("trust", others) if value), None)
    if asked is not None:
        raise UserError(f"{asked}trust: is given on the command line alone; a file cannot ask for it")
    return [*others, f"--trust={json.dumps(names)}"] if names else others


def _list_choices(parser: jsonargparse.ArgumentParser, config: type) -> None:
    """Help of each choice's name: all names that it may have."""
    for item in fields(config):
        action = parser._option_string_actions.get(f"--{item.name}.name")
        if action is not None and "registry" in item.metadata:
            action.help = (
                f"One of {', '.join(item.metadata['registry'])}. The options below are those of {item.metadata['default']}; "
                f"--{item.name}.name NAME --help lists those of another."
            )


def _wrong_item(config: type, given: Sequence[str]) -> str | None:
    """Error line for the first wrong dataclass in a list, such as phases, or a mapping, such as heads; else None."""
    for name, kind in typing.get_type_hints(config).items():
        item = item_dataclass(kind)
        for file, content in given_values(name, given) if item is not None else ():
            value = value_or_none(content) if isinstance(content, str) else content
            for key, values in _items(value, kind).items():
                where = f"{file}--{name}: {key}"
                if isinstance(values, dict) and item is not None and (wrong := _wrong_setting(item, values)):
                    return f"{where}: {wrong}"
                if isinstance(value, dict) and not isinstance(values, dict):  # an item of a list may be a path
                    return f"{where}: expected a mapping of its options, such as {{}}; received {values}"
    return None


def _items(value: Any, kind: Any) -> dict[str, Any]:
    """Items of a list, or values of a mapping where the type is a dict, by the words that name them; else none."""
    if isinstance(value, list):
        return {f"item {number}": each for number, each in enumerate(value, start=1)}
    return value if isinstance(value, dict) and typing.get_origin(kind) is dict else {}


def _wrong_setting(config: type, values: dict[str, Any]) -> str | None:
    """Mistake in a mapping that is to be a dataclass; None if there is none."""
    names = [entry.name for entry in fields(config)]
    unknown = [str(key) for key in values if key not in names]
    if unknown:
        known = did_you_mean(unknown[0], names) or f"; it has {', '.join(names)}"
        return f"option {unknown[0]} is not known{known}"
    try:
        parse(config, [f"--{key}={_as_argument(value)}" for key, value in values.items()])
    except UserError as error:
        return HELP.sub("", str(error)).removeprefix("--")
    return None


def _option_of_another_choice(config: type, key: str | None, given: Sequence[str]) -> str | None:
    """Error line for an option that belongs to another name of a choice than the one that is taken; None for other options."""
    group, _, name = (key or "").partition(".")
    item = next((each for each in fields(config) if each.name == group and "registry" in each.metadata), None)
    if item is None:
        return None
    registry, taken = item.metadata["registry"], item.metadata["default"]
    chosen = chosen_name(group, list(given)) or taken
    owners = [owner for owner, path in registry.items() if owner != taken and _has_field(load_class(path), name)]
    if not owners:
        return None
    where = file_of(f"{group}.{name}", given)
    named = [value for file, value in given_values(f"{group}.name", given) if file == where and file]
    advice = f"take a config without `{group}`, or with that of {chosen}" if named else f"leave it out, or set {group}.name"
    return f"{where}option {key} belongs to {group}.name {' or '.join(owners)}; received {group}.name {chosen}: {advice}"


def _has_field(config: type, name: str) -> bool:
    return any(item.name == name for item in fields(config))


def as_dict(value: Any) -> Any:
    """A config as plain dicts, lists, numbers and strings: what its YAML file holds."""
    if is_dataclass(value):
        return {item.name: as_dict(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: as_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_dict(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_dict(config: type, values: Any, where: Path, program: str | None = None) -> Any:
    """The inverse of `as_dict`: a config from a YAML file's content.

    Args:
        config: its dataclass.
        values: content of the file.
        where: names the file in errors, whose words are those of a file: its keys have no dashes.
        program: to whose --help errors refer; None: no command has these options.

    Raises:
        UserError: no mapping, an unknown key, a value of the wrong type, a missing one.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a mapping of options to values; received {shown(values)}")
    try:
        return parse(config, [f"--{key}={_as_argument(value)}" for key, value in values.items()], program)
    except UserError as error:
        line = str(error) if program else HELP.sub("", str(error))
        line = re.sub(r"^unrecognized arguments: --([\w.+]+)=.*?(; did you mean|(?: \(see .*)?$)", r"\1: unknown key\2", line)
        line = re.sub(r"^missing option .*", lambda found: found[0].replace("option", "key").replace("--", ""), line)
        line = re.sub(r"(^|did you mean | or )--", r"\1", line)
        raise UserError(f"{where}: {line}") from None


def _as_argument(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _module_program() -> str:
    """Program that this process runs: python -m MODULE, else the script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec else Path(sys.argv[0]).name


def _bracket_lists(config: type, arguments: list[str]) -> list[str]:
    """Let a list option, of a group too, take its items as words: `--runs A B` becomes `--runs=["A", "B"]`."""
    kinds = typing.get_type_hints(config)
    for group, kind in [(name, kind) for name, kind in kinds.items() if is_dataclass(kind)]:
        kinds |= {f"{group}.{name}": inner for name, inner in typing.get_type_hints(kind).items()}
    lists = {f"--{name}" for name, kind in kinds.items() if is_list(kind)}
    joined: list[str] = []
    while arguments:
        word = arguments.pop(0)
        if word not in lists or not arguments or arguments[0].startswith("["):
            joined.append(word)
            continue
        items = []
        while arguments and not arguments[0].startswith("--"):
            items.append(arguments.pop(0))
        nothing = items == ["null"] and "." in word  # at the top of a config it may be a name
        joined.append(f"{word}=null" if nothing else f"{word}={json.dumps(items)}")
    return joined
