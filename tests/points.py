"""The numbered points at which a worker on the remediate path can die: one list, for kills in memory and SIGKILL.

Between two effects on the world it makes no difference when a process dies. So a point is right after one effect,
and the first is before any. A test in memory holds the list against what really happens: no new one is forgotten.
"""

from __future__ import annotations

import functools

from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Final

from hubwarden.service.ports import Ports


EFFECTS: Final = {
    "hubs": ("put_hub", "put_diagnostic_setting", "put_security_solution"),
    "findings": ("save",),
    "records": ("save", "forget", "add_sweep"),
    "work": ("send", "send_to_poison", "put_back"),
    "audit": ("append",),
    "graveyard": ("bury",),
    "lists": ("stage", "commit", "delete"),
    "tickets": ("open", "close"),
    "remediations": ("keep", "forget"),
    "outbox": ("add", "save", "remove"),
    "safety": ("save_kill", "stop", "save_ledger"),
}
"""What of each port leaves something behind."""

READS: Final = {
    "hubs": (
        "list_hubs",
        "get_hub",
        "sas_policies",
        "diagnostics",
        "subscriptions",
        "read_only_scopes",
        "security_solutions",
        "query_devices",
    ),
    "findings": ("of_hub", "find", "everything", "waiting", "limited"),
    "records": ("get", "subscriptions", "of_subscription", "last_sweep", "standing"),
    "work": ("depths",),
    "lists": ("lines",),
    "tickets": ("find_by_key",),
    "remediations": ("find", "everything"),
    "outbox": ("waiting", "troubled"),
    "safety": ("kill", "ledger"),
}
"""What leaves nothing behind."""

POINTS: Final[tuple[str, ...]] = (
    "begun",
    "findings.save approved",
    "records.save",
    "safety.save_ledger",
    "work.send VerifyMessage",
    "audit.append finding: executing",
    "findings.save executing",
    "remediations.keep begun",
    "audit.append write: about to be sent",
    "hubs.put_hub",
    "audit.append write: accepted",
    "audit.append finding: verifying",
    "findings.save verifying",
    "work.send VerifyMessage (2)",
    "audit.append verified",
    "remediations.keep proven",
    "safety.save_ledger (2)",
    "audit.append finding: resolved",
    "findings.save resolved",
    "records.save (2)",
)
"""The remediate path, from its message to the proof, where Azure is quick; a point is right after what it names.
"""

ROLLBACK: Final[tuple[str, ...]] = (
    "begun",
    "records.save",
    "audit.append finding: resolved",
    "findings.save resolved",
    *POINTS[4:16],
    "remediations.keep rolled_back",
    "audit.append finding: resolved (2)",
    "findings.save resolved (2)",
    "tickets.close",
    "findings.save resolved (3)",
    "audit.append finding: held",
    "findings.save held",
    "records.save (2)",
)
"""The same path where a fix is rolled back; after the proof the drift is seen, and held."""


class Path:
    """Tells each effect of the path, by its name and how often there was one of this name."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        self._reached = reached
        self._times: Counter[str] = Counter()

    def begin(self) -> None:
        """A message of the path is taken; only the first is told."""
        if not self._times:
            self.tell("begun")

    def tell(self, name: str) -> None:
        """An effect is there."""
        self._times[name] += 1
        times = self._times[name]
        self._reached(name if times == 1 else f"{name} ({times})")

    def watched(self, ports: Ports) -> Ports:
        """The ports, each telling its effects."""
        held = {field.name: getattr(ports, field.name) for field in fields(ports) if field.name in EFFECTS}
        return replace(ports, **{
            name: _Watched(port, name, self.tell) for name, port in held.items() if port is not None
        })  # fmt: skip


class _Watched:
    def __init__(self, port: Any, name: str, tell: Callable[[str], None]) -> None:
        self._port, self._name, self._tell = port, name, tell

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._port, method)
        if method not in EFFECTS[self._name]:
            return call

        @functools.wraps(call)
        async def told(*args: Any, **kwargs: Any) -> Any:
            result = await call(*args, **kwargs)
            self._tell(f"{self._name}.{method}{_detail(method, args)}")
            return result

        return told


def _detail(method: str, args: tuple[Any, ...]) -> str:
    """What tells one effect from another of the same method."""
    if method == "append":
        kind, details = args
        return f" {kind}: {details.get('outcome') or details.get('to') or ''}".rstrip(": ")
    if method == "send":
        return f" {type(args[0]).__name__}"
    if method == "keep":
        return f" {args[0].outcome}"
    return f" {args[0].state}" if hasattr(args[0], "state") else ""
