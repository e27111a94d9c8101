"""Documents of the project as data: code blocks, calls of commands and links, each with its line, and what is wrong in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path

import glioskull
from common import cli, configs
from common.errors import UserError, did_you_mean
from tests.test_commands import config_of

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(configs.CONFIGS.rglob("*.yaml"))]
COMMANDS = glioskull.commands()
PACKAGES = {*glioskull.PACKAGES, "benchmarks", "common", "tests"}
CALL = re.compile(r"python3? -m (?:glioskull )?([a-z_][\w.]*)|(?<![\w./-])glioskull ([a-z_][\w-]*)")
FILE_OPTIONS = ("--config", "--train", "--postprocess")
"""Options whose value may be the name of a shipped config."""


@dataclass(frozen=True)
class Code:
    """Piece of code of a document: a block, or a span in a sentence.

    Attributes:
        line: number of its first line of text, from 1.
        text: without fence and indentation.
        language: as its fence names it; "" without.
    """

    line: int
    text: str
    language: str = ""


@dataclass(frozen=True)
class Call:
    """Call of one of the toolkit's commands.

    Attributes:
        line: number of the line where it stands.
        name: as written: train, or training.train.
        words: arguments.
    """

    line: int
    name: str
    words: list[str] = field(default_factory=list)


def blocks(text: str) -> Iterator[Code]:
    """Fenced and indented code blocks of a Markdown text."""
    lines, number = text.splitlines(), 0
    while number < len(lines):
        start, fence = number, re.match(r"( *)```(\w*)", lines[number])
        if fence:
            end = next((n for n in range(start + 1, len(lines)) if lines[n].strip() == "```"), len(lines))
            code = "\n".join(line.removeprefix(fence[1]) for line in lines[start + 1 : end])
            yield Code(start + 2, code, fence[2])
            number = end + 1
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            yield Code(start + 1, "\n".join(line[4:] for line in lines[start:number]))
        else:
            number += 1


def sentences(text: str) -> str:
    """Markdown text with its code blocks replaced by empty lines."""
    lines = text.splitlines()
    for block in blocks(text):
        first, count = block.line - 1, block.text.count("\n") + 1
        lines[first : first + count] = [""] * count
    return "\n".join("" if line.strip().startswith("```") else line for line in lines)


def pieces(path: Path) -> Iterator[Code]:
    """Code of a document: blocks and spans of Markdown, comments of YAML."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        yield Code(1, "\n".join(line.lstrip("# ") if line.startswith("#") else "" for line in text.splitlines()))
        return
    yield from blocks(text)
    prose = sentences(text)
    for span in re.finditer(r"`((?:[^`\n]|\n(?!\n))+)`", prose):
        yield Code(prose.count("\n", 0, span.start()) + 1, span[1].replace("\n", " "))


def calls(path: Path) -> Iterator[Call]:
    """Calls of the toolkit's commands in the code of a document; names in capitals are placeholders."""
    for code in pieces(path):
        lines = code.text.split("\n")
        for number, line in enumerate(lines):
            whole = _joined(lines[number:])
            for match in CALL.finditer(whole):
                if match.start() > len(line):
                    break  # it belongs to a line below, which is read in its turn
                name = match[1] or match[2]
                if match[2] or "glioskull" in match[0] or name.partition(".")[0] in PACKAGES:
                    yield Call(code.line + number, name, arguments(whole[match.end() :]))


def _joined(lines: list[str]) -> str:
    """The first line of a shell script with those that a backslash or an open quotation joins to it."""
    whole, following = lines[0], 1
    while whole.endswith("\\") and following < len(lines):
        whole = whole[:-1] + " " + lines[following]
        following += 1
    for end in range(following, len(lines) + 1):
        longer = " ".join([whole, *lines[following:end]])
        try:
            shlex.split(longer, comments=True)
        except ValueError:
            continue
        return longer
    return whole  # an apostrophe of a sentence


def arguments(text: str) -> list[str]:
    """Words of a shell command up to the comment, pipe, redirection, next command or end of the code span behind it."""
    lexer = shlex.shlex(text.partition("`")[0], posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) <= set("|&;<>"):
                break
            words.append(word)
    except ValueError:  # an apostrophe of a sentence behind the command
        return text.partition("`")[0].split()
    return words


def place(path: Path, line: int) -> str:
    """File and line, such as docs/python.md:12, for a message."""
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{line}"


def config_of_call(call: Call) -> type | None:
    """Config class of the command that is called; None where there is no such command."""
    modules = {command.module for command in COMMANDS.values()}
    module = COMMANDS[call.name].module if call.name in COMMANDS else call.name
    if module not in modules:
        file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        if not module.startswith("benchmarks.") or not file.is_file() or "cli.run(main, " not in file.read_text():
            return None
    return config_of(import_module(module))


def command_problems(path: Path) -> list[str]:
    """Commands, options and configs that a document names and that do not exist, one line each: file, line, what is wrong."""
    text, found = path.read_text(encoding="utf-8"), []
    for call in calls(path):
        where = place(path, call.line)
        config = config_of_call(call)
        if config is None:
            written = {name: command.module if "." in call.name else name for name, command in COMMANDS.items()}
            hint = did_you_mean(call.name.rpartition(".")[2], COMMANDS, written)
            found.append(f"{where}: no command {call.name}{hint}")
            continue
        problems = [*_config_problems(call, text), *_option_problems(call, config)]
        found += [f"{where}: {call.name}: {problem}" for problem in problems]
    return found


def _config_problems(call: Call, text: str) -> Iterator[str]:
    """Values of options for configs that are neither a shipped one nor a placeholder nor a file that the document speaks of."""
    for option, value in _options(call.words):
        if option not in FILE_OPTIONS or not value or value.isupper():
            continue
        elsewhere = re.sub(rf"({'|'.join(FILE_OPTIONS)})[ =]{re.escape(value)}", "", text)
        try:
            configs.find_config(value)
        except UserError as error:
            if not re.search(rf"(?<![\w/]){re.escape(value)}", elsewhere):
                yield f"{option} {error}"


def _option_problems(call: Call, config: type) -> Iterator[str]:
    """Options that the command does not have; those of a training among `--options`, too."""
    given = _options(call.words)
    yield from _unknown_options([option for option, _ in given], config, given)
    if "options" in config.__dataclass_fields__ and "--options" in call.words:
        of = dict(given)
        training = config_of(import_module(f"training.{of.get('--command') or 'train'}"))
        behind = call.words[call.words.index("--options") + 1 :]
        settings = [word for word in behind if "=" in word and not word.startswith("-")]
        names = [f"--{word.partition('=')[0]}" for word in settings]
        for problem in _unknown_options(names, training, [("--config", of.get("--train", ""))]):
            yield f"--options: {problem}"


def _unknown_options(names: list[str], config: type, given: list[tuple[str, str]]) -> Iterator[str]:
    try:
        options = _known_options(config, tuple(_choices(given)))
    except UserError as error:
        yield str(error)
        return
    groups = {name.rpartition(".")[0] for name in options}
    for name in (name.removeprefix("--") for name in names):
        parent = name.rpartition(".")[0]
        if name not in options and not (parent in options and parent not in groups):  # else a key of a mapping
            yield f"no option --{name}{did_you_mean(name, options, {known: f'--{known}' for known in options})}"


@cache
def _known_options(config: type, choices: tuple[str, ...]) -> set[str]:
    return cli.option_names(config, choices)


def _choices(given: list[tuple[str, str]]) -> list[str]:
    """The arguments that decide which options a command has: configs that exist, and the names of choices."""
    kept = []
    for option, value in given:
        if option == "--config":
            try:
                kept += [option, str(configs.find_config(value))]
            except UserError:
                continue
        elif option.endswith(".name"):
            kept += [option, value]
    return kept


def _options(words: list[str]) -> list[tuple[str, str]]:
    """Options of a command line, each with its first value; "" without."""
    found = []
    for number, word in enumerate(words):
        if re.match(r"--[\w]", word):
            name, equals, value = word.partition("=")
            following = words[number + 1] if number + 1 < len(words) else ""
            found.append((name.rstrip(".,:;"), value if equals else "" if following.startswith("--") else following))
    return found


def link_problems(path: Path) -> list[str]:
    """Relative links of a Markdown document to files or headings that do not exist, one line each."""
    prose, found = re.sub(r"`[^`\n]*`", "``", sentences(path.read_text(encoding="utf-8"))), []
    for match in re.finditer(r"\]\(\s*<?([^)\s>]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"", prose, re.M):
        target = match[1] or match[2] or match[3]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = path.parent / name if name else path
        where = place(path, prose.count("\n", 0, match.start()) + 1)
        if not file.exists():
            found.append(f"{where}: link to {target}: no such file")
        elif heading and file.suffix == ".md" and heading not in headings(file):
            found.append(f"{where}: link to {target}: no such heading; those of {file.name} are {', '.join(headings(file))}")
    return found


def path_problems(path: Path) -> list[str]:
    """Files of the project that a document names in a code span and that do not exist, one line each."""
    top = "|".join(sorted({*PACKAGES, "configs", "docs"}))
    named = [(code.line, code.text) for code in pieces(path) if re.fullmatch(rf"({top})/[a-z0-9_./-]+\.[a-z]+", code.text)]
    return [f"{place(path, line)}: {name}: no such file" for line, name in named if not (ROOT / name).exists()]


def headings(path: Path) -> list[str]:
    """Anchors of a Markdown document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.*?) *#*$", sentences(path.read_text(encoding="utf-8")), re.M)
    return [re.sub(r"[^\w\- ]", "", re.sub(r"\]\(.*?\)", "", title).lower()).strip().replace(" ", "-") for title in titles]
