"""llama.cpp through llama-cpp-python, on a GGUF file; one prompt at a time, as that has no batches."""

from collections.abc import Callable
from importlib import import_module
from itertools import islice
from typing import Any


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a GGUF file by kind; `variant` is what the file already is."""
    del variant
    llama: Any = import_module("llama_cpp").Llama(
        model, n_ctx=1024, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def write(*, ids: list[list[int]], new: int, text: str | None = None) -> Callable[[], list[list[int]]]:
        del text
        (prompt,) = ids

        def run() -> list[list[int]]:
            llama.reset()  # or it goes on from the prompt of the run before
            return [list(islice(llama.generate(prompt, temp=0.0, repeat_penalty=1.0), new))]

        return run

    return {"write": write}
