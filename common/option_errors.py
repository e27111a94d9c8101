"""Error lines of wrong options: the parser's message in plain words, the file that holds the option, similar options."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.errors import UserError, did_you_mean
from common.files import read_yaml

HELP = re.compile(r" \(see [^()]* --help\)$")
"""End of an error line that refers to a command's help."""
UNION = re.compile(r"Does not validate against any of the Union subtypes.*?Subtypes: \[(.*)\] Errors:.*Given value: ")
SINGLE = re.compile(r"Expected an? (.*?)\. Got value: ")
ITEMS = re.compile(
    r"(?:Not a valid subclass of \w+\. Got value|Expected a dot import path string): (.*?)(?: Subclass types.*)?$"
)
"""Messages of jsonargparse on values of a wrong type."""
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
TYPES = {
    **{
        "int": ("a whole number", "whole numbers"),
        "float": ("a number", "numbers"),
        "bool": ("true or false", "true or false"),
    },
    **{
        "str": ("a text", "texts"),
        "Path": ("a path", "paths"),
        "dict": ("a mapping", "mappings"),
        "NoneType": ("null", "null"),
    },
    **{"list": ("a list", "lists"), "tuple": ("a list", "lists"), "Any": ("any value", "any values")},
}
"""Python's name of a type -> in the singular, and in the plural."""
Given = tuple[str, Any]
"""A file that gives an option, as "FILE: " ("" for the command line), and the option's value there."""


def plain(message: str, example: Any = None) -> str:
    """A message of the parser without Python's names in it.

    Args:
        message: of jsonargparse.
        example: a right value of the option, for what is expected as a list; None: no example.
    """
    message = " ".join(message.split())
    message = re.sub(r'Parser key "([^"]+)":', r"--\1:", message)
    message = re.sub(r"Subclasses are disabled.*", "expected a mapping of its options; received a class_path", message)
    if required := re.fullmatch(r"(.*)the following arguments are required: ([^(]*)(.*)", message):
        message = f"{required[1]}missing option --{required[2].replace(', ', ', --')}{required[3]}"
    found = UNION.search(message) or SINGLE.search(message)
    if found is None:
        return ITEMS.sub(r"expected a list of mappings, each with one setting at least; received \1", message)
    names, received = _parts(found[1]), message[found.end() :]
    words = [type_words(name, example) for name in names]
    if {"float", "<class 'float'>"} & set(names) and re.fullmatch(r"[-+.]*(nan|inf|infinity)", received.lower()):
        words = [word.replace("a number", "a finite number") for word in words]
    *first, last = words
    comma = "," if any("such as" in word for word in first) else ""
    wanted = f"{', '.join(first)}{comma} or {last}" if first else last
    return f"{message[: found.start()]}expected {wanted}; received {'null' if received == 'None' else received}"


def type_words(name: str, example: Any = None) -> str:
    """Words for a type's name, such as `tuple[int, int]` or `<class 'float'>`: "a list of two whole numbers"."""
    name = re.sub(r"^<class '(.*)'>$", r"\1", name)
    outer, bracket, inner = name.removesuffix("]").partition("[")
    outer = outer.rpartition(".")[2]
    such = f", such as {list(example)}" if isinstance(example, list | tuple) and example else ""
    if not bracket:
        words = TYPES[outer][0] if outer in TYPES else "a mapping of its options"
        return f"{words}{such}" if outer in ("list", "tuple") else words
    parts = _parts(inner)
    if outer == "Literal":
        return f"one of {', '.join('null' if part == 'None' else part.strip(chr(39)) for part in parts)}"
    if outer not in ("list", "tuple"):
        return TYPES.get(outer, (name, name))[0]
    item = re.sub(r"^<class '(.*)'>$", r"\1", parts[0])
    single = item.partition("[")[0].rpartition(".")[2]
    plural = "values" if "|" in item else TYPES[single][1] if single in TYPES else "mappings"
    count = f"{NUMBERS.get(len(parts), len(parts))} " if outer == "tuple" and parts[-1] != "..." else ""
    return f"a list of {count}{plural}{such}"


def explained(message: str, options: Iterable[str], given: Sequence[str]) -> str:
    """A plain message with the file that the option is in, and with similar options.

    Args:
        message: from `plain`.
        options: all options of the command, without dashes.
        given: the arguments.
    """
    known = [option for option in options if not option.endswith("+")]
    if match := re.match(r"--(\S+): Unable to load config '(.*?)' - (.*)", message):
        option, value, reason = match.groups()
        if "Unable to load config" not in reason:
            return reason if value.startswith("{") else f"{value}: {reason}"
        named = f"; did you mean --{option}.name {value}?" if f"{option}.name" in known and "." not in value else ""
        return f"--{option}: expected a YAML file or a mapping of its options; received {value}{named}"
    if match := re.match(r"unrecognized arguments: --([\w.+]+)", message):
        return f"{message}{_near_options(match[1], known, '--')}"
    if key := unknown_key(message):
        return f"{file_of(key, given)}option {key} is not known{_near_options(key, known)}"
    match = re.match(r"--([\w.]+): ", message)
    return f"{file_of(match[1], given)}{message}" if match else message


def unknown_key(message: str) -> str | None:
    """The option, such as model.filters, that a plain message calls unknown; None in other messages."""
    if match := re.match(r"(?:Group '(?P<group>.+?)' does not accept option|Option) '(?P<name>.+?)'", message):
        return ".".join(filter(None, (match["group"], match["name"])))
    match = re.match(r"unrecognized arguments: --([\w.]+)", message)
    return match[1] if match else None


def given_values(key: str, given: Sequence[str]) -> list[Given]:
    """Values of an option in the arguments and their config files, in order; one of the command line is still text."""
    values: list[Given] = []
    for option, value in pairwise([*(part for word in given for part in word.split("=", 1)), ""]):
        if option == f"--{key}":
            values.append(("", value))
        elif option == "--config":
            content = read_yaml(Path(value), "config")
            for part in key.split("."):
                content = content.get(part) if isinstance(content, dict) else None
            if content is not None:
                values.append((f"{value}: ", content))
    return values


def given_options(given: Sequence[str]) -> dict[str, str]:
    """Dotted options that the arguments and the files that they name give, in order -> the file, or "" for the command line."""
    found: dict[str, str] = {}
    for word, following in pairwise([*given, ""]):
        option, equals, value = word.partition("=")
        if option == "--config":
            file = value if equals else following
            content = read_yaml(Path(file), "config")
            found |= dict.fromkeys(_dotted(content), file)
            for name, text in content.items() if isinstance(content, dict) else ():
                found |= _given_by_file(name, text)
        elif option.startswith("--"):
            name = option.removeprefix("--").removesuffix("+")
            found[name] = ""
            found |= _given_by_file(name, value if equals else following)
    return found


def _given_by_file(name: str, text: Any) -> dict[str, str]:
    """Options of a group that a file gives, such as --model FILE, or model: FILE in a config -> the file; else none."""
    if not isinstance(text, str) or not text.endswith((".yaml", ".yml", ".json")) or not Path(text).is_file():
        return {}
    return dict.fromkeys(_dotted(read_yaml(Path(text), "config"), f"{name}."), text)


def _dotted(content: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of the values of a file's content, those in mappings included."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def file_of(key: str, given: Sequence[str]) -> str:
    """'FILE: ' for the last config that holds a dotted key; '' where the command line sets it, or no config."""
    files = [file for file, _ in given_values(key, given)]
    return "" if not files or "" in files else files[-1]


def _near_options(wrong: str, options: Sequence[str], dashes: str = "") -> str:
    """Suggestion of similar options, those of the same group first."""
    group, dot, name = wrong.rpartition(".")
    inside = {known.removeprefix(group + dot): dashes + known for known in options if known.rpartition(".")[0] == group}
    return did_you_mean(name, inside, inside) or did_you_mean(wrong, options, {known: dashes + known for known in options})


def _parts(text: str) -> list[str]:
    """Parts between the commas that stand in no bracket."""
    return re.findall(r"(?:[^,\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])+", text.replace(", ", ","))


def refuse_undecoded(arguments: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8, such as paths, which no manifest or message can hold.

    Raises:
        UserError: names the first.
    """
    for text in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            shown = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise UserError(f"{shown}: expected arguments in UTF-8; rename the file or folder")
