"""The queues' entrances: the work that messages ask for, and what could not be worked on."""

from __future__ import annotations

import logging

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hubwarden.entrances.policy import PolicyInUse
from hubwarden.service.bury import bury
from hubwarden.service.census import census
from hubwarden.service.desk import settle_late
from hubwarden.service.errors import StateNewerError
from hubwarden.service.evaluate import evaluate
from hubwarden.service.invocation import function_of, invoked, invoked_by
from hubwarden.service.messages import (
    CensusMessage,
    EvaluateMessage,
    MalformedMessageError,
    Message,
    NewerMessageError,
    NotifyMessage,
    Queue,
    RemediateMessage,
    SweepMessage,
    TicketMessage,
    TurnMessage,
    VerifyMessage,
    parse,
)
from hubwarden.service.notify import deliver
from hubwarden.service.ports import AuditTrail, Graveyard, Ports, WorkQueue
from hubwarden.service.remediate import remediate
from hubwarden.service.state import StateGate
from hubwarden.service.sweep import sweep
from hubwarden.service.telemetry import FAILURES, Telemetry
from hubwarden.service.turns import turns
from hubwarden.service.verify import verify


log = logging.getLogger(__name__)

_NOT_READY_FOR: Final = timedelta(minutes=5)


@dataclass(kw_only=True, eq=False)
class Messages:
    """Works on messages, and puts back those on which nothing may be done for now."""

    in_use: PolicyInUse
    state: StateGate
    work: WorkQueue
    graveyard: Graveyard
    audit: AuditTrail
    telemetry: Telemetry

    async def on_message(self, queue: Queue, text: str, invocation: str = "") -> None:
        """Do the work that a message asks for. What is no message goes to the poison queue at once.

        What a newer version of hubwarden sent or stored is left to that version: the message comes back later.
        """
        try:
            message = parse(queue, text)
        except NewerMessageError as error:
            with invoked(self.telemetry, function_of(queue), invocation):
                log.error("%s: it comes back later", error)  # noqa: TRY400 - one line says it
                self.telemetry.count(FAILURES, function=function_of(queue))  # for an alert: it circles till then
                await self.work.put_back(queue, text, delay=_NOT_READY_FOR)
            return
        except MalformedMessageError as error:
            with invoked(self.telemetry, function_of(queue), invocation):
                log.error("%s", error)  # noqa: TRY400 - one line says it
                await self.work.send_to_poison(queue, text)
            return
        with invoked_by(self.telemetry, message, queue, invocation):
            await self._work_on(queue, text, message)

    async def on_poison(self, queue: Queue, text: str, invocation: str = "") -> None:
        """A message came to the poison queue."""
        with invoked(self.telemetry, function_of(queue, poison=True), invocation):
            await bury(queue, text, graveyard=self.graveyard, audit=self.audit, telemetry=self.telemetry)

    async def _work_on(self, queue: Queue, text: str, message: Message) -> None:
        """Do what a message asks for, or put it back until that may be done."""
        await self.in_use.refresh()
        if self.in_use.not_ready is not None:
            log.error("nothing is done about a message of %s, the policy file cannot be used:\n%s",
                      queue, self.in_use.told)  # fmt: skip
            await self.work.send(message, delay=_NOT_READY_FOR)
            return
        if misfit := await self.state.misfit(migrate=True):
            log.error("nothing is done about a message of %s for now: %s", queue, misfit)
            await self.work.put_back(queue, text, delay=misfit.wait)
            return
        try:
            await _do(self.in_use.ports, message)
        except StateNewerError as error:
            self.state.doubt()
            if not await self.state.misfit():
                raise  # no newer version is at work: one odd row, which is buried as a damaged one is
            log.error("nothing is done about a message of %s for now: %s", queue, error)  # noqa: TRY400
            await self.work.put_back(queue, text, delay=_NOT_READY_FOR)


async def _do(ports: Ports, message: Message) -> None:
    match message:
        case EvaluateMessage():
            await evaluate(ports, message)
        case SweepMessage():
            await sweep(ports, message)
        case TurnMessage():
            await turns(ports)
        case RemediateMessage():
            await remediate(ports, message)
        case VerifyMessage():
            await verify(ports, message)
        case CensusMessage():
            await census(ports, message)
        case TicketMessage():
            await settle_late(ports, message)
        case NotifyMessage():
            await deliver(ports, message)
