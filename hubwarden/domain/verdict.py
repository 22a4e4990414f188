"""What a detector says of a snapshot. There are three answers, and unknown is never compliant."""

from __future__ import annotations

from dataclasses import dataclass, field

from hubwarden.domain.jsons import Json
from hubwarden.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class Compliant:
    """The rule holds of the hub, on evidence that was read."""

    evidence: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drift:
    """The rule does not hold of ``subject`` (empty: the hub itself).

    ``summary`` is one sentence for people; ``evidence`` is what was seen, never a key. ``severity`` is set where
    this drift is not as bad, or worse, than the rule's own severity says. One that is ``report_only`` is told, and
    whatever the mode, nothing more is done about it.
    """

    summary: str
    subject: str = ""
    evidence: dict[str, Json] = field(default_factory=dict)
    severity: Severity | None = None
    report_only: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The rule cannot be judged, or one ``subject`` of it: nothing is fixed and nothing is closed on this."""

    reason: str
    missing_action: str | None = None
    subject: str = ""


type Verdict = Compliant | Drift | Unknown
