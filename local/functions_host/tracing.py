"""The trace context that the host hands to the worker with each invocation: W3C, as in Azure."""

import re
import secrets


_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")


def traceparent(caller: str | None = None) -> str:
    """Return a new span of the caller's trace, or of a new one: the host's own, of this invocation.

    Only an HTTP caller has a trace: storage queues and Event Grid deliveries carry none that the host reads.
    """
    known = _TRACEPARENT.fullmatch(caller or "")
    trace, flags = known.groups() if known else (secrets.token_hex(16), "01")
    return f"00-{trace}-{secrets.token_hex(8)}-{flags}"
