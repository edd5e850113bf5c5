"""A profile by its name, or what "auto" stands for on this machine."""

import logging
import math

from ..bundle.manifest import Bundle
from ..errors import UsageError
from ..machine import this_machine
from .profiles import Choice, choose_profile, choose_tuned

# What `auto` accepts unless told otherwise: bfloat16 of common encoders stays below it, int8 of some (ViT-base 0.049,
# BERT-base 0.056, MiniLM's hidden states 0.12).
MAX_DRIFT = 0.05
_LOG = logging.getLogger("vitrify")


def find_choice(bundle: Bundle, name: str | None, *, max_drift: float = MAX_DRIFT) -> Choice:
    """Return the profile of this name, or what "auto" stands for here; raise UsageError where there is none."""
    check_max_drift(max_drift)
    if name == "auto":
        choice = _fastest(bundle, max_drift)
        bundle.profile(choice.profile.name)  # says so of an ONNX folder
        return choice
    return Choice(bundle.profile(bundle.default_profile() if name is None else name))


def check_max_drift(value: float) -> None:
    """Raise UsageError for what is not a bound of the max relative error."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UsageError(f"max_drift: got {value!r}, expected a number of at least 0")


def _fastest(bundle: Bundle, max_drift: float) -> Choice:
    """Return what was measured fastest on this machine or, where nothing was, what is known of machines like it."""
    from .tuned import read_tuned

    machine = this_machine()
    profiles = {name: build.profile for name, build in bundle.builds.items()}
    tuned = choose_tuned(machine, read_tuned(bundle, machine), profiles=profiles, max_drift=max_drift)
    choice = tuned or choose_profile(
        machine,
        candidates=list(profiles.values()),
        drift=bundle.recorded_drift(),
        max_drift=max_drift,
    )
    for reason in choice.reasons:
        _LOG.info("auto: %s", reason)
    return choice
