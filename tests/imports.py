"""Which files of the package import which, read from their source without running it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = ("profiles", "runtime", "export", "bench", "cli")


def modules():
    """Return the files of the parts by their dotted names."""
    found = {}
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def imports(path, known, *, root=ROOT):
    """Return which of the `known` modules a file imports, inside functions and for types too."""
    package = list(path.relative_to(root).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            stem = ".".join(part for part in base if part)
            found |= {f"{stem}.{each.name}" if f"{stem}.{each.name}" in known else stem for each in node.names}
    return found & set(known)
