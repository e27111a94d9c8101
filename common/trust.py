"""Trust in code that files name: import paths, such as my_networks:tiny, that a user accepts out of the files of others.

A run names its network, and the toolkit's own names come from tables. Any other network is a callable by its import path, which
is imported and called: code that whoever sends a run could choose. So a path out of a run's file is refused unless the user has
repeated it (`--trust`, or as the network of an own training), and these are never imported, trusted or not:

- the standard library, and functions of frameworks, such as keras.saving, that make objects out of data
- modules in packages without `__init__.py` (namespace packages), which any folder on the path is
- modules that lie in a run's folder
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common.errors import UserError

NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)
FRAMEWORKS = ("keras", "tf_keras", "tensorflow", "jax", "torch", "numpy", "h5py", "yaml", "jsonargparse", "pickle")
NETWORKS = ("keras.applications", "keras.src.applications")
"""Modules of a framework whose functions make networks of numbers and names alone."""
SERIALISED = ("config", "module", "registered_name")
"""Keys that stand beside class_name in mappings from which Keras makes objects, code included."""
MANIFEST = "run.json"  # of a run
_trusted: ContextVar[frozenset[str]] = ContextVar("trusted", default=frozenset())


@contextmanager
def trusting(names: Iterable[str]) -> Iterator[None]:
    """Trust some import paths within the block, and those that `trust_own` adds there.

    Raises:
        UserError: a name that is no import path, or that is never imported.
    """
    names = list(names)
    for name in names:
        check_import_path(name, f"--trust {name}")
    token = _trusted.set(frozenset(names))
    try:
        yield
    finally:
        _trusted.reset(token)


def trust_own(name: str, file: Path | None = None) -> None:
    """Trust the network of an own training, because the user has chosen it.

    Args:
        name: value of model.name; names without a colon are of the toolkit.
        file: config that gives the name; None: the command line.

    Raises:
        UserError: the config lies in a run's folder, so it is part of the run, and the name is not trusted yet.
    """
    # As it is given, and behind links: a link to a run's file is that file.
    if file is not None and any((place.parent / MANIFEST).is_file() for place in (file, Path(os.path.realpath(file)))):
        refuse_untrusted(name, file)
    if ":" in name:
        _trusted.set(_trusted.get() | {name})


def trust_options() -> list[str]:
    """Command line that passes the trust of this command on to another one."""
    return [word for name in sorted(_trusted.get()) for word in ("--trust", name)]


def check_import_path(name: str, where: str) -> None:
    """Refuse what is no import path, and code that is never called as a network.

    Args:
        name: such as my_networks:tiny.
        where: begins the error.

    Raises:
        UserError: names the rule.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{where}: expected package.module:callable of a package or of a module here")
    _refuse_origin(match[1], where)


def refuse_untrusted(name: str, file: Path) -> None:
    """Refuse an import path out of a run's file that the user has not repeated.

    Args:
        name: value of model.name in the file; names without a colon are of the toolkit.
        file: of the run.

    Raises:
        UserError: says which option accepts the name.
    """
    if ":" not in name:
        return
    check_import_path(name, f"{file}: model.name {name!r}")
    if name not in _trusted.get():
        raise UserError(
            f"{file}: model.name {name} is code that would be run; if you trust it and this run, add --trust {name}"
        )


def refuse_objects(value: Any, where: str) -> None:
    """Refuse arguments that are more than plain data: numbers, texts, null, and lists and mappings of these.

    Mappings from which a framework would make an object, such as {class_name: Lambda, config: ...}, are no plain data.

    Args:
        value: the arguments.
        where: begins the error.

    Raises:
        UserError: names what was found.
    """
    if isinstance(value, Mapping):
        found = next((key for key in value if not isinstance(key, str)), None)
        if found is not None:
            raise UserError(f"{where}: expected keys that are texts; received {found!r}")
        if "class_path" in value or ("class_name" in value and not value.keys().isdisjoint(SERIALISED)):
            raise UserError(f"{where}: expected plain data; received a mapping that names a class ({', '.join(value)})")
    elif not isinstance(value, str | int | float | list | tuple | None):
        raise UserError(f"{where}: expected plain data; received {type(value).__name__}")
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        refuse_objects(part, where)


def find_module(name: str, where: str) -> ModuleSpec:
    """Module of an import path, found without importing it or its packages.

    A package that is not installed is looked for in the current folder, which is not searched for anything else.

    Returns:
        The module, or the innermost of its packages that can be found without running their code.

    Raises:
        UserError: there is none, or it is one that is never imported.
    """
    check_import_path(name, where)
    first, *rest = name.partition(":")[0].split(".")
    try:
        spec = find_spec(first) or PathFinder.find_spec(first, [str(Path.cwd())])
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise UserError(f"{where}: expected package.module:callable of a package or of a module here; {first} was not found")
    _refuse_place(spec, first, where)
    module = first
    for part in rest:
        # By its last name: PathFinder asks the parents of a dotted one, which are not imported.
        inner = PathFinder.find_spec(part, spec.submodule_search_locations)
        if inner is None:  # packages may make further modules when they are imported
            break
        spec, module = inner, f"{module}.{part}"
        _refuse_place(spec, module, where)
    return spec


def load_callable(name: str, where: str) -> Callable[..., Any]:
    """Import the callable of an import path.

    Raises:
        UserError: no such module, nothing of that name in it, or one that is never imported.
    """
    find_module(name, where)
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if find_spec(module.partition(".")[0]) is None:
        sys.path.append(here)  # for the rest of the process: the module may import others beside it when it is called
    try:
        loaded = import_module(module)
        found = getattr(loaded, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: expected package.module:callable of a package or of a module here; {reason}") from None
    if loaded.__spec__ is not None:
        _refuse_place(loaded.__spec__, module, where)
    if not callable(found):
        raise UserError(f"{where}: expected something that can be called; found {type(found).__name__}")
    made: Callable[..., Any] = found
    while isinstance(found, partial):
        found = found.func
    _refuse_origin(str(getattr(found, "__module__", None) or ""), where)
    return made


def _refuse_origin(module: str, where: str) -> None:
    """Refuse modules whose callables make no networks but may do anything."""
    first = module.partition(".")[0]
    networks = any(f"{module}.".startswith(f"{name}.") for name in NETWORKS)
    if first in sys.stdlib_module_names or (first in FRAMEWORKS and not networks):
        raise UserError(f"{where}: expected a callable that makes a network; those of {module} are never called")


def _refuse_place(spec: ModuleSpec, module: str, where: str) -> None:
    """Refuse namespace packages, and modules in a run's folder."""
    if spec.loader is None or not spec.has_location or spec.origin is None:
        raise UserError(f"{where}: {module} is no regular package or module; a package needs a file __init__.py")
    run = next((folder for folder in Path(spec.origin).resolve().parents if (folder / MANIFEST).is_file()), None)
    if run is not None:
        raise UserError(f"{where}: {spec.origin} lies in the run {run}; nothing is imported from a run")
