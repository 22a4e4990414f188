"""Pages as operators meet them, and text that means harm."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from hubwarden.web.view import NOT_DONE, ChangeView, LinkView, MessageView, RequestView, SeveralView


PATH: Final = (
    "/subscriptions/6f1c0a52-8f0e-4b7d-9c35-2f6f4a1f7d10/resourcegroups/rg-plant-north"
    "/providers/microsoft.devices/iothubs/plant-north-iot"
)
WAITING: Final = RequestView(
    finding_id="f-3b5f0c9d7a21e846",
    hub_name="plant-north-iot",
    hub_path=PATH,
    rule_id="sas-policies",
    rule_title="No shared access policy grants more than is allowed",
    severity="high",
    summary="the shared access policy 'telemetry' grants RegistryWrite, which is not allowed",
    actor="Mia Lindqvist",
    changed_at=datetime(2026, 11, 24, 9, 41, 7, tzinfo=UTC),
    changes=(
        ChangeView("policies telemetry", "['RegistryWrite', 'ServiceConnect']", "['ServiceConnect']"),
        ChangeView("properties.minTlsVersion", "(absent)", "'1.2'"),
    ),
    warnings=(
        "Whoever signs in with the policy 'telemetry' and writes to the device registry is refused from then on.",
        "Devices that offer only weak cipher suites may be cut off: a minimum of 1.2 also asks for strong ones.",
    ),
    risk="Whoever holds the policy's key can add, change and delete devices, and nothing shows who it was.",
    rollback=False,
    expires_at=datetime(2026, 11, 25, 9, 41, 30, tzinfo=UTC),
    csrf="c5rf",
    action_url="/api/approvals/f-3b5f0c9d7a21e846?t=made.up",
    state="awaiting_approval",
)
REFUSED: Final = replace(
    WAITING, error="Give a reason: whoever made the change will ask for it.", decision="reject", reason=" "
)
APPROVED: Final = replace(
    WAITING,
    state="approved",
    decided_by="Tomás Okafor",
    decided_at=datetime(2026, 11, 24, 10, 2, 55, tzinfo=UTC),
    decided_reason="Agreed with the plant.\nTelemetry never needed it.",
)
REJECTED: Final = replace(APPROVED, state="rejected", decided_reason="The migration needs it until Friday.")
STALE: Final = replace(WAITING, state="stale")
ASKED_ANEW: Final = replace(
    WAITING,
    differences=(
        "policies telemetry: was ['RegistryWrite'] → (absent), is now ['RegistryWrite'] → ['ServiceConnect']",
        "properties.minTlsVersion: new in this plan: (absent) → '1.2'",
    ),
    agreed="1 of 2 have agreed so far: Tomás Okafor (signed in)",
    wider=(
        LinkView("Decide on the 2 requests on plant-north-iot", "https://app.example/api/approvals/several?v=1"),
        LinkView("Decide on the 12 requests of sas-policies on all hubs", "https://app.example/api/approvals/x"),
    ),
)
ROLLBACK: Final = replace(
    WAITING,
    rollback=True,
    summary="Rollback of r-1f0c9d7a21e84655 (properties.minTlsVersion: '1.2' → '1.0'), asked for by Mia Lindqvist",
    changes=(ChangeView("properties.minTlsVersion", "'1.2'", "'1.0'"),),
    warnings=("This is no fix: it brings back what tls-minimum calls a drift, and holds it.",),
    changed_at=None,
)
NOT_CARRIED_OUT: Final = replace(
    APPROVED,
    state=NOT_DONE,
    because="Azure refused and nothing was changed: 409 ScopeLocked: the scope is locked",
)
_TLS: Final = replace(
    WAITING,
    finding_id="f-77aa0c9d7a21e846",
    hub_name="plant-south-iot",
    rule_id="tls-minimum",
    summary="minTlsVersion is '1.0', below 1.2",
    severity="medium",
    changes=(ChangeView("properties.minTlsVersion", "'1.0'", "'1.2'"),),
    warnings=("Devices that offer only weak cipher suites may be cut off.",),
)
SEVERAL: Final = SeveralView(
    requests=(WAITING, _TLS, replace(_TLS, finding_id="f-88bb0c9d7a21e846", hub_name="harbour-iot")),
    expires_at=WAITING.expires_at,
    csrf="c5rf",
    action_url="/api/approvals/several/decision?t=made.up",
    page_url="/api/approvals/several?t=made.up",
)
SEVERAL_REFUSED: Final = replace(
    SEVERAL,
    error="Give a reason: whoever made the change will ask for it.",
    decision="reject",
    reason=" ",
    ticked=frozenset({WAITING.finding_id}),
)
SEVERAL_MIXED: Final = replace(SEVERAL, requests=(APPROVED, ASKED_ANEW, _TLS))
OUTCOMES: Final = replace(
    SEVERAL,
    requests=(APPROVED, replace(REJECTED, hub_name="harbour-iot", finding_id="f-1"), _TLS),
    decided=True,
    refused={_TLS.finding_id: "bearer: holder of the link made the change: somebody else must approve it"},
)
ALL_DECIDED: Final = replace(SEVERAL, requests=(APPROVED, replace(REJECTED, finding_id="f-1")))
NOT_VALID: Final = MessageView(
    403,
    "This link is not valid",
    "It is incomplete, was changed, or belongs to something else.\nNothing was decided and nothing was changed. "
    "Open it again from the message that you got.",
)
EXPIRED: Final = MessageView(410, "This link has expired", "Nothing was decided in time, and nothing was changed.")
NOT_FOUND: Final = MessageView(404, "There is nothing here", "The link may be incomplete. Copy it as a whole.")

PAGES: Final = {
    "waiting": WAITING,
    "refused": REFUSED,
    "approved": APPROVED,
    "rejected": REJECTED,
    "stale": STALE,
    "asked anew": ASKED_ANEW,
    "rollback": ROLLBACK,
    "not carried out": NOT_CARRIED_OUT,
    "several": SEVERAL,
    "several refused": SEVERAL_REFUSED,
    "several mixed": SEVERAL_MIXED,
    "outcomes": OUTCOMES,
    "all decided": ALL_DECIDED,
    "nobody known": replace(WAITING, actor="", changed_at=None, warnings=(), risk=""),
    "not valid": NOT_VALID,
    "expired": EXPIRED,
    "not found": NOT_FOUND,
}

HOSTILE: Final = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)></bdi></main><h1>Approved</h1>",
    "attribute": "\"' autofocus onfocus=alert(1) x='",
    "end tags": "</textarea></title></style></form><form action=https://evil.example>",
    "entity": "&lt;b&gt;&#x202e;&amp;",
    "template": "{{ 7 * 7 }}{% raw %}{# x #}",
    "markdown": "**bold** [Approve](https://evil.example) `x` <https://evil.example> | a | b |",
    "newline": "name\r\nApproved by: the boss\n\n\tyes\x0b\x85\u2028x",
    "bidi": "plant\u202egnp.exe\u2066x\u2069\u200f\u061c",
    "right to left": "מפעל צפון 123",
    "zero width": "pla\u200bnt\u200c\u200d\ufeff\u00ad\u2060\u3164\u2800\ufe0f",
    "controls": "a\x00b\x07\x1b[31mred\x7f\x9b",
    "surrogate": "a\ud800b",
    "long": "x" * 2000,
    "long with spaces": "no end " * 286,
    "stacked": "Z" + "\u0335\u0321\u0489" * 60,
}


def filled(text: str) -> RequestView:
    """The request with the text wherever text can come from outside."""
    return replace(
        WAITING,
        finding_id=text,
        hub_name=text,
        hub_path=text,
        rule_id=text,
        rule_title=text,
        severity=text,
        summary=text,
        actor=text,
        changes=(ChangeView(text, text, text), ChangeView(text, text, text)),
        differences=(text, text),
        agreed=text,
        wider=(LinkView(text, "https://app.example/x"),),
        warnings=(text, text),
        risk=text,
        because=text,
        csrf=text,
        decided_by=text,
        decided_reason=text,
        error=text,
        decision="reject",
        reason=text,
    )


def several_filled(text: str) -> SeveralView:
    """Several requests with the text wherever text can come from outside."""
    requests = (filled(text), replace(filled(text), state="approved"), replace(filled(text), finding_id="f-1"))
    return replace(SEVERAL, requests=requests, error=text, decision="reject", reason=text, refused={"f-1": text})
