"""Rules of the code that docs/design.md promises: imports, tests beside modules, sizes, docstrings."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from benchmarks.code_counts import PACKAGES, RIDDLE, cyclic_modules, import_names, imported, modules

ROOT = Path(__file__).resolve().parent.parent
ORDER = (*PACKAGES, "glioskull")
"""Imports point from the right to the left."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines
SLOW = {
    *("tensorflow", "keras", "jax", "grain", "matplotlib", "sklearn", "scipy", "albumentations", "cv2"),
    *("optuna", "tqdm", "h5py", "nibabel", "absl", "filelock", "PIL", "importlib.metadata", "jinja2", "markupsafe"),
    *("SimpleITK", "pydicom", "highdicom", "wandb", "openvino", "onnxruntime", "dask", "distributed"),
    *("nilearn", "ipyniivue", "torch", "monai"),
}
"""Packages that are imported where they are used: frameworks, what is slow to load, and what is optional."""
STRING = re.compile(r"[a-z]\w*(\.\w+)+(:\w+)?")


@cache
def trees():
    """Parsed modules of the toolkit by dotted name."""
    return modules(ROOT) | {"glioskull": ast.parse((ROOT / "glioskull.py").read_text())}


def place(module):
    """Position of a module's package in ORDER."""
    return ORDER.index(module.partition(".")[0])


def string_references(tree):
    """The toolkit's modules that strings name, as "package.module" or "package.module:Name"."""
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {text.partition(":")[0] for text in strings if STRING.fullmatch(text)} & set(trees())


def top_imports(tree):
    """Import statements that run when a module is loaded: those in functions and below TYPE_CHECKING do not."""
    rest = [*tree.body]
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            rest += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            rest += list(ast.iter_child_nodes(node))


def function_imports(tree):
    """Import statements inside functions."""
    outer = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {inner for node in outer for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)}


@cache
def loads_slow(module):
    """Whether loading a module loads a package of SLOW, by way of others or not."""
    rest, seen = [module], set()
    while rest:
        name = rest.pop()
        if name in SLOW or name.partition(".")[0] in SLOW:
            return True
        if name in trees() and name not in seen:
            seen.add(name)
            rest += [target for node in top_imports(trees()[name]) for target in import_names(node, trees())]
    return False


def imports_to_the_right():
    """Imports and strings of modules further right: common <- data_prep <- models <- training <- evaluation <- glioskull."""
    for name, tree in trees().items():
        for target in imported(tree, set(trees())) | string_references(tree):
            if place(target) > place(name):
                yield f"{name} -> {target}"


def cycles():
    """Modules that import themselves by way of others; imports in functions and below TYPE_CHECKING count."""
    graph = {name: imported(tree, set(trees())) - {name} for name, tree in trees().items()}
    yield from cyclic_modules(graph)


def relative_imports():
    """Relative imports; ours are written in full."""
    for name, tree in trees().items():
        if any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree)):
            yield name


def imports_in_functions():
    """Imports in functions of what is not slow to load; they belong to the top of the file."""
    for name, tree in trees().items():
        for node in function_imports(tree):
            for target in import_names(node, trees()):
                if not loads_slow(target):
                    yield f"{name} -> {target}"


def modules_without_tests():
    """Modules without a test file of their name: tests/PACKAGE/ROOM/test_MODULE.py."""
    for name in trees():
        folder, _, module = name.replace(".", "/").rpartition("/")
        is_package = (ROOT / name.replace(".", "/")).is_dir()
        if not is_package and not (ROOT / "tests" / folder / f"test_{module}.py").is_file():
            yield name


def long_files():
    """Files over 400 lines, tests and benchmarks included."""
    for package in (*PACKAGES, "benchmarks", "tests"):
        for path in (ROOT / package).rglob("*.py"):
            if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_FILE:
                yield path.relative_to(ROOT).as_posix()


def long_functions():
    """Functions over 60 lines, tests and benchmarks included."""
    for name, tree in (trees() | modules(ROOT, ("benchmarks", "tests"))).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                yield f"{name}.{node.name}"


def riddles():
    """Modules with docstrings that begin with What, Where, Whose, How, Whether, Somebody or Anybody, not with a concept."""
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and RIDDLE.match(ast.get_docstring(node) or ""):
                yield name


def undocumented():
    """Public modules, classes, functions and methods without a docstring."""
    for module, tree in trees().items():
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        inside = [(node.name, node) for parent in (tree, *classes) for node in parent.body if isinstance(node, DOCUMENTED)]
        for name, node in [("module", tree), *inside]:
            if not name.startswith("_") and not ast.get_docstring(node):
                yield f"{module}: {name}"


RULES = {
    rule.__name__: rule
    for rule in (
        *(imports_to_the_right, cycles, relative_imports, imports_in_functions, modules_without_tests),
        *(long_files, long_functions, riddles, undocumented),
    )
}


@pytest.mark.parametrize("name", RULES)
def test_the_rule_holds(name):
    breaches = sorted(set(RULES[name]()))
    assert not breaches, f"{RULES[name].__doc__}\nIt does not hold in: {', '.join(breaches)}"


EXAMPLE = """
from __future__ import annotations
import keras.ops
from common import cli, no_module
if TYPE_CHECKING:
    from training.run import Run
try:
    import optuna
except ImportError:
    optuna = None
HEADS = {"a": "models.unet:UNetConfig", "b": "models.unet is a module", "c": "training.train"}
def function():
    from models.volume import View
"""


def test_imports_are_read_where_they_stand():
    tree = ast.parse(EXAMPLE)
    at_top = {name for node in top_imports(tree) for name in import_names(node, trees())}
    assert at_top == {"__future__", "keras.ops", "common.cli", "common", "optuna"}
    assert {name for node in function_imports(tree) for name in import_names(node, trees())} == {"models.volume"}
    assert imported(tree, set(trees())) == {"common.cli", "common", "training.run", "models.volume"}
    assert string_references(tree) == {"models.unet", "training.train"}


def test_slow_packages_are_found_behind_others():
    assert loads_slow("keras.ops")
    assert loads_slow("training.objectives.keras_objects")
    assert not loads_slow("training.config")
    assert not loads_slow("common.cli")
