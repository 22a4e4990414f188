"""Decisions that a program sends: what it must say, and the signature that shows who sent it."""

from __future__ import annotations

import hashlib
import hmac
import re

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


SKEW: Final = timedelta(minutes=5)
LONGEST_BODY: Final = 16 * 1024
_TIME: Final = re.compile(r"t=([0-9]{9,11})")
_V1: Final = re.compile(r"v1=([0-9a-f]{64})")
_MOST_PARTS: Final = 5


class SignatureError(Exception):
    """The request is not shown to be from somebody who has a key; the text is for the audit trail."""


class Said(BaseModel):
    """A decision on one plan."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    decision: Literal["approve", "reject"]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)] = Field(
        description="Why; it is kept with the finding."
    )
    approver: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        description="Who decided, as the sender knows them."
    )
    plan_digest: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="The plan that was decided on, as the ticket names it."
    )


def sign(key: bytes, body: bytes, at: datetime) -> str:
    """The header X-Hubwarden-Signature of a request with this body, sent now."""
    time = int(at.timestamp())
    return f"t={time},v1={_mac(key, str(time), body)}"


def verified(header: str, body: bytes, keys: Sequence[bytes], now: datetime) -> str:
    """A name of this body sent at this time, by which a second sending is known, whichever key signed that.

    Raises:
        SignatureError: none fits, or the time is too far from now.
    """
    time, given = _parts(header)
    if abs(datetime.fromtimestamp(int(time), UTC) - now) > SKEW:
        raise SignatureError("its time is more than 5 minutes away from ours")
    ours = [_mac(key, time, body) for key in keys]
    if not any(hmac.compare_digest(mac, our) for mac in given for our in ours):
        raise SignatureError("its signature does not fit")
    return hashlib.sha256(f"{time}.".encode() + body).hexdigest()


def _parts(header: str) -> tuple[str, list[str]]:
    parts = [part.strip() for part in header.split(",", _MOST_PARTS)]
    times = [found[1] for part in parts if (found := _TIME.fullmatch(part))]
    macs = [found[1] for part in parts if (found := _V1.fullmatch(part))]
    if len(times) != 1 or not macs:
        raise SignatureError("it has no signature of the form t=…,v1=…")
    return times[0], macs


def _mac(key: bytes, time: str, body: bytes) -> str:
    return hmac.digest(key, f"{time}.".encode() + body, hashlib.sha256).hex()
