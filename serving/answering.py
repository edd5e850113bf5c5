"""From a route to a pipeline and back: the pipeline's call in a thread, within the request's time."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from .arguments import check_arguments
from .executor import CURRENT, TooLate
from .limits import Limits
from .models import Models

Result = TypeVar("Result")
_BATCH = 64  # rows that a request of many inputs runs together at most


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

    async def run(self, pipe: Any, inputs: Any, options: Mapping[str, Any], *, several: bool = False) -> Any:
        """Return a pipeline's result for one input, or a list of results for `several`, within the limits.

        Raises UsageError for more than the limits allow, and for an argument that no client may choose.
        """
        check_arguments(type(pipe.options), options)
        count = len(inputs) if several else 1
        self.limits.check_count(count * _longest(inputs, options))
        self.limits.check_texts([inputs, options])
        self.limits.check_sizes(options, count)
        if several and (count != 1 or isinstance(inputs[0], list)):
            size = max(1, min(count, _BATCH))
            return await self.answer(lambda: pipe(inputs, batch_size=size, **options))
        # As in transformers, some tasks give a list of one input no list of results.
        made = await self.answer(lambda: pipe(inputs[0] if several else inputs, **options))
        return [made] if several else made


def _longest(inputs: Any, options: Mapping[str, Any]) -> int:
    """Return how many texts the graph reads for one input: labels, or documents."""
    given = {**(inputs if isinstance(inputs, Mapping) else {}), **options}
    lists = [given.get(name) for name in ("candidate_labels", "documents")]
    sizes = [each.count(",") + 1 for each in lists if isinstance(each, str)]
    return max([1, *sizes, *(len(each) for each in lists if isinstance(each, list))])
