"""The pages on which people decide: a GET only shows, the form decides; one request or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hubwarden.domain.approval import Ask, Via
from hubwarden.domain.finding import Finding, State
from hubwarden.service.approve import NotYoursError, Outcome, Word, decide_together
from hubwarden.service.ports import Ports
from hubwarden.web.form import DECISIONS, LONGEST_REASON, NOTHING, Form, read_form
from hubwarden.web.links import Link, LinkError, Links
from hubwarden.web.requests import Answer, Request, message, page
from hubwarden.web.view import RequestView, SeveralView
from hubwarden.web.views import request_view, several_view, waits
from hubwarden.web.who import NOT_YOU, RefusedError, Who
from hubwarden.web.wider import wider_links


_LINKS: Final = {
    400: ("This link is not complete", f"{NOTHING} Copy it as a whole from the message that you got."),
    403: ("This link is not valid", f"{NOTHING} Open it again from the message that you got."),
    404: ("There is nothing here", f"{NOTHING} The drift that this was about is not known any more."),
    410: ("This link has expired", f"{NOTHING} If it still waits, its ticket or the command line says so."),
}  # fmt: skip

type _Asked = Sequence[tuple[Ask, Finding]]


@dataclass(frozen=True, slots=True)
class _Visit:
    """Somebody with a link, and the requests that it is about, as they stand."""

    link: Link
    who: Who
    asked: _Asked

    @property
    def waiting(self) -> list[Ask]:
        return [ask for ask, finding in self.asked if waits(finding, ask)]


class Decisions:
    """Answers whoever comes with a link. ``links`` None: nobody has set keys, and there are none."""

    def __init__(self, ports: Ports, links: Links | None) -> None:
        self._ports = ports
        self._links = links

    async def show(self, request: Request, who: Who) -> Answer:
        """What is asked and how it stands; nothing is done.

        Raises:
            RefusedError: the link leads nowhere, or not for this person.
        """
        visit = await self._visit(self._link(request), who)
        return page(200, await self._view(visit))

    async def decide(self, request: Request, who: Who) -> tuple[Answer, list[Outcome]]:
        """Take a form's decision; with the answer, what became of each request that it was about.

        Raises:
            RefusedError: as show; or none of it was decided.
        """
        link = self._link(request)
        form = read_form(request)
        visit = await self._visit(link, who)
        if not visit.waiting:
            states = ", ".join(sorted({finding.state for _, finding in visit.asked}))
            why = f"it was decided before, or is not asked any more: it is {states}"
            raise RefusedError(page(409, await self._view(visit)), why)
        chosen = _chosen(visit, form)
        await self._check_form(form, visit, chosen)
        by, reason = who.approver("holder of the link", Via.LINK), form.reason or "no reason given"
        outcomes = await decide_together(self._ports, chosen, Word(form.decision), by=by, reason=reason)
        after = await self._visit(link, who)
        if len(link.asks) == 1:
            return await self._one(after, outcomes[0]), outcomes
        taken = any(outcome.finding for outcome in outcomes)
        answer = page(200 if taken else 409, several_view(self._ports, after.asked, link, outcomes=outcomes))
        return answer, outcomes

    async def _one(self, visit: _Visit, outcome: Outcome) -> Answer:
        why = str(outcome.refusal)
        if isinstance(outcome.refusal, NotYoursError):
            raise RefusedError(message(403, "Somebody else must decide this", why), why)
        if outcome.finding is None:
            raise RefusedError(page(409, await self._view(visit)), why)
        if outcome.finding.state is State.AWAITING_APPROVAL:
            agreed, needed = len(outcome.finding.agreed), self._needed(outcome.finding)
            text = f"{agreed} of {needed} have agreed. It is carried out once all have."
            return message(200, "Your yes is noted", text)
        return page(200, await self._view(visit))

    def _needed(self, finding: Finding) -> int:
        return self._ports.policy.approvals.needed_for(finding.rule_id)

    def _link(self, request: Request) -> Link:
        if self._links is None:
            why = "there are no links: HUBWARDEN_APPROVAL_KEYS holds no key"
            raise RefusedError(message(404, *_LINKS[404]), why)
        try:
            return self._links.read(request.place, request.query, self._ports.clock.now())
        except LinkError as error:
            raise RefusedError(message(error.status, *_LINKS[error.status]), str(error)) from None

    async def _visit(self, link: Link, who: Who) -> _Visit:
        if not who.has_role:
            raise RefusedError(message(403, "You may not decide this", NOT_YOU), f"{who.key}: {NOT_YOU}")
        stored = [(ask, await self._ports.findings.find(ask.finding_id)) for ask in link.asks]
        asked = [(ask, known.value) for ask, known in stored if known is not None]
        if not asked:
            raise RefusedError(message(404, *_LINKS[404]), "there is no such finding any more")
        return _Visit(link, who, asked)

    async def _view(self, visit: _Visit) -> RequestView | SeveralView:
        assert self._links is not None
        token = self._links.form_token(visit.link, visit.who.key, self._ports.clock.now())
        if len(visit.link.asks) > 1:
            return several_view(self._ports, visit.asked, visit.link, token)
        [(ask, finding)] = visit.asked
        view = request_view(self._ports, finding, ask, visit.link, token)
        more = await wider_links(self._ports, self._links, finding) if visit.who.proven and visit.waiting else ()
        return replace(view, wider=more)

    async def _check_form(self, form: Form, visit: _Visit, chosen: Sequence[Ask]) -> None:
        """Show the page once more where something is wrong with the form, and say what."""
        assert self._links is not None
        if self._links.is_form_token(form.csrf, visit.link, visit.who.key, self._ports.clock.now()):
            status, error = 422, form.wrong or (None if chosen else "Tick at least one that you decide on.")
        else:
            status, error = 403, "This page was open for too long. Please decide once more."
        if error is None:
            return
        view = await self._view(visit)
        decision = form.decision if form.decision in DECISIONS else ""
        shown = replace(view, error=error, decision=decision, reason=form.reason[:LONGEST_REASON])
        if isinstance(shown, SeveralView):
            shown = replace(shown, ticked=form.requests)
        raise RefusedError(page(status, shown), error)


def _chosen(visit: _Visit, form: Form) -> list[Ask]:
    """What the decision is about: the request of the link, or those of its several that were ticked."""
    several = len(visit.link.asks) > 1
    if not form.requests <= ({ask.finding_id for ask in visit.link.asks} if several else set()):
        raise RefusedError(message(400, "That form was not complete", NOTHING), "the form is not this link's")
    if not several:
        return visit.waiting
    return [ask for ask, _ in visit.asked if ask.finding_id in form.requests]
