"""Randomised exponential back-off, with the numbers of the WebJobs SDK."""

import random

from datetime import timedelta


class Backoff:
    """Delays that double from `minimum` to `maximum`, ±20 % (RandomizedExponentialBackoffStrategy.cs)."""

    def __init__(self, minimum: timedelta, maximum: timedelta) -> None:
        self._minimum = minimum
        self._maximum = max(minimum, maximum)
        self._exponent = 0

    def reset(self) -> None:
        """Start again from the minimum: there was work."""
        self._exponent = 0

    def next(self) -> float:
        """Return the seconds to wait now."""
        delay = self._minimum
        if self._exponent:
            delay += self._minimum * (random.uniform(0.8, 1.2) * 2 ** (self._exponent - 1))
        if delay >= self._maximum:
            return self._maximum.total_seconds()
        self._exponent += 1
        return delay.total_seconds()
