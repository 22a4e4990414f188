"""What Azure must allow whoever looks at hubs and fixes them, by where it is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Permissions:
    """Permissions, spelled as Azure documents them; Azure compares them without regard to case.

    Attributes:
        actions: of Azure Resource Manager, on the watched subscription.
        data_actions: of the data plane of its hubs.
        on_destination: on what a diagnostic setting sends to. Each is for the resource type that it begins with.
    """

    actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    on_destination: tuple[str, ...] = ()

    @classmethod
    def merged(cls, parts: Iterable[Permissions]) -> Self:
        """All of them: each once, however it is spelled, in the order of the alphabet."""
        each = tuple(parts)
        return cls(
            once(action for part in each for action in part.actions),
            once(action for part in each for action in part.data_actions),
            once(action for part in each for action in part.on_destination),
        )

    def on(self, destination: str) -> tuple[str, ...]:
        """What of ``on_destination`` is for the resource of this id."""
        prefix = f"{_type_of(destination)}/"
        return tuple(action for action in self.on_destination if action.lower().startswith(prefix))


def once(actions: Iterable[str]) -> tuple[str, ...]:
    """Each action once, however it is spelled, in the order of the alphabet."""
    found: dict[str, str] = {}
    for action in actions:
        found.setdefault(action.lower(), action)
    return tuple(found[key] for key in sorted(found))


def _type_of(resource_id: str) -> str:
    """``microsoft.eventhub/namespaces/authorizationrules`` of the id of one."""
    provider, *names = resource_id.strip("/").lower().rpartition("providers/")[2].split("/")
    return "/".join([provider, *names[::2]])
