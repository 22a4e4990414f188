"""From whatever the SDK raises to the error classes of the ports. Pure, but for looking at the exception."""

from __future__ import annotations

import json
import re

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from azure.core.exceptions import (
    AzureError as SdkError,
)
from azure.core.exceptions import (
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
)

from hubwarden.adapters.azure.receipts import receipt_of
from hubwarden.adapters.azure.redaction import safe_text
from hubwarden.service.errors import (
    AzureError,
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    TransientError,
)


# The same absence has two shapes: the gateway's and the resource provider's (RECORDINGS §5).
_GONE: Final = frozenset({"ResourceNotFound", "ResourceGroupNotFound", "404002", "IotHubNotFound"})
_LOCKED: Final = "ScopeLocked"
_NEVER: Final = frozenset({"MissingSubscriptionRegistration", "OperationNotAllowed"})
# LinkedAuthorizationFailed names two actions: the one that is allowed first, then the one that is missing.
_ACTION: Final = re.compile(r"not have (?:authorization|permission) to perform action(?:\(s\))? '([^']{1,200})'")
_WAIT_IN_TEXT: Final = re.compile(r"(?:try again after|wait) '?([0-9]{1,9})'? seconds", re.IGNORECASE)
_WHOLE_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_LONGEST_WAIT: Final = timedelta(days=1)
_SUCCESS: Final = range(200, 300)
_REQUEST_TIMEOUT: Final = 408
_SERVER_ERROR: Final = 500


class NotSentError(Exception):
    """Why a request was not even sent. Our pipelines raise it; a port says TransientError."""

    def __init__(self, reason: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def translated(error: Exception, doing: str) -> AzureError:
    """The port's error for an SDK's.

    Args:
        error: what the SDK raised.
        doing: what was tried, as in "reading <hub>"; every message begins with it.
    """
    if isinstance(error, NotSentError):
        return TransientError(f"{doing}: {error}", retry_after=error.retry_after)
    response: Any = error.response if isinstance(error, HttpResponseError) else None
    if response is not None and response.status_code not in _SUCCESS:
        code, message = code_and_message(response)
        known = _of_status(int(response.status_code), code, message, response.headers, doing)
        return known.with_receipt(receipt_of(response.headers))
    senseless = isinstance(error, DecodeError) and not isinstance(error, IncompleteReadError)
    if response is None and isinstance(error, (SdkError, TimeoutError)) and not senseless:
        return TransientError(
            f"{doing}: the connection broke ({type(error).__name__}: {safe_text(str(error), 300)})",
            sent=not _never_connected(error),
        )
    return PermanentError(f"{doing}: the answer makes no sense ({type(error).__name__})")


def _of_status(  # noqa: PLR0911 - one answer a case
    status: int, code: str, message: str, headers: Mapping[str, str], doing: str
) -> AzureError:
    shown = safe_text(message)
    said = ": ".join(part for part in (doing, f"{status} {code}".rstrip(), shown) if part)
    match status:
        case 401:
            return TransientError(said)  # a token that ran out; the next one is fresh
        case 403:
            action = _ACTION.search(message)
            return DeniedError(said, missing_action=safe_text(action[1]) if action else None)
        case 404 if code in _GONE:
            return HubGoneError(said)
        case 409 if code == _LOCKED:
            return DeniedError(said)
        case 409 | 412 if code not in _NEVER:
            return ConflictError(said)
        case 429:
            return TransientError(said, retry_after=retry_after(headers, message))
        case _ if is_outage(status):
            return TransientError(said, retry_after=retry_after(headers, message), sent=True)
        case _:
            return PermanentError(said)


def retry_after(headers: Mapping[str, str], message: str = "", now: datetime | None = None) -> timedelta | None:
    """How long Azure asks to wait: seconds or a date in the header, else seconds in the text, else None."""
    value = next((headers[name] for name in headers if name.lower() == "retry-after"), "").strip()
    if _WHOLE_SECONDS.fullmatch(value):
        return min(timedelta(seconds=int(value)), _LONGEST_WAIT)
    if value:
        try:
            wait = parsedate_to_datetime(value) - (now or datetime.now(UTC))
        except (ValueError, TypeError, OverflowError):
            pass  # neither seconds nor a date: perhaps the text says it
        else:
            return min(max(timedelta(0), wait), _LONGEST_WAIT)
    in_text = _WAIT_IN_TEXT.search(message)
    return min(timedelta(seconds=int(in_text[1])), _LONGEST_WAIT) if in_text else None


def is_outage(status: int) -> bool:
    """Whether a request with this answer may have arrived all the same."""
    return status == _REQUEST_TIMEOUT or status >= _SERVER_ERROR


def code_of(response: Any) -> str:
    """The code in an error's body, or nothing."""
    return code_and_message(response)[0]


def code_and_message(response: Any) -> tuple[str, str]:
    """Both error shapes; ``code`` may be a number, and the body may be HTML (RECORDINGS §5). Message: raw."""
    try:
        body: Any = json.loads(response.text())
    except Exception:  # noqa: BLE001 - whatever is wrong with an error's body, its status still counts
        return "", ""
    inner = body.get("error", body) if isinstance(body, dict) else {}
    if not isinstance(inner, dict):
        return "", str(inner or "")
    lowered = {str(name).lower(): value for name, value in inner.items()}
    return safe_text(str(lowered.get("code") or ""), 100), str(lowered.get("message") or "")


def _never_connected(error: Exception) -> bool:
    """Whether no connection came about. azure-core wraps a cut connection in the very same class."""
    if not isinstance(error, ServiceRequestError):
        return False
    inner = getattr(error, "inner_exception", None) or error.__cause__
    return any(kind.__name__ in {"ClientConnectorError", "ConnectionTimeoutError"} for kind in type(inner).__mro__)
