"""vitrify: compile a Hugging Face checkpoint once, run it anywhere through `pipeline()`, without PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .export.compiler import export_bundle
    from .runtime.factory import pipeline
    from .runtime.loading import load_bundle
    from .runtime.publishing.push import push_bundle

__all__ = ["__version__", "export_bundle", "load_bundle", "pipeline", "push_bundle"]

# Imported on first use: `import vitrify` takes milliseconds, and the runtime never meets the exporter.
_LAZY = {
    "export_bundle": ".export.compiler",
    "load_bundle": ".runtime.loading",
    "pipeline": ".runtime.factory",
    "push_bundle": ".runtime.publishing.push",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'vitrify' has no attribute '{name}'")
    try:
        module = import_module(_LAZY[name], __name__)
    except ModuleNotFoundError as error:
        if name != "export_bundle" or (error.name or "").startswith("vitrify"):
            raise
        from .runtime.errors import DependencyMissing

        raise DependencyMissing(
            f"exporting needs {error.name}, which is not installed: pip install 'vitrify[export]'"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
