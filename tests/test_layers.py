"""The order of the rooms: an import, wherever it stands in a file, goes down; no two files import each other."""

from collections import defaultdict

import pytest

from tests.imports import imports, modules

# From the ground up. A room is a folder of a part or a file at its top; what stands in one line knows nothing of each
# other.
LAYERS = (
    ("profiles", "runtime", "export", "serving"),
    ("runtime.errors",),
    (
        "runtime.amounts",
        "runtime.machine",
        "runtime.numerics",
        "runtime.child",
        "runtime.deadlines",
        "runtime.json_files",
    ),
    ("runtime.rows", "runtime.settings", "runtime.steps", "runtime.tasks"),
    ("runtime.graphs",),
    ("runtime.bundle",),
    ("runtime.processing",),
    ("runtime.sessions",),
    ("runtime.selection",),
    ("runtime.generation",),
    ("runtime.loading",),
    ("runtime.verification",),
    ("runtime.sources",),
    ("runtime.publishing",),
    ("runtime.pipelines",),
    ("runtime.factory",),
    (
        "serving.arguments",
        "serving.executor",
        "serving.json_bodies",
        "serving.keys",
        "serving.limits",
        "serving.running",
    ),
    ("serving.shared_bundle",),
    ("serving.models",),
    ("serving.answering", "serving.failures"),
    ("serving.gate", "serving.openai"),
    ("serving.hugging_face", "serving.tei"),
    ("serving.app",),
    ("export.quiet", "export.reasons", "export.saving", "export.staging"),
    ("export.processors", "export.modules"),
    ("export.checkpoint",),
    ("export.files", "export.passes"),
    ("export.tracing",),
    ("export.verification",),
    ("export.families",),
    ("export.precision",),
    ("export.engine",),
    ("export.compiler", "export.against"),
    (
        "bench",
        "bench.child",
        "bench.environment",
        "bench.op_times",
        "bench.percentiles",
        "bench.process",
        "bench.schedule",
        "bench.units",
    ),
    ("bench.backends", "bench.interleaved", "bench.model_under_test", "bench.result"),
    ("bench.gate", "bench.report", "bench.roofline", "bench.shareable", "bench.workload"),
    ("bench.measure", "bench.result_files", "bench.table"),
    ("bench.trace", "bench.tune"),
    ("cli.streams",),
    ("cli.combinations", "cli.describe", "cli.grid", "cli.inputs", "cli.logs"),
    ("cli.app", "cli.output"),
    ("cli.turns",),
    ("cli.caching", "cli.engines", "cli.measuring", "cli.models", "cli.publishing", "cli.running", "cli.serving"),
    ("cli",),
    ("cli.__main__",),
)
# Arrows that still go up. This list only shrinks.
UPWARD: frozenset[tuple[str, str]] = frozenset()


def room_of(module):
    parts = module.split(".")
    return parts[0] if parts[0] == "profiles" else ".".join(parts[:2])


KNOWN = modules()
ARROWS = {name: imports(path, KNOWN) - {name} for name, path in KNOWN.items()}
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


@pytest.mark.parametrize("name", KNOWN)
def test_a_file_imports_rooms_below_its_own(name):
    own = room_of(name)
    assert own in LEVEL, f"give '{own}' a place in LAYERS"
    upward = {(own, other) for other in map(room_of, ARROWS[name]) if other != own and LEVEL[other] >= LEVEL[own]}
    assert upward <= UPWARD


def test_no_arrow_is_listed_that_is_not_there():
    assert {(room_of(name), room_of(other)) for name, others in ARROWS.items() for other in others} >= UPWARD


def test_no_files_import_each_other_in_a_circle():
    assert not circles(ARROWS)


def circles(arrows):
    """Return the sets of more than one module that reach each other: what is left when leaves and roots are taken."""
    left = {name: set(others) for name, others in arrows.items()}
    while True:
        imported = set().union(*left.values()) if left else set()
        ends = {name for name, others in left.items() if not others & set(left) or name not in imported}
        if not ends:
            return set(left)
        left = {name: others - ends for name, others in left.items() if name not in ends}


def test_a_circle_is_seen():
    arrows = defaultdict(set, {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()})
    assert circles(arrows) == {"b", "c"}


def test_imports_for_types_and_in_functions_are_seen(tmp_path):
    path = tmp_path / "runtime" / "made_up.py"
    path.parent.mkdir()
    path.write_text("if TYPE_CHECKING:\n    from .loading import X\ndef f():\n    from ..bench import child\n")
    assert imports(path, {"runtime.loading", "bench.child"}, root=tmp_path) == {"runtime.loading", "bench.child"}
