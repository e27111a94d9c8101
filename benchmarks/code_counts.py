"""Counts of the code: size, private helpers, imports inside functions, import cycles, docstrings that do not name a concept.

    python -m benchmarks.code_counts [FOLDER]

Packages alone are counted, not tests or benchmarks. "One caller" means that a private function's name occurs once besides its
definition, anywhere in the packages. "Own imports in functions" are imports of the toolkit's modules inside a function.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from statistics import median

PACKAGES = ("common", "data_prep", "models", "training", "evaluation")
RIDDLE = re.compile(r"(What|Where|Whose|How|Whether|Somebody|Anybody)\b")
SHORT = 3  # statements of a body that names no concept, most likely


def modules(root: Path, packages: Sequence[str] = PACKAGES) -> dict[str, ast.Module]:
    """Parsed modules of the packages by dotted name."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def functions(trees: dict[str, ast.Module]) -> Iterator[ast.FunctionDef]:
    """All functions and methods."""
    for tree in trees.values():
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def import_names(node: ast.AST, known: Container[str]) -> set[str]:
    """Dotted names that an import statement loads: `from a import b` is a.b where that is a known module, else a."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        return {name if name in known else node.module for name in full.values()}
    return set()


def imported(tree: ast.AST, known: set[str]) -> set[str]:
    """The toolkit's modules that a tree imports, TYPE_CHECKING blocks included."""
    return {name for node in ast.walk(tree) for name in import_names(node, known)} & known


def cyclic_modules(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves by way of others."""

    def reaches(start: str) -> bool:
        seen: set[str] = set()
        rest = [*graph[start]]
        while rest:
            name = rest.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                rest += graph[name]
        return False

    return [name for name in graph if reaches(name)]


def main(root: Path) -> None:
    """Print the counts of a checkout."""
    trees = modules(root)
    sources = [path.read_text(encoding="utf-8") for package in PACKAGES for path in (root / package).rglob("*.py")]
    words = Counter(re.findall(r"\w+", "\n".join(sources)))
    every = list(functions(trees))
    private = [node for node in every if node.name.startswith("_") and not node.name.startswith("__")]
    single = [node for node in private if words[node.name] == 2]
    lengths = sorted(node.end_lineno - node.lineno + 1 for node in every if node.end_lineno)
    statements = {
        node: [part for part in node.body if not isinstance(part, ast.Expr) or len(node.body) == 1] for node in single
    }
    inner = [node for function in every for node in ast.walk(function) if isinstance(node, ast.ImportFrom | ast.Import)]
    own = [node for node in inner if imported(ast.Module([node], []), set(trees))]
    documented = [
        node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    riddles = [node for node in documented if RIDDLE.match(ast.get_docstring(node) or "")]
    graph = {name: imported(tree, set(trees)) - {name} for name, tree in trees.items()}
    print(f"files                                      {len(sources)}")
    print(f"lines                                      {sum(text.count(chr(10)) for text in sources)}")
    print(f"longest file, lines                        {max(text.count(chr(10)) for text in sources)}")
    print(f"functions                                  {len(every)}")
    print(
        f"function length, median / p90 / longest    {median(lengths):g} / {lengths[int(0.9 * len(lengths))]} / {lengths[-1]}"
    )
    print(f"private functions                          {len(private)}")
    print(f"  with one caller                          {len(single)}")
    print(f"  of these with at most {SHORT} statements        {sum(len(body) <= SHORT for body in statements.values())}")
    print(f"imports inside functions                   {len(inner)}")
    print(f"  of the toolkit's own modules             {len(own)}")
    print(f"modules in import cycles                   {len(cyclic_modules(graph))}")
    print(f"docstrings that begin with What, Where ... {len(riddles)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
