"""Reads .NET TimeSpan texts, the only notation for durations in host.json and in trigger settings."""

import re

from datetime import timedelta


_TIMESPAN = re.compile(
    r"(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})(?::(?P<seconds>\d{1,2}(?:\.\d{1,7})?))?"
)


def parse_timespan(text: str) -> timedelta:
    """Return the duration of `[d.]hh:mm[:ss[.fffffff]]`; anything else is a ValueError."""
    found = _TIMESPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration of the form hh:mm:ss")
    return timedelta(**{unit: float(amount) for unit, amount in found.groupdict().items() if amount})
