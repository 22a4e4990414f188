"""ARM's token buckets, per subscription, principal and kind of operation (AZURE §6)."""

import math
import time

from dataclasses import dataclass, field
from typing import Literal

from local.azure_simulator.config import SimulatorConfig
from local.azure_simulator.errors import arm_error
from local.azure_simulator.wire import Call


type Kind = Literal["reads", "writes", "deletes"]

GLOBAL_FACTOR = 15
"""The bucket of a whole subscription is this much larger than that of one principal."""

RESOURCE_REQUESTS = (
    ("/providers/microsoft.insights/diagnosticsettings", ("PUT",), 150.0, 0.5),
    ("/providers/microsoft.security/iotsecuritysolutions", ("PUT", "PATCH"), 250.0, 1.0),
    ("/providers/microsoft.security/iotsecuritysolutions", ("GET",), 750.0, 2.5),
    ("/providers/microsoft.devices/", ("PUT",), 5000.0, 5.0),
)
"""A provider's own count, in place of the gateway's header: part of the path, methods, size, refill per second.

The sizes are recorded (RECORDINGS §3.1, §6); no refusal is, and so none is made.
"""


@dataclass(slots=True)
class Bucket:
    """Tokens that come back with time."""

    size: float
    refill: float
    tokens: float = field(init=False)
    filled_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.size
        self.filled_at = time.monotonic()

    def take(self) -> float:
        """Take a token; 0.0 if there was one, else the seconds until there will be."""
        now = time.monotonic()
        self.tokens = min(self.size, self.tokens + (now - self.filled_at) * self.refill)
        self.filled_at = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.refill if self.refill else math.inf
        self.tokens -= 1
        return 0.0


class Throttle:
    """Charges each request; says what is left in headers, and refuses with 429 when nothing is."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, ...], Bucket] = {}

    def charge(self, call: Call, subscription: str, config: SimulatorConfig) -> dict[str, str]:
        """The rate limit headers of this request, or the gateway's 429."""
        kind = kind_of(call.method)
        size, refill = limits(config, kind)
        own = self._bucket((subscription, call.caller.principal.oid, kind), size, refill)
        shared = self._bucket((subscription, "*", kind), size * GLOBAL_FACTOR, refill * GLOBAL_FACTOR)
        wait = own.take() or shared.take()
        if wait:
            raise throttled(call, subscription, wait)
        path = call.path.lower()
        for part, methods, own_size, own_refill in RESOURCE_REQUESTS:
            if part in path:
                if call.method not in methods:
                    continue
                count = self._bucket((subscription, part, methods[0]), own_size, own_refill)
                count.take()
                return {"x-ms-ratelimit-remaining-subscription-resource-requests": str(int(count.tokens))}
        if not subscription:
            return {f"x-ms-ratelimit-remaining-tenant-{kind}": str(int(own.tokens))}
        return {
            f"x-ms-ratelimit-remaining-subscription-{kind}": str(int(own.tokens)),
            f"x-ms-ratelimit-remaining-subscription-global-{kind}": str(int(shared.tokens)),
        }

    def reset(self) -> None:
        """Fill all buckets."""
        self._buckets.clear()

    def _bucket(self, key: tuple[str, ...], size: float, refill: float) -> Bucket:
        return self._buckets.setdefault(key, Bucket(size, refill))


def kind_of(method: str) -> Kind:
    """POST counts as a write, listkeys included (AZURE §0.2)."""
    if method == "GET":
        return "reads"
    return "deletes" if method == "DELETE" else "writes"


def limits(config: SimulatorConfig, kind: Kind) -> tuple[float, float]:
    """Size and refill per second of this kind's bucket."""
    return {"reads": config.reads, "writes": config.writes, "deletes": config.deletes}[kind]


def throttled(call: Call, subscription: str, wait: float) -> Exception:
    """The gateway's 429, worded as in the recordings."""
    seconds = max(1, math.ceil(min(wait, 3600)))
    operation = f"{call.method}{call.path.upper()}"
    return arm_error(
        429,
        "SubscriptionRequestsThrottled",
        f"Number of requests for subscription '{subscription}' and operation '{operation}' exceeded the backend "
        f"storage limit. Please try again after '{seconds}' seconds.",
        {"Retry-After": str(seconds)},
    )
