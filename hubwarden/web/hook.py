"""The webhook: decisions that programs send."""

from __future__ import annotations

import logging

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from hubwarden.domain.approval import Ask, Via
from hubwarden.domain.finding import Ruling
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.approve import NoSuchFindingError, NotYoursError, Outcome, Word, decide_together
from hubwarden.service.ports import Nonces, Ports
from hubwarden.web.requests import Answer, Request, data
from hubwarden.web.webhook import LONGEST_BODY, SKEW, Said, SignatureError, verified
from hubwarden.web.who import NOT_YOU, RefusedError, Who


log = logging.getLogger(__name__)

_LONGEST_ERROR: Final = 1000


class Hook:
    """Takes what is signed with one of the keys; without keys there is no webhook."""

    def __init__(self, ports: Ports, keys: Sequence[bytes], nonces: Nonces) -> None:
        self._ports = ports
        self._keys = keys
        self._nonces = nonces

    async def decide(self, request: Request, who: Who) -> Answer:
        """A decision on one plan.

        Raises:
            RefusedError: it was not taken.
        """
        self._check(request)
        await self._check_signature(request)
        said = _said(request)
        if not who.has_role:
            raise _failed(403, "not_allowed", NOT_YOU)
        ask, by = Ask(request.place, said.plan_digest), who.approver(said.approver, Via.BEARER)
        [outcome] = await decide_together(self._ports, [ask], Word(said.decision), by=by, reason=said.reason)
        finding = outcome.finding
        if finding is None:
            raise await self._refused(outcome)
        return data(200, {
            "finding": finding.id,
            "state": finding.state.value,
            "agreed": len(finding.agreed),
            "needed": self._ports.policy.approvals.needed_for(finding.rule_id),
            **_told(finding.ruling),
        })  # fmt: skip

    def _check(self, request: Request) -> None:
        if not self._keys:
            raise _failed(404, "no_webhook", "there is no webhook: HUBWARDEN_WEBHOOK_KEYS holds no key")
        if len(request.body) > LONGEST_BODY:
            raise _failed(413, "too_long", f"the body is longer than {LONGEST_BODY} bytes")
        if request.media_type != "application/json":
            raise _failed(415, "not_json", "the content type must be application/json")

    async def _check_signature(self, request: Request) -> None:
        now = self._ports.clock.now()
        try:
            header = request.headers.get("x-hubwarden-signature", "")
            name = verified(header, request.body, self._keys, now)
        except SignatureError as error:
            raise _failed(401, "not_signed", str(error)) from None
        if not await self._nonces.first_use(name, now + 2 * SKEW):
            raise _failed(409, "replayed", "this very request was sent before")

    async def _refused(self, outcome: Outcome) -> RefusedError:
        why = str(outcome.refusal)
        match outcome.refusal:
            case NoSuchFindingError():
                return _failed(404, "no_such_finding", why)
            case NotYoursError():
                return _failed(403, "not_yours", why)
            case _:
                stored = await self._ports.findings.find(outcome.ask.finding_id)
                return _failed(409, "not_asked", why, _told(stored.value.ruling) if stored else {})


def hook_unavailable(why: str) -> Answer:
    """Nothing can be decided for now."""
    log.error("a program's decision is answered with 503: %s", why)
    return data(
        503, {"error": {"code": "unavailable", "message": "nothing was decided; try again in a few minutes"}}
    )


def hook_not_known(why: str) -> Answer:
    """Storage failed in the middle of a decision."""
    log.error("whether a program's decision was taken is not known: %s", why)
    text = "whether it was taken is not known: send it again, signed anew: 409 says how it was decided"
    return data(503, {"error": {"code": "not_known", "message": text}})


def _said(request: Request) -> Said:
    try:
        return Said.model_validate_json(request.body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        told = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in wrong)
        raise _failed(400, "not_understood", told[:_LONGEST_ERROR]) from None


def _failed(status: int, code: str, why: str, ruling: Mapping[str, object] | None = None) -> RefusedError:
    return RefusedError(data(status, {"error": {"code": code, "message": why}, **(ruling or {})}), why)


def _told(ruling: Ruling | None) -> JsonObject:
    if ruling is None:
        return {}
    at = ruling.at.isoformat()
    return {"decided": {"as": ruling.state.value, "by": ruling.by, "at": at, "plan_digest": ruling.digest}}
