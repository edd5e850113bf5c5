"""How many tokens a config allows: of its numbers that mean "no limit" none counts; it knows no family."""

from typing import Any

from ...runtime.graphs.signature import is_limit


def limit_of(config: Any, *names: str) -> int | None:
    """Return the first of these settings that is a limit, or None."""
    values = (getattr(config, name, None) for name in names)
    return next((int(value) for value in values if is_limit(value)), None)


def positions_of(config: Any) -> int | None:
    """Return how many tokens the config says that a model has positions for."""
    return limit_of(config, "max_position_embeddings")
