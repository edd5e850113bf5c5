"""What the Hub answers to an upload, in one sentence of ours; it uploads nothing."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from ..errors import EnvironmentMissing, UsageError, VitrifyError

# By status, what is said of the repository that was named.
_ANSWERS: Mapping[int, Callable[[str], VitrifyError]] = MappingProxyType(
    {
        401: lambda at: UsageError(f"the Hub rejects the token for '{at}' (401): log in again (hf auth login)"),
        402: lambda at: UsageError(f"the Hub asks for a payment for '{at}' (402): check the owner's plan"),
        403: lambda at: UsageError(
            f"the token has no write access to '{at}' (403): use one that has, or choose another owner"
        ),
        404: lambda at: UsageError(f"the Hub has no '{at}', or no owner of that name: check the name"),
        409: lambda at: UsageError(f"'{at}' exists and the token has no access to it: choose another name"),
    }
)


@contextlib.contextmanager
def explained(at: str) -> Iterator[None]:
    """Turn what huggingface_hub raises while it uploads to `at` into an error of ours."""
    from huggingface_hub import errors

    try:
        yield
    except VitrifyError:
        raise
    except Exception as raised:
        error = _cause(raised)
        if isinstance(error, errors.HFValidationError):
            raise UsageError(f"'{at}' is not a repository's name: {_line(error)}") from raised
        if isinstance(error, errors.HfHubHTTPError):
            raise _answered(at, error) from raised
        if isinstance(error, ValueError) and "README.md" in str(error):
            raise UsageError(
                f"the Hub rejects the model card: {_line(error)}. Edit README.md of the bundle"
            ) from raised
        if not _is_of_the_connection(error):
            raise
        raise EnvironmentMissing(
            f"the upload to '{at}' failed ({_line(error)}): run again, files that have arrived are not sent again"
        ) from raised


def _cause(error: BaseException) -> BaseException:
    """Return the error behind those that only say which file was being sent."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _answered(at: str, error: BaseException) -> VitrifyError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    if status in _ANSWERS:
        return _ANSWERS[status](at)
    said = getattr(error, "server_message", None) or _line(error)
    if 400 <= status < 500 and status not in {408, 429}:
        return UsageError(f"the Hub rejects '{at}' ({status}): {' '.join(said.split())}")
    return EnvironmentMissing(
        f"the Hub failed on '{at}' ({status}): run again, files that have arrived are not sent again"
    )


def _is_of_the_connection(error: BaseException) -> bool:
    """Tell whether it comes from the connection: from what carries it, or as an answer that is not a Hub's."""
    of_clients = type(error).__module__.startswith(("httpx", "httpcore", "hf_xet"))
    return of_clients or isinstance(error, (OSError, ValueError, LookupError, RuntimeError))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
