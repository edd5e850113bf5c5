"""Which types and heads are tested, and for which GPUs, where more than one test asks."""

import tomllib
from pathlib import Path

from tests.checkpoints import GENERATIVE_PAIRS, TYPES

# Whether any token is a global one, and how many windows there are, are values that the tracer would have to know.
UNTRACEABLE = {"led"}
# One head of each type in every run, a different one from type to type; the others with `./dev check --all`.
QUICK = tuple((name, row.heads[index % len(row.heads)]) for index, (name, row) in enumerate(TYPES.items()))
# Compute capabilities.
SMS = ("86", "89", "120")
UNBUILT = tomllib.loads(Path(__file__).with_name("unbuilt.toml").read_text())
ENGINE_PAIRS = [pair for pair in (*GENERATIVE_PAIRS, *QUICK) if pair[0] not in UNTRACEABLE]
