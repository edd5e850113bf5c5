"""What fails between us and a Hub, in one sentence of ours; it asks nothing itself."""

import contextlib
from collections.abc import Iterator

from ..errors import EnvironmentMissing, UsageError, VitrifyError
from .answers import Rejected, is_of_the_network

_UNAUTHORIZED, _FORBIDDEN, _ABSENT = 401, 403, 404


@contextlib.contextmanager
def explained(model: str, revision: str | None) -> Iterator[None]:
    """Raise what fails as UsageError or EnvironmentMissing."""
    from huggingface_hub import errors

    at = f"'{model}'" + (f" at revision '{revision}'" if revision else "")
    try:
        yield
    except VitrifyError:
        raise
    except Rejected as error:
        raise _from_rejection(at, model, revision, error) from error
    except getattr(errors, "IncompleteSnapshotError", ()) as error:
        raise EnvironmentMissing(f"only a part of {at} is in the cache: run once with a connection") from error
    except errors.LocalEntryNotFoundError as error:
        raise EnvironmentMissing(
            f"no local folder {at}, no cached copy, and the Hub is unreachable: check the connection or HF_HUB_OFFLINE"
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(f"{at} cannot be downloaded from the Hub: {str(error).splitlines()[0]}") from error
    except Exception as error:
        raise _from_other(at, error) from error


def _from_rejection(at: str, model: str, revision: str | None, error: Rejected) -> UsageError | EnvironmentMissing:
    if error.code == "GatedRepo":
        return UsageError(f"{at} is gated: accept its terms on the Hub, then log in (hf auth login) or pass a token")
    if error.code == "RevisionNotFound":
        return UsageError(f"the Hub has no revision '{revision}' of '{model}': check --revision")
    if error.code == "RepoNotFound" or (error.code is None and error.status in {_UNAUTHORIZED, _ABSENT}):
        return UsageError(
            f"the Hub has no {at}, or it is private: check the name, or log in (hf auth login) or pass a token"
        )
    if error.status in {_UNAUTHORIZED, _FORBIDDEN}:
        return UsageError(f"the Hub rejects access to {at} ({error.status}): log in (hf auth login) or pass a token")
    return EnvironmentMissing(f"the Hub failed on {at} ({error.status}): run again, the download resumes")


def _from_other(at: str, error: Exception) -> Exception:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    if is_of_the_network(error) or (isinstance(error, OSError) and error.errno is None):
        return EnvironmentMissing(
            f"no local folder {at}, and the Hub is unreachable ({reason:.200}): check the connection and run again, "
            "the download resumes; HF_HUB_OFFLINE=1 uses the cache"
        )
    if isinstance(error, OSError):
        return EnvironmentMissing(f"{at} cannot be stored ({reason}): check space and permissions of HF_HOME")
    if isinstance(error, (ValueError, LookupError, TypeError, AttributeError, RecursionError)):
        return EnvironmentMissing(
            f"the answer for {at} is not from a Hub ({reason:.200}): check HF_ENDPOINT, or a proxy in between"
        )
    return error
