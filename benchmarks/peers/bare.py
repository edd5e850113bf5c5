"""ONNX Runtime's own session on a graph that vitrify made, with nothing around it, in the project's environment."""

from collections.abc import Callable
from typing import Any

from vitrify.bench.backends.bare import bare_session

from .feeds import feeds, kept


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a graph's file by kind; of what `variant` it is the file has decided."""
    del variant
    session = bare_session(model, threads=threads)
    names = [tensor.name for tensor in session.get_inputs()]

    def forward(**arguments: Any) -> Callable[[], list[float]]:
        given = feeds(**arguments)
        rows = {name: given[name] for name in names}
        return lambda: kept(session.run(None, rows)[0])

    return {"forward": forward}
