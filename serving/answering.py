"""From a route to a pipeline and back: the pipeline's call in a thread, within the request's time."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from .executor import CURRENT, TooLate
from .limits import Limits
from .models import Models

Result = TypeVar("Result")


class Answering:
    """What every route needs: the models, the limits, and threads for all requests that may be under way."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models, self.limits = models, limits
        self._threads = CapacityLimiter(limits.requests)

    async def answer(self, call: Callable[[], Result]) -> Result:
        """Return what a call returns, run in a thread; raise TooLate once the request's time is over.

        The thread ends by itself: of a request whose time is over nothing more is run.
        """
        ticket = CURRENT.get()
        left = None if ticket is None else ticket.deadline - time.monotonic()
        try:
            with anyio.fail_after(left):
                return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)
        except TimeoutError as error:
            if ticket is not None:
                ticket.is_gone = True
            raise TooLate from error

    async def run(self, pipe: Any, inputs: Any, **options: Any) -> Any:
        """Return a pipeline's result for one input or a list of them, within the limits."""
        self.limits.check_count(len(inputs) if isinstance(inputs, list) else 1)
        self.limits.check_texts([inputs, list(options.values())])
        batch = {"batch_size": len(inputs)} if isinstance(inputs, list) and inputs else {}
        return await self.answer(lambda: pipe(inputs, **batch, **options))
