"""Coming back later: as a delayed message, never as a wait."""

from __future__ import annotations

import logging

from datetime import timedelta
from typing import Final

from hubwarden.domain.limits import Kill
from hubwarden.service.messages import Message, RemediateMessage, queue_of
from hubwarden.service.ports import Ports


log = logging.getLogger(__name__)

TRIES: Final = 12
_LONGEST: Final = timedelta(minutes=15)
_KILLED: Final = timedelta(minutes=5)


async def put_off(
    ports: Ports, message: Message, error: Exception, *, retry_after: timedelta | None = None
) -> None:
    """Send the message again, later each time; what has been put off too often goes to the poison queue.

    ``retry_after`` is Azure's own wish and is never undercut.
    """
    if message.attempt >= TRIES:
        log.error("gave up on a message of %s after %d tries: %s", queue_of(message), TRIES, error)
        await ports.work.send_to_poison(queue_of(message), message.model_dump_json())
        return
    delay = max(backoff(message.attempt), retry_after or timedelta(0))
    log.warning("%s; trying again in %d s (try %d)", error, delay.total_seconds(), message.attempt + 1)
    await ports.work.send(message.model_copy(update={"attempt": message.attempt + 1}), delay=delay)


def backoff(attempt: int) -> timedelta:
    """2 s, 4 s, 8 s … up to 15 minutes."""
    return min(_LONGEST, timedelta(seconds=2 << min(attempt, 20)))


async def wait_for_resume(ports: Ports, message: RemediateMessage, killed: Kill) -> None:
    """Keep the work on its queue, as often as it takes: what is approved stays approved, and no try is used up."""
    log.warning("%s is not touched: the kill switch is on since %s", message.hub, killed.at)
    await ports.work.send(message, delay=_KILLED)
