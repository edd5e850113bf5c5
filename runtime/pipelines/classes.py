"""The class of a task's pipeline, imported when it is asked for."""

import importlib
from typing import Any

from ..tasks import Task
from .shared.base import Pipeline


def pipeline_class(task: Task) -> type[Pipeline[Any, Any]]:
    """Import the pipeline that runs a task."""
    module, name = task.implementation.split(":")
    return getattr(importlib.import_module(f".{module}", __package__), name)
