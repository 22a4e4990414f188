"""bury: what nobody can use is kept whole, with its reason, for a person to look at."""

from __future__ import annotations

import hashlib
import logging

from hubwarden.service.messages import MalformedMessageError, Queue, parse
from hubwarden.service.ports import AuditTrail, Graveyard
from hubwarden.service.telemetry import POISON, SILENT, Telemetry


log = logging.getLogger(__name__)


async def bury(
    queue: Queue, text: str, *, graveyard: Graveyard, audit: AuditTrail, telemetry: Telemetry = SILENT
) -> str:
    """Keep a text from the queue's poison queue.

    Returns:
        The reason: why it is no message, or that the work failed every time. A hub that is concerned is looked
        at again by the next sweep.
    """
    try:
        message = parse(queue, text)
        reason = f"the work failed each time it was tried: {message}"
        told = f"the work failed each time it was tried: {type(message).__name__}"
    except MalformedMessageError as error:
        reason = told = str(error)
    place = await graveyard.bury(queue, text, reason)
    await audit.append("poison", {
        "queue": queue,
        "reason": reason,
        "kept": place,
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
    })  # fmt: skip
    telemetry.count(POISON, queue=queue.value)
    log.error("a message of %s was buried as %s: %s", queue, place, told)
    return reason
