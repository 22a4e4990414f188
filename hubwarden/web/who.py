"""Who decides: whether they may, and by what name they are remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hubwarden.domain.approval import Approver, Via
from hubwarden.service.ports import Ports
from hubwarden.web.principal import Principal, principal_of
from hubwarden.web.requests import Answer, Request


NOT_YOU: Final = "You are not among those who may decide this, or the platform does not say who you are."


class RefusedError(Exception):
    """What is answered instead of a decision; the text is for the audit trail."""

    def __init__(self, answer: Answer, why: str) -> None:
        super().__init__(why)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever sent a request, as far as the platform says so."""

    principal: Principal | None
    has_role: bool
    """One of those that the policy file asks for, or it asks for none."""
    proven: bool
    """Signed in, and with a role that the policy file asks for."""

    @property
    def key(self) -> str:
        """Tells people apart."""
        return self.principal.object_id if self.principal else "(nobody signed in)"

    def approver(self, name: str) -> Approver:
        """As whom they decide: by the name that they are signed in with, else by the one that is given."""
        if self.principal is None:
            return Approver(" ".join(name.split()), Via.BEARER)
        return Approver(self.principal.name, Via.SIGN_IN, self.principal.object_id)


def who_sent(request: Request, ports: Ports, *, signs_in: bool) -> Who:
    """Whoever sent it; ``signs_in`` says whether the platform authenticates people."""
    principal = principal_of(request.headers, trusted=signs_in)
    wanted = ports.policy.approvals.required_roles
    has_one = principal is not None and not principal.roles.isdisjoint(wanted)
    return Who(principal, has_role=not wanted or has_one, proven=has_one)
