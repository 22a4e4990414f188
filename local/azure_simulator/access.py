"""Who may do what: everything, except for what was denied."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from local.azure_simulator.errors import AzureError, arm_error
from local.azure_simulator.principals import Caller


@dataclass(frozen=True, slots=True)
class Denial:
    """`principal` (client id, object id or `*`) may not do `action` (`*` and `?` match) on `scope` and below."""

    principal: str
    action: str
    scope: str

    def covers(self, caller: Caller, action: str, scope: str) -> bool:
        """Whether this denial forbids the caller the action on the scope."""
        names = (caller.principal.client_id.lower(), caller.principal.oid.lower())
        return (
            (self.principal == "*" or self.principal.lower() in names)
            and fnmatchcase(action.lower(), self.action.lower())
            and is_within(scope, self.scope)
        )


class AccessControl:
    """The denials in force."""

    def __init__(self) -> None:
        self.denials: list[Denial] = []

    def allows(self, caller: Caller, action: str, scope: str) -> bool:
        """Whether nothing forbids it."""
        return not any(denial.covers(caller, action, scope) for denial in self.denials)

    def require(self, caller: Caller, action: str, scope: str) -> None:
        """Raise the gateway's 403 if something forbids it."""
        if not self.allows(caller, action, scope):
            raise forbidden(caller, action, scope)


def forbidden(caller: Caller, action: str, scope: str) -> AzureError:
    """The gateway's 403, in its exact words."""
    return arm_error(
        403,
        "AuthorizationFailed",
        f"The client '{caller.display}' with object id '{caller.principal.oid}' does not have authorization to "
        f"perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, "
        "please refresh your credentials.",
    )


def is_within(scope: str, parent: str) -> bool:
    """Whether `scope` is `parent` or below it; ids compare without regard to casing."""
    inner, outer = scope.rstrip("/").lower(), parent.rstrip("/").lower()
    return inner == outer or inner.startswith(f"{outer}/")
