"""Telling of calls to Azure Resource Manager: how many, how they ended, and how many more Azure would take."""

from __future__ import annotations

import re

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from hubwarden.adapters.azure.errors import NotSentError, is_outage
from hubwarden.service.telemetry import ARM_BUDGET, ARM_CALLS, Telemetry


_READS: Final = frozenset({"GET", "HEAD"})
_MISSING: Final = 404
_THROTTLED: Final = 429
_ERROR: Final = 400
_LEFT: Final = re.compile(r"x-ms-ratelimit-remaining-subscription-(reads|writes)")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")

type Answered = Callable[[int, Mapping[str, str]], None]
"""Takes the status and the headers of the answer."""


class CountedCalls:
    """Tells of each call how it ended; what was not even sent is none."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    @contextmanager
    def call(self, method: str, url: str) -> Iterator[Answered]:
        """A call that is sent inside this block, which gets to know its answer; without one, it failed."""
        kind, outcome = _kind(method, url), "failed"

        def answered(status: int, headers: Mapping[str, str]) -> None:
            nonlocal outcome
            outcome = _outcome(kind, status)
            self._told(headers)

        try:
            yield answered
        except NotSentError:
            raise
        except BaseException:
            self._telemetry.count(ARM_CALLS, kind=kind, outcome=outcome)
            raise
        self._telemetry.count(ARM_CALLS, kind=kind, outcome=outcome)

    def _told(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            left = _LEFT.fullmatch(name.lower())
            if left is not None and _NUMBER.fullmatch(value):
                self._telemetry.lowest(ARM_BUDGET, int(value), kind=left[1])


def _kind(method: str, url: str) -> str:
    if method in _READS:
        return "read"
    return "listkeys" if urlsplit(url).path.lower().endswith("/listkeys") else "write"


def _outcome(kind: str, status: int) -> str:
    """That something is not there is an answer to a reading as good as any."""
    if status < _ERROR or (kind == "read" and status == _MISSING):
        return "ok"
    if status == _THROTTLED:
        return "throttled"
    return "failed" if is_outage(status) else "refused"
