"""The triggers of the poison queues: what could not be worked on is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import azure.functions as func

from hubwarden.service.messages import Queue


POISON: Final = (
    ("evaluate_poison", Queue.EVALUATE),
    ("remediate_poison", Queue.REMEDIATE),
    ("verify_poison", Queue.VERIFY),
    ("census_poison", Queue.CENSUS),
    ("settle_poison", Queue.TICKETS),
    ("notify_poison", Queue.NOTIFY),
)
"""Each function and the queue whose poison queue it serves."""


class Burying(Protocol):
    """Who keeps it."""

    async def on_poison(self, queue: Queue, text: str, invocation: str = "") -> None:
        """Keep a text from the queue's poison queue."""
        ...


def burials(service: Burying) -> func.Blueprint:
    """One trigger for each poison queue."""
    triggers = func.Blueprint()  # type: ignore[no-untyped-call]
    for name, queue in POISON:
        taken = triggers.queue_trigger(
            arg_name="msg", queue_name=f"{queue}-poison", connection="AzureWebJobsStorage"
        )(_keeper(service, queue))
        triggers.function_name(name)(taken)
    return triggers


def _keeper(service: Burying, queue: Queue) -> Callable[[func.QueueMessage, func.Context], Awaitable[None]]:
    async def keep(msg: func.QueueMessage, context: func.Context) -> None:
        await service.on_poison(queue, text_of(msg), context.invocation_id)

    return keep


def text_of(message: func.QueueMessage) -> str:
    """The text of a queue message, whatever its bytes."""
    return message.get_body().decode("utf-8", errors="replace")
