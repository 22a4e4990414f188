"""How Azure, or a ticket system, can say no, and how storage can. Adapters raise nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from hubwarden.domain.receipt import Receipt


class AzureError(Exception):
    """A call to Azure, or to a ticket system, did not do what it should.

    The message is for an operator and carries no secret. ``receipt`` is there where Azure has answered.
    """

    receipt: Receipt | None = None

    def with_receipt(self, receipt: Receipt | None) -> Self:
        """The error itself, with this receipt."""
        self.receipt = receipt
        return self


class TransientError(AzureError):
    """Come back later: throttling, an outage, a broken connection.

    ``retry_after`` is what Azure asked for. ``sent`` says whether the request may have taken effect.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None, sent: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.sent = sent


class ConflictError(AzureError):
    """The hub is not as it was when it was read, or is busy: read again, decide again."""


class DeniedError(AzureError):
    """A right, a lock or a policy forbids it. ``missing_action`` is the ARM action, where one is named."""

    def __init__(self, message: str, *, missing_action: str | None = None) -> None:
        super().__init__(message)
        self.missing_action = missing_action


class PermanentError(AzureError):
    """Asking again the same way can never work."""


class HubGoneError(AzureError):
    """There is no such hub."""


class StaleWriteError(Exception):
    """The stored row is not the one that was read: somebody else was faster."""


class StorageUnavailableError(Exception):
    """The app's own storage did not answer as it should; the message says which part."""


class StorageRefusedError(StorageUnavailableError):
    """One value does not fit into its row, or cannot be read from it; all others are as well as ever."""


class StateNewerError(StorageRefusedError):
    """A newer version of hubwarden wrote the value."""
