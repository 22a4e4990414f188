"""Microsoft.Authorization/locks at any scope, and what they block (RECORDINGS §7)."""

from dataclasses import dataclass
from typing import Any

from local.azure_simulator.access import is_within
from local.azure_simulator.errors import arm_error
from local.azure_simulator.wire import Call, Json, Reply


LEVELS = ("CanNotDelete", "ReadOnly")
PROVIDER = "/providers/Microsoft.Authorization/locks"


@dataclass(frozen=True, slots=True)
class Lock:
    """One management lock."""

    scope: str
    name: str
    level: str
    notes: str | None = None

    @property
    def id(self) -> str:
        """The lock's own resource id."""
        return f"{self.scope}{PROVIDER}/{self.name}"

    def view(self) -> Json:
        """The lock as ARM shows it; no notes, no member."""
        notes = {} if self.notes is None else {"notes": self.notes}
        return {
            "properties": {"level": self.level, **notes},
            "id": self.id,
            "type": "Microsoft.Authorization/locks",
            "name": self.name,
        }


class Locks:
    """The locks of all scopes, and the provider's operations on them."""

    def __init__(self) -> None:
        self._locks: dict[str, Lock] = {}

    def add(self, lock: Lock) -> bool:
        """Add or replace the lock; True if it is new."""
        if lock.level not in LEVELS:
            raise arm_error(
                400,
                "InvalidLockLevel",
                f"The lock level '{lock.level}' is invalid. The allowed levels are '{','.join(LEVELS)}'.",
            )
        new = lock.id.lower() not in self._locks
        self._locks[lock.id.lower()] = lock
        return new

    def remove(self, scope: str, name: str) -> bool:
        """Remove the lock; False if there was none."""
        return self._locks.pop(Lock(normal(scope), name, "").id.lower(), None) is not None

    def all(self) -> list[Lock]:
        """All locks, oldest first."""
        return list(self._locks.values())

    def clear(self) -> None:
        """Remove all locks."""
        self._locks.clear()

    def check(self, scope: str, operation: str) -> None:
        """Raise the gateway's 409 if `operation` (`write` or `delete`) on the scope is locked.

        ReadOnly blocks PUT, PATCH, DELETE and POST actions, CanNotDelete only DELETE. Locks below the scope
        block its deletion too.
        """
        blocking = [lock.scope for lock in self._locks.values() if self._blocks(lock, scope, operation)]
        if blocking:
            listed = ",".join(blocking)
            raise arm_error(
                409,
                "ScopeLocked",
                f"The scope '{scope}' cannot perform {operation} operation because following scope(s) are locked: "
                f"'{listed}'. Please remove the lock and try again.",
            )

    def get(self, call: Call) -> Reply:
        """GET one lock."""
        return Reply(200, self._found(call).view())

    def list(self, call: Call) -> Reply:
        """GET the locks at the scope and below."""
        scope = normal(call.params["scope"])
        return Reply(
            200, {"value": [lock.view() for lock in self._locks.values() if is_within(lock.scope, scope)]}
        )

    def put(self, call: Call) -> Reply:
        """PUT a lock: 201 for a new one, 200 for a known one."""
        properties: Any = call.body_object().get("properties") or {}
        lock = Lock(
            normal(call.params["scope"]),
            call.params["lock"],
            str(properties.get("level")),
            properties.get("notes"),
        )
        return Reply(201 if self.add(lock) else 200, lock.view())

    def delete(self, call: Call) -> Reply:
        """DELETE a lock: 200, or 204 if there was none."""
        return Reply(200 if self.remove(call.params["scope"], call.params["lock"]) else 204)

    def _found(self, call: Call) -> Lock:
        scope, name = normal(call.params["scope"]), call.params["lock"]
        lock = self._locks.get(Lock(scope, name, "").id.lower())
        if lock is None:
            raise arm_error(404, "LockNotFound", f"The lock '{name}' could not be found.")
        return lock

    @staticmethod
    def _blocks(lock: Lock, scope: str, operation: str) -> bool:
        if operation == "delete":
            return is_within(scope, lock.scope) or is_within(lock.scope, scope)
        return lock.level == "ReadOnly" and is_within(scope, lock.scope)


def normal(scope: str) -> str:
    """A scope with one leading slash and none at the end."""
    return f"/{scope.strip('/')}"
