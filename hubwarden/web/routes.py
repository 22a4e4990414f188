"""The door through which people and programs decide: a page that only shows, a form and a webhook that decide.

A wrong link or signature is refused before anything is looked up: who holds neither learns nothing.
"""

from __future__ import annotations

import logging
import re

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from pydantic import ValidationError

from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import Finding, Ruling, State
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.approve import NoSuchFindingError, NotAskedError, NotYoursError, approve, reject
from hubwarden.service.errors import StaleWriteError, StorageUnavailableError
from hubwarden.service.ports import Nonces, Ports
from hubwarden.web.links import Link, LinkError, Links
from hubwarden.web.openapi import DOCUMENT
from hubwarden.web.principal import Principal, principal_of
from hubwarden.web.requests import Answer, Request, data, message, page, view_of, waits
from hubwarden.web.webhook import LONGEST_BODY, SKEW, Said, SignatureError, verified


log = logging.getLogger(__name__)

_RACES_RUN: Final = 5
_LONGEST_REASON: Final = 1000
_FORM: Final = "application/x-www-form-urlencoded"
_DECISIONS: Final = frozenset({"approve", "reject"})
_FIELDS: Final = frozenset({"csrf", "decision", "reason"})
_ID: Final = re.compile(r"f-[0-9a-f]{16}")
_NOTHING: Final = "Nothing was decided and nothing was changed."
_LINKS: Final = {
    400: ("This link is not complete", f"{_NOTHING} Copy it as a whole from the message that you got."),
    403: ("This link is not valid", f"{_NOTHING} Open it again from the message that you got."),
    404: ("There is nothing here", f"{_NOTHING} The drift that this was about is not known any more."),
    410: ("This link has expired", f"{_NOTHING} If a decision is still wanted, a newer message holds its link."),
}  # fmt: skip
_NOT_YOU: Final = "You are not among those who may decide this, or the platform does not say who you are."


class _RefusedError(Exception):
    """What is answered instead of a decision; the text is for the audit trail."""

    def __init__(self, answer: Answer, why: str) -> None:
        super().__init__(why)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class _Form:
    decision: str
    reason: str
    csrf: str

    @property
    def wrong(self) -> str | None:
        """What is to be put right, or None."""
        if self.decision not in _DECISIONS:
            return "Say whether you approve or reject."
        if self.decision == "reject" and not self.reason:
            return "Give a reason: whoever made the change will ask for it."
        if len(self.reason) > _LONGEST_REASON:
            return f"The reason is longer than {_LONGEST_REASON} characters."
        return None


class Door:
    """Answers every request about approvals; each refusal leaves an audit line.

    ``links`` None: nobody has set keys, and there are no links. ``hook_keys`` empty: there is no webhook.
    ``signs_in`` says whether the platform authenticates people.
    """

    def __init__(
        self, ports: Ports, *, links: Links | None, hook_keys: Sequence[bytes], nonces: Nonces, signs_in: bool
    ) -> None:
        self._ports = ports
        self._links = links
        self._hook_keys = hook_keys
        self._nonces = nonces
        self._signs_in = signs_in

    async def show(self, request: Request) -> Answer:
        """The page of a link. It only shows, whoever or whatever opens it."""
        return await self._audited("page", request, self._show)

    async def decide(self, request: Request) -> Answer:
        """The form of a link's page: a decision."""
        return await self._audited("page", request, self._decide)

    async def hook(self, request: Request) -> Answer:
        """A decision that a program sends."""
        return await self._audited("webhook", request, self._hook)

    async def _audited(self, via: str, request: Request, work: Callable[[Request], Awaitable[Answer]]) -> Answer:
        try:
            return await work(request)
        except _RefusedError as refused:
            finding = request.finding_id if _ID.fullmatch(request.finding_id) else "(not an id)"
            status, why = refused.answer.status, str(refused)
            await self._ports.audit.append(
                "approval_refused", {"finding": finding, "via": via, "status": status, "why": why}
            )
            log.warning("a decision on %s by %s was refused with %d: %s", finding, via, status, why)
            return refused.answer

    # --- the page
    async def _show(self, request: Request) -> Answer:
        link = self._link(request)
        principal = self._principal(request)
        self._check_role(principal)
        finding = await self._found(link)
        return self._standing(finding, link, principal, status=200)

    async def _decide(self, request: Request) -> Answer:
        link = self._link(request)
        form = _form(request)
        principal = self._principal(request)
        self._check_role(principal)
        finding = await self._found(link)
        if not waits(finding, link):
            answer = self._standing(finding, link, principal, status=409)
            raise _RefusedError(answer, f"it was decided before, or is not asked any more: it is {finding.state}")
        self._check_form(form, finding, link, principal)
        by = _approver(principal, "holder of the link")
        try:
            said = await self._enter(link.finding_id, link.digest, form.decision, by, form.reason)
        except (NotAskedError, StaleWriteError) as error:
            answer = self._standing(await self._found(link), link, principal, status=409)
            raise _RefusedError(answer, str(error)) from None
        except NotYoursError as error:
            raise _RefusedError(message(403, "Somebody else must decide this", str(error)), str(error)) from None
        except NoSuchFindingError as error:
            raise _RefusedError(message(404, *_LINKS[404]), str(error)) from None
        if said.state is State.AWAITING_APPROVAL:
            needed = self._ports.policy.approvals.needed_for(said.rule_id)
            text = f"{len(said.agreed)} of {needed} have agreed. It is carried out once all have."
            return message(200, "Your yes is noted", text)
        return self._standing(said, link, principal, status=200)

    def _link(self, request: Request) -> Link:
        if self._links is None:
            raise _RefusedError(
                message(404, *_LINKS[404]), "there are no links: HUBWARDEN_APPROVAL_KEYS is not set"
            )
        try:
            return self._links.read(request.finding_id, request.query, self._ports.clock.now())
        except LinkError as error:
            raise _RefusedError(message(error.status, *_LINKS[error.status]), str(error)) from None

    async def _found(self, link: Link) -> Finding:
        stored = await self._ports.findings.find(link.finding_id)
        if stored is None:
            raise _RefusedError(message(404, *_LINKS[404]), "there is no such finding any more")
        return stored.value

    def _standing(self, finding: Finding, link: Link, principal: Principal | None, *, status: int) -> Answer:
        assert self._links is not None
        token = self._links.form_token(link, _who(principal), self._ports.clock.now())
        return page(status, view_of(self._ports, finding, link, token))

    def _check_form(self, form: _Form, finding: Finding, link: Link, principal: Principal | None) -> None:
        """Show the page once more where something is wrong with the form, and say what."""
        assert self._links is not None
        who, now = _who(principal), self._ports.clock.now()
        if self._links.is_form_token(form.csrf, link, who, now):
            status, error = 422, form.wrong
        else:
            status, error = 403, "This page was open for too long. Please decide once more."
        if error is None:
            return
        view = view_of(self._ports, finding, link, self._links.form_token(link, who, now))
        decision = form.decision if form.decision in _DECISIONS else ""
        shown = replace(view, error=error, decision=decision, reason=form.reason[:_LONGEST_REASON])
        raise _RefusedError(page(status, shown), error)

    # --- the webhook
    async def _hook(self, request: Request) -> Answer:
        if not self._hook_keys:
            raise _failed(404, "no_webhook", "there is no webhook: HUBWARDEN_WEBHOOK_KEYS is not set")
        if len(request.body) > LONGEST_BODY:
            raise _failed(413, "too_long", f"the body is longer than {LONGEST_BODY} bytes")
        if request.media_type != "application/json":
            raise _failed(415, "not_json", "the content type must be application/json")
        await self._check_signature(request)
        said = _said(request)
        principal = self._principal(request)
        if not self._has_role(principal):
            raise _failed(403, "not_allowed", _NOT_YOU)
        by = _approver(principal, said.approver)
        try:
            finding = await self._enter(request.finding_id, said.plan_digest, said.decision, by, said.reason)
        except NoSuchFindingError as error:
            raise _failed(404, "no_such_finding", str(error)) from None
        except NotYoursError as error:
            raise _failed(403, "not_yours", str(error)) from None
        except (NotAskedError, StaleWriteError) as error:
            raise _failed(409, "not_asked", str(error), await self._ruling(request.finding_id)) from None
        return data(200, {
            "finding": finding.id,
            "state": finding.state.value,
            "agreed": len(finding.agreed),
            "needed": self._ports.policy.approvals.needed_for(finding.rule_id),
            **_told(finding.ruling),
        })  # fmt: skip

    async def _check_signature(self, request: Request) -> None:
        now = self._ports.clock.now()
        try:
            header = request.headers.get("x-hubwarden-signature", "")
            signature = verified(header, request.body, self._hook_keys, now)
        except SignatureError as error:
            raise _failed(401, "not_signed", str(error)) from None
        if not await self._nonces.first_use(signature, now + 2 * SKEW):
            raise _failed(409, "replayed", "this very request was sent before")

    async def _ruling(self, finding_id: str) -> JsonObject:
        stored = await self._ports.findings.find(finding_id)
        return _told(stored.value.ruling) if stored else {}

    # --- both
    def _principal(self, request: Request) -> Principal | None:
        return principal_of(request.headers, trusted=self._signs_in)

    def _has_role(self, principal: Principal | None) -> bool:
        wanted = self._ports.policy.approvals.required_roles
        return not wanted or (principal is not None and not principal.roles.isdisjoint(wanted))

    def _check_role(self, principal: Principal | None) -> None:
        if not self._has_role(principal):
            raise _RefusedError(
                message(403, "You may not decide this", _NOT_YOU), f"{_who(principal)}: {_NOT_YOU}"
            )

    async def _enter(self, finding_id: str, plan: str, decision: str, by: Approver, reason: str) -> Finding:
        """One decision; who loses a race against another finds out how that one was decided."""
        work = approve if decision == "approve" else reject
        for _ in range(_RACES_RUN):
            try:
                return await work(self._ports, finding_id, plan=plan, by=by, reason=reason or "no reason given")
            except StaleWriteError:
                continue
        raise StaleWriteError(f"{finding_id} keeps changing; look at it again")


def openapi() -> Answer:
    """What programs can call, for their makers."""
    return data(200, DOCUMENT)


def unavailable(why: str) -> Answer:
    """Nothing can be decided for now."""
    log.error("a request about an approval is answered with 503: %s", why)
    return message(503, "Not possible for now", f"{_NOTHING} Please try again in a few minutes.")


async def answered(work: Awaitable[Answer]) -> Answer:
    """The answer, also where storage is down."""
    try:
        return await work
    except StorageUnavailableError as error:
        return unavailable(str(error))


def _form(request: Request) -> _Form:
    if len(request.body) > LONGEST_BODY:
        raise _RefusedError(message(413, "That was too long", _NOTHING), "the form is too long")
    if request.media_type != _FORM:
        raise _RefusedError(message(415, "That was no form", _NOTHING), "the content type is not a form's")
    try:
        fields = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=len(_FIELDS))
    except ValueError:
        fields = []
    values = dict(fields)
    if len(values) != len(fields) or not {"csrf", "decision"} <= values.keys() <= _FIELDS:
        raise _RefusedError(message(400, "That form was not complete", _NOTHING), "the form is not ours")
    return _Form(values["decision"], values.get("reason", "").strip(), values["csrf"])


def _said(request: Request) -> Said:
    try:
        return Said.model_validate_json(request.body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        told = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in wrong)
        raise _failed(400, "not_understood", told[:_LONGEST_REASON]) from None


def _failed(status: int, code: str, why: str, ruling: Mapping[str, object] | None = None) -> _RefusedError:
    return _RefusedError(data(status, {"error": {"code": code, "message": why}, **(ruling or {})}), why)


def _told(ruling: Ruling | None) -> JsonObject:
    if ruling is None:
        return {}
    at = ruling.at.isoformat()
    return {"decided": {"as": ruling.state.value, "by": ruling.by, "at": at, "plan_digest": ruling.digest}}


def _approver(principal: Principal | None, name: str) -> Approver:
    if principal is None:
        return Approver(" ".join(name.split()), Via.BEARER)
    return Approver(principal.name, Via.SIGN_IN, principal.object_id)


def _who(principal: Principal | None) -> str:
    return principal.object_id if principal else "(nobody signed in)"
