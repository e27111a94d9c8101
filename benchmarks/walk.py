"""Walk of a config: the functions that a command's config, or a part of it, is passed to, in the order of their first call.

    python -m benchmarks.walk training.train --records RECORDS --out RUN --epochs 1 --steps_per_epoch 1

The command runs as it always does, under a profile function of the interpreter. A function is listed where one of its arguments
is the command's config (`whole`) or one of the dataclasses in it (`part`), with the number of such calls. Only functions of the
toolkit's packages and of this thread count. The checkout is the working directory.
"""

import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGES = ("common", "data_prep", "models", "training", "evaluation")
PARSER = "common.cli"  # makes the config; it is no stay on its way


class Walk:
    """Recorder of the calls that take a config: a profile function.

    Args:
        root: of the checkout.
        config: the command's.
    """

    def __init__(self, root: Path, config: Any) -> None:
        self._root = str(root) + "/"
        self._whole = type(config).__mro__[:-1]
        self._parts = tuple({type(part) for part in parts_of(config)})
        self.calls: dict[tuple[str, str], dict[str, int]] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note a call of one of the toolkit's functions."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(self._root):
            return
        module = ".".join(Path(code.co_filename.removeprefix(self._root)).with_suffix("").parts)
        if module.partition(".")[0] not in PACKAGES or module == PARSER or code.co_name.startswith("<"):
            return
        given = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
        whole = any(isinstance(value, self._whole) for value in given)
        if whole or any(isinstance(value, self._parts) for value in given):
            counts = self.calls.setdefault((module, code.co_qualname), {"whole": 0, "part": 0})
            counts["whole" if whole else "part"] += 1


def parts_of(config: Any) -> Iterator[Any]:
    """The dataclasses inside a config, at any depth."""
    for item in fields(config):
        value = getattr(config, item.name)
        for part in value if isinstance(value, list) else [value]:
            if is_dataclass(part):
                yield part
                yield from parts_of(part)


def main(command: str, arguments: list[str]) -> None:
    """Run a command and print the walk of its config."""
    from common import cli

    root = Path.cwd()
    module = import_module(command)
    last = Path(str(module.__file__)).read_text(encoding="utf-8").strip().splitlines()[-1]
    config = cli.parse(getattr(module, last.split("cli.run(main, ")[1].rstrip(") ")), arguments)
    walk = Walk(root, config)
    sys.setprofile(walk)
    try:
        module.main(config)
    finally:
        sys.setprofile(None)
    print(f"\nwalk of {type(config).__name__} through {command}: {len({name for name, _ in walk.calls})} modules,", end=" ")
    whole = [counts for counts in walk.calls.values() if counts["whole"]]
    print(f"{len(walk.calls)} functions, {len(whole)} of them take all of it, in {sum(c['whole'] for c in whole)} calls")
    for (name, function), counts in walk.calls.items():
        print(f"  {'whole' if counts['whole'] else 'part ':<6}{sum(counts.values()):>5}  {name}.{function}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
