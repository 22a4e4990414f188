"""From the headers of an answer to its receipt. Of the answer's body nothing is looked at: it can carry keys."""

from __future__ import annotations

import re

from collections.abc import Mapping
from typing import Any, Final

from hubwarden.domain.receipt import Receipt


_ID: Final = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def receipt_of(headers: Mapping[str, str]) -> Receipt:
    """The receipt that these headers are; what does not look like an id is none."""
    lowered = {name.lower(): value for name, value in headers.items()}
    return Receipt(_id(lowered, "x-ms-request-id"), _id(lowered, "x-ms-correlation-request-id"))


class Receipts:
    """Given as ``raw_response_hook`` to one of the SDK's operations, keeps the receipt of its last answer."""

    def __init__(self) -> None:
        self.last = Receipt(None, None)

    def __call__(self, response: Any) -> None:
        """An answer came."""
        self.last = receipt_of(response.http_response.headers)


def _id(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name, "")
    return value if _ID.fullmatch(value) else None
