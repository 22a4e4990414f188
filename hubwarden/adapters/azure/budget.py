"""How many requests Azure Resource Manager still takes, so that it never has to refuse one. Pure, but for a clock.

Each subscription has a bucket of reads, one of writes and one of deletes for us, and one fifteen times as large
for everybody. Every answer says what is left in both; what comes back with time is documented (AZURE.md §6).
"""

from __future__ import annotations

import math
import re
import time

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from hubwarden.adapters.azure.errors import NotSentError


_SHARED_FACTOR: Final = 15
"""The bucket that a whole subscription shares is this much larger than ours, and so is what comes back."""
_SIZES: Final = {"reads": (250, 25), "writes": (200, 10), "deletes": (200, 10)}
"""The documented size of each bucket, and how much comes back in a second."""
_COSTS: Final = {"GET": ("reads", 20), "HEAD": ("reads", 20), "DELETE": ("deletes", 20), "POST": ("writes", 50)}
"""What a method takes from, and how much it must leave. listkeys (POST) must leave enough for fixes (PUT)."""
_COST_OF_A_WRITE: Final = ("writes", 10)
_SUBSCRIPTION: Final = re.compile(r"/subscriptions/([^/]+)")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")

type Told = Callable[[Mapping[str, str]], None]
"""Takes the headers of the answer."""


@dataclass(slots=True)
class _Bucket:
    """What is left, as far as is known: ``left`` was it at ``at``, with all that was sent until then taken off."""

    size: float
    refill: float
    left: float | None = None
    at: float = 0.0

    def now(self, now: float) -> float | None:
        """What is left by now."""
        return None if self.left is None else min(self.size, self.left + (now - self.at) * self.refill)

    def take(self, now: float) -> None:
        """One request is sent."""
        left = self.now(now)
        self.left, self.at = None if left is None else left - 1, now

    def learn(self, told: int, others: int, now: float) -> None:
        """An answer told what is left; other requests are on their way, and perhaps not counted in that.

        Answers overtake each other, and each can come from another front end: the lowest counts.
        """
        known = self.now(now)
        left = float(told - others)
        self.left, self.at = left if known is None else min(left, known), now
        self.size = max(self.size, told)

    def wait(self, reserve: float, now: float) -> float:
        """Seconds until a request leaves the reserve untouched; 0 where nothing is known."""
        left = self.now(now)
        return 0.0 if left is None else max(0.0, (reserve + 1 - left) / self.refill)


@dataclass(slots=True)
class _Account:
    """The two buckets of one kind in one subscription, and how many requests are on their way."""

    kind: str
    own: _Bucket = field(init=False)
    shared: _Bucket = field(init=False)
    under_way: int = 0

    def __post_init__(self) -> None:
        size, refill = _SIZES[self.kind]
        self.own = _Bucket(size, refill)
        self.shared = _Bucket(size * _SHARED_FACTOR, refill * _SHARED_FACTOR)

    def wait(self, reserve: int, now: float) -> float:
        return max(self.own.wait(reserve, now), self.shared.wait(reserve * _SHARED_FACTOR, now))

    def take(self, now: float) -> None:
        self.under_way += 1
        self.own.take(now)
        self.shared.take(now)

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        for bucket, infix in ((self.own, ""), (self.shared, "global-")):
            told = headers.get(f"x-ms-ratelimit-remaining-subscription-{infix}{self.kind}", "")
            if _NUMBER.fullmatch(told):
                bucket.learn(int(told), self.under_way - 1, now)


class Budget:
    """One for everything that one identity asks of Azure Resource Manager.

    Where no answer has told what is left, nothing is refused.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[tuple[str, str], _Account] = {}

    @contextmanager
    def request(self, method: str, url: str) -> Iterator[Told]:
        """A request that is sent inside this block, which gets to know the answer's headers.

        Raises:
            NotSentError: it would take from the reserve; it says when there will be enough.
        """
        subscription = _SUBSCRIPTION.match(urlsplit(url).path.lower())
        if subscription is None:
            yield lambda _: None  # a tenant's bucket is as large as a subscription's, and we ask next to nothing
            return
        kind, reserve = _COSTS.get(method, _COST_OF_A_WRITE)
        account = self._accounts.setdefault((subscription[1], kind), _Account(kind))
        if wait := account.wait(reserve, self._clock()):
            raise NotSentError(
                f"not sent, for the {kind} of subscription {subscription[1]} are running out",
                retry_after=timedelta(seconds=math.ceil(wait)),
            )
        account.take(self._clock())
        try:
            yield lambda headers: account.learn(headers, self._clock())
        finally:
            account.under_way -= 1
