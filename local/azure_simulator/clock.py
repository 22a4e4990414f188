"""Time as Azure writes it."""

import time

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def seven_digits(moment: datetime) -> str:
    """The moment with the seven fractional digits of Event Grid and systemData (AZURE §5)."""
    ticks = moment.microsecond * 10 + time.time_ns() // 100 % 10
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ticks:07d}Z"


def plain(moment: datetime) -> str:
    """The moment as the IoT Hub provider and Entra ID put it in error texts: `2025-01-23 22:00:00Z`."""
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"


def http_date(moment: datetime) -> str:
    """The moment as in the key records of a PUT answer: `Mon, 06 Nov 2023 20:16:42 GMT`."""
    return f"{moment:%a, %d %b %Y %H:%M:%S} GMT"
