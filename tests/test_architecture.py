"""The house's rules, read from its source and from what a fresh process imports."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("profiles", "runtime", "export", "bench")
FACE = (ROOT / "__init__.py", *(ROOT / "cli").rglob("*.py"), ROOT / "version.py")
FILES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST = 400
# Which parts of vitrify a part may import, and what else it may never import.
MAY_USE = {
    "profiles": {"profiles"},
    "runtime": {"profiles", "runtime"},
    "export": {"profiles", "runtime", "export"},
    "bench": {"profiles", "runtime", "bench"},
}
COMPILERS = {"torch", "transformers", "onnx", "onnxscript", "onnx_ir", "optimum", "sentencepiece"}
NEVER = {
    "profiles": COMPILERS,
    "runtime": COMPILERS,
    "export": {"optimum.onnxruntime"},
    "bench": COMPILERS - {"torch", "transformers"},  # which are backends of a benchmark, in processes of their own
}
# Modules of the top folder that every part may read: they import nothing.
LEAVES = {"version"}


def name_of(path):
    return str(path.relative_to(ROOT))


def part_of(path):
    return path.relative_to(ROOT).parts[0]


def imported(path, *, root=ROOT):
    """Return the absolute names of what a file imports, from anywhere in it; vitrify's own begin with `vitrify.`."""
    package = ["vitrify", *path.relative_to(root).with_suffix("").parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else []
            stem = [*base, *(node.module or "").split(".")] if node.module else base
            names |= {".".join([*stem, alias.name]) for alias in node.names}
    return names


def starts_with(names, forbidden):
    return sorted(name for name in names if any(name == bad or name.startswith(f"{bad}.") for bad in forbidden))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_one_way(path):
    own = {name.split(".")[1] for name in imported(path) if name.startswith("vitrify.")}
    assert own - LEAVES <= MAY_USE[part_of(path)]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_part_does_not_import_what_it_must_not_need(path):
    assert not starts_with(imported(path), NEVER[part_of(path)])


@pytest.mark.parametrize("path", [path for path in FILES if part_of(path) == "profiles"], ids=name_of)
def test_profiles_need_the_standard_library_only(path):
    others = {name.split(".")[0] for name in imported(path)} - {"vitrify"}
    assert others <= sys.stdlib_module_names


@pytest.mark.parametrize("path", [*FILES, ROOT / "__init__.py"], ids=name_of)
def test_the_library_prints_nothing(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@pytest.mark.parametrize("path", [*FACE, *FILES, *TESTS], ids=name_of)
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", [*FACE, *FILES], ids=name_of)
def test_no_branch_on_a_model_type(path):
    branches = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.If | ast.IfExp)
    ]
    assert not [node.lineno for node in branches if "model_type" in ast.dump(node.test)]


def test_the_import_walk_sees_what_it_must(tmp_path):
    path = tmp_path / "runtime" / "sessions" / "made_up.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "def f():\n    from ...export.tracing.tracer import g\n    import torch.nn\n"
        "    from ..bundle.manifest import Axis\n"
    )
    assert imported(path, root=tmp_path) == {
        "vitrify.export.tracing.tracer.g",
        "torch.nn",
        "vitrify.runtime.bundle.manifest.Axis",
    }


LISTS_MODULES = "import atexit, sys\natexit.register(lambda: print('MODULES', *sys.modules, file=sys.stderr))"


def modules_of(done):
    assert done.code == 0, done.err
    return {name.split(".")[0] for name in done.err.split("MODULES", 1)[1].split()}


def test_a_run_imports_no_compiler(vitrify, exported):
    done = vitrify("run", "feature-extraction", "-m", exported.bundle, "a text", before=LISTS_MODULES)
    assert done.out.startswith("[[[")
    modules = modules_of(done)
    assert "onnxruntime" in modules
    assert not modules & (COMPILERS | {"PIL", "huggingface_hub"})


@pytest.mark.parametrize("command", ["info", "verify"])
def test_other_commands_on_a_bundle_import_no_compiler(vitrify, exported, command):
    assert not modules_of(vitrify(command, exported.bundle, before=LISTS_MODULES)) & (COMPILERS | {"huggingface_hub"})


@pytest.mark.parametrize("words", [("--help",), ("tasks",), ("profiles",)])
def test_commands_that_run_no_graph_stay_light(vitrify, words):
    assert not modules_of(vitrify(*words, before=LISTS_MODULES)) & (COMPILERS | {"onnxruntime", "tokenizers"})


def test_importing_vitrify_imports_nothing_heavy(vitrify):
    before = "import sys, vitrify\nprint('MODULES', *sys.modules, file=sys.stderr)\nsys.exit()"
    modules = modules_of(vitrify(before=before))
    assert "vitrify" in modules
    assert not modules & (COMPILERS | {"numpy", "onnxruntime", "tokenizers", "huggingface_hub", "typer", "rich", "PIL"})
