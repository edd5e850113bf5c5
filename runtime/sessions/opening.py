"""How a session is opened, beside the options that a profile gives its provider; it opens nothing."""

from dataclasses import dataclass, field
from pathlib import Path

from ..machine import Machine, this_machine


@dataclass(frozen=True)
class Opening:
    """What every backend is told; one that has no use for a field leaves it.

    Attributes
    ----------
    threads
        Threads within a node; None uses the cores that this process may use.
    machine
        What the CPU can do, and which GPUs there are.
    trace
        The path, without its ending, of the profile that the session writes when it is closed, as trace events:
        `model_run`, and for each node that ran NAME_kernel_time.
    packed
        Whether the graph was optimized when it was saved, with weights packed for this CPU, and runs as it is.
    varied
        Whether shapes change from run to run.
    record
        Whether the session shall know which provider each node went to.

    """

    threads: int | None = None
    machine: Machine = field(default_factory=this_machine)
    trace: Path | None = None
    packed: bool = False
    varied: bool = False
    record: bool = False
