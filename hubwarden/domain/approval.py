"""Who may say yes, how often, and for how long: a person's word, and the operator's wishes about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from hubwarden.domain.finding import Actor, Approval, Proposal


_HALF: Final = len("sha256:") + 32
"""Of a digest, 16 bytes: enough to name a plan and no other."""


class Via(StrEnum):
    """How we know who decides."""

    SIGN_IN = "signed in"
    """The platform signed them in."""
    COMMAND_LINE = "command line"
    """Whoever runs it has rights on the storage account."""
    BEARER = "bearer"
    """They hold a link or a key; the name is what they said."""


@dataclass(frozen=True, slots=True)
class Approver:
    """Who decides. ``object_id`` is Entra's, where the platform signed them in."""

    name: str
    via: Via
    object_id: str | None = None

    def __str__(self) -> str:
        return f"bearer: {self.name}" if self.via is Via.BEARER else f"{self.name} ({self.via})"

    def made(self, actor: Actor | None) -> bool:
        """Whether this is who made the change, by object id or by name."""
        if actor is None:
            return False
        if self.object_id and actor.object_id:
            return self.object_id.casefold() == actor.object_id.casefold()
        return self.name.casefold() in {known.casefold() for known in (actor.name, actor.email) if known}

    def agreed(self, earlier: Sequence[Approval]) -> bool:
        """Whether one of these is this approver's own."""
        return any(str(self) == approval.by or _same(self.object_id, approval.object_id) for approval in earlier)


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.casefold() == other.casefold()


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for an approval: a finding, and the digest of the plan, or the first half of that."""

    finding_id: str
    digest: str

    def means(self, digest: str) -> bool:
        """Whether the plan with this whole digest is asked about."""
        return digest == self.digest or (len(self.digest) >= _HALF and digest.startswith(self.digest))


class Approvals(BaseModel):
    """What the policy file says of approvals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expires_hours: int = Field(
        24, ge=1, le=720, strict=True, description="How long a request waits before it becomes a plain ticket."
    )
    four_eyes: list[str] = Field(
        default_factory=list, description="Rules whose fix somebody else than who made the change must approve."
    )
    needed: dict[str, Annotated[int, Field(ge=1, le=5, strict=True)]] = Field(
        default_factory=dict, description="Rule id → how many different people must approve; else 1."
    )
    required_roles: list[str] = Field(
        default_factory=list,
        description="App roles, or object ids of groups, of which whoever decides on a page or by webhook must "
        "have one; then only people whom the platform has signed in can.",
    )

    def expires_at(self, proposal: Proposal) -> datetime:
        """Until when the plan can be approved, UTC."""
        return proposal.made_at + timedelta(hours=self.expires_hours)

    def needed_for(self, rule_id: str) -> int:
        """How many different people must agree."""
        return self.needed.get(rule_id, 1)
