"""What a tracer would freeze, written so that it can follow: a row for each method that takes a size apart.

1. A row names a method of transformers and gives another that returns the same for every size.
2. Rows hold only while a model is traced; the parity gate compares with the method as it is.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

_MODELS = "transformers.models"


def _moonshine_states(_model: Any, samples: Any) -> Any:
    """Return how many states three convolutions leave of so many samples; `int(...)` of a quotient is a constant."""
    for kernel, stride in ((127, 64), (7, 3), (3, 2)):
        samples = (samples - kernel) // stride + 1
    return samples


_ROWS: Mapping[str, Callable[..., Any]] = {
    "moonshine.modeling_moonshine.MoonshinePreTrainedModel._get_feat_extract_output_lengths": _moonshine_states,
}


@contextlib.contextmanager
def traceable() -> Iterator[None]:
    """Let the rows stand in for the methods of the architectures that are loaded."""
    with contextlib.ExitStack() as stack:
        for path, method in _ROWS.items():
            module, owner, name = f"{_MODELS}.{path}".rsplit(".", 2)
            if module in sys.modules:
                stack.enter_context(mock.patch.object(getattr(sys.modules[module], owner), name, method))
        yield
