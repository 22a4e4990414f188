"""The door through which people and programs decide: a page that only shows, a form and a webhook that decide.

A wrong link or signature is refused before anything is looked up: who holds neither learns nothing.
"""

from __future__ import annotations

import logging
import re

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.ports import Nonces, Ports
from hubwarden.web.decisions import Decisions
from hubwarden.web.form import NOTHING
from hubwarden.web.hook import Hook, hook_not_known
from hubwarden.web.links import SEVERAL, Links
from hubwarden.web.openapi import DOCUMENT
from hubwarden.web.requests import Answer, Request, data, message
from hubwarden.web.who import RefusedError, Who, who_sent


log = logging.getLogger(__name__)

_PLACE: Final = re.compile(rf"f-[0-9a-f]{{16}}|{SEVERAL}")


class Door:
    """Answers every request about approvals; each refusal leaves an audit line.

    ``links`` None: nobody has set keys, and there are no links. ``hook_keys`` empty: there is no webhook.
    ``signs_in`` says whether the platform authenticates people.
    """

    def __init__(
        self, ports: Ports, *, links: Links | None, hook_keys: Sequence[bytes], nonces: Nonces, signs_in: bool
    ) -> None:
        self._ports = ports
        self._decisions = Decisions(ports, links)
        self._hook = Hook(ports, hook_keys, nonces)
        self._signs_in = signs_in

    async def show(self, request: Request) -> Answer:
        """The page of a link. It only shows, whoever or whatever opens it."""
        return await self._audited("page", request, self._decisions.show)

    async def decide(self, request: Request) -> Answer:
        """The form of a link's page: a decision."""
        return await self._audited("page", request, self._decide)

    async def hook(self, request: Request) -> Answer:
        """A decision that a program sends."""
        return await self._audited("webhook", request, self._hook.decide)

    async def _decide(self, request: Request, who: Who) -> Answer:
        answer, outcomes = await self._decisions.decide(request, who)
        for outcome in outcomes:
            if outcome.refusal is not None:
                await self._tell(outcome.ask.finding_id, "page", answer.status, str(outcome.refusal))
        return answer

    async def _audited(
        self, via: str, request: Request, work: Callable[[Request, Who], Awaitable[Answer]]
    ) -> Answer:
        try:
            return await work(request, who_sent(request, self._ports, signs_in=self._signs_in))
        except RefusedError as refused:
            place = request.place if _PLACE.fullmatch(request.place) else "(not an id)"
            await self._tell(place, via, refused.answer.status, str(refused))
            return refused.answer

    async def _tell(self, finding: str, via: str, status: int, why: str) -> None:
        await self._ports.audit.append(
            "approval_refused", {"finding": finding, "via": via, "status": status, "why": why}
        )
        log.warning("a decision on %s by %s was refused with %d; the audit trail says why", finding, via, status)


def openapi() -> Answer:
    """What programs can call, for their makers."""
    return data(200, DOCUMENT)


def unavailable(why: str) -> Answer:
    """Nothing can be decided for now."""
    log.error("a request about an approval is answered with 503: %s", why)
    return message(503, "Not possible for now", f"{NOTHING} Please try again in a few minutes.")


def _not_known(why: str) -> Answer:
    """Storage failed in the middle of a decision, of which any part may stand."""
    log.error("whether a decision was taken is not known: %s", why)
    text = "Whether your decision was taken is not known. Open the link again in a few minutes: it tells."
    return message(503, "Not known for now", text)


async def answered(work: Awaitable[Answer], failed: Callable[[str], Answer] = unavailable) -> Answer:
    """The answer, also where storage is down: then what ``failed`` says."""
    try:
        return await work
    except StorageUnavailableError as error:
        return failed(str(error))


async def decided(work: Awaitable[Answer]) -> Answer:
    """The answer to a decision on a page, also where storage is down."""
    return await answered(work, _not_known)


async def decided_by_program(work: Awaitable[Answer]) -> Answer:
    """The answer to a program's decision, also where storage is down."""
    return await answered(work, hook_not_known)
