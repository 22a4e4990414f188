"""Who may do what: everything but what was denied; whoever was given roles, only what these allow."""

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
        return (
            (self.principal == "*" or names(caller, self.principal))
            and fnmatchcase(action.lower(), self.action.lower())
            and is_within(scope, self.scope)
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """`principal` (client id or object id) has a role with these actions on `scope` and below."""

    principal: str
    scope: str
    actions: tuple[str, ...]
    data_actions: tuple[str, ...] = ()

    def covers(self, action: str, scope: str, *, data: bool) -> bool:
        """Whether the role allows the action on the scope; `data` says that it is one of a data plane."""
        allowed = self.data_actions if data else self.actions
        return is_within(scope, self.scope) and any(fnmatchcase(action.lower(), each.lower()) for each in allowed)


class AccessControl:
    """The denials and grants in force."""

    def __init__(self) -> None:
        self.denials: list[Denial] = []
        self.grants: list[Grant] = []

    def allows(self, caller: Caller, action: str, scope: str, *, data: bool = False) -> bool:
        """Whether nothing forbids it, and one of the caller's roles allows it, if the caller was given any."""
        roles = [grant for grant in self.grants if names(caller, grant.principal)]
        denied = any(denial.covers(caller, action, scope) for denial in self.denials)
        return not denied and (not roles or any(role.covers(action, scope, data=data) for role in roles))

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


def names(caller: Caller, principal: str) -> bool:
    """Whether the client id or object id is the caller's."""
    return principal.lower() in (caller.principal.client_id.lower(), caller.principal.oid.lower())


def is_within(scope: str, parent: str) -> bool:
    """Whether `scope` is `parent` or below it; ids compare without regard to casing."""
    inner, outer = scope.rstrip("/").lower(), parent.rstrip("/").lower()
    return inner == outer or inner.startswith(f"{outer}/")
