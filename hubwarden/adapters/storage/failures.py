"""What is done when storage says no: create what is missing, report what is broken."""

from __future__ import annotations

import re

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from hubwarden.service.errors import StorageUnavailableError


@contextmanager
def reported(part: str) -> Iterator[None]:
    """Turn whatever the SDK raises into StorageUnavailableError, whose message begins with the part.

    The SDK's error is not chained: its text and request may show what a SAS or a signature was made of.
    """
    try:
        yield
    except (AzureError, OSError) as error:
        raise StorageUnavailableError(f"{part}: {_described(error)}") from None


async def creating[T](create: Callable[[], Awaitable[object]], work: Callable[[], Awaitable[T]]) -> T:
    """Do the work; only where its place turns out to be missing, create that and do it again."""
    try:
        return await work()
    except ResourceNotFoundError:
        with suppress(ResourceExistsError, ResourceModifiedError):  # somebody else has just created it
            await create()
        return await work()


def error_code(error: BaseException) -> str | None:
    """Azure's own name for an error, such as ``TableNotFound``."""
    code = getattr(error, "error_code", None)
    return getattr(code, "value", code)


def _described(error: AzureError | OSError) -> str:
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return f"HTTP {error.status_code} {error_code(error) or error.reason}"
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {re.sub(r'\?\S*', '?…', first_line)[:300]}"
