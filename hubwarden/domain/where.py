"""Which hubs something is for: patterns over their names, and over their tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hubwarden.domain.hub_id import HubId


type Tags = Mapping[str, Any]
"""A hub's tags by their names, as Azure sent them."""

type _Pattern = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, to_lower=True)]
type _TagName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512)]


class Where(BaseModel):
    """Hubs by their names; ``*`` and ``?`` stand for any text and any letter, and case does not count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subscription: _Pattern = Field("*", description="Id of the subscription.")
    resource_group: _Pattern = Field("*", description="Name of the resource group.")
    hub: _Pattern = Field("*", description="Name of the hub.")

    def matches(self, hub: HubId) -> bool:
        """Whether the hub is one of these."""
        pairs = ((hub.subscription, self.subscription), (hub.resource_group, self.resource_group))
        return all(_fits(name, pattern) for name, pattern in (*pairs, (hub.name, self.hub)))


class Scope(Where):
    """Hubs by their names and tags; all that is said must fit."""

    tags: dict[_TagName, _Pattern] = Field(
        default_factory=dict, description="Tags that the hub has, each with a pattern for its value."
    )

    def covers(self, hub: HubId, tags: Tags | None) -> bool | None:
        """Whether the hub is one of these; None where only its tags could tell, and they are not known."""
        if not self.matches(hub):
            return False
        if not self.tags:
            return True
        if tags is None:
            return None
        return all(_has(tags, name, pattern) for name, pattern in self.tags.items())


def first_covering(scopes: Iterable[Scope], hub: HubId, tags: Tags | None) -> Iterator[int | None]:
    """The index of the first scope that covers the hub, None where none does.

    Where the hub's tags are not known there may be several answers: each that is possible, in order.
    """
    for index, scope in enumerate(scopes):
        covered = scope.covers(hub, tags)
        if covered is not False:
            yield index
        if covered:
            return
    yield None


def _has(tags: Tags, wanted: str, pattern: str) -> bool:
    values = (value for name, value in tags.items() if name.casefold() == wanted.casefold())
    return any(isinstance(value, str) and _fits(value.lower(), pattern) for value in values)


def _fits(text: str, pattern: str) -> bool:
    """Only ``*`` and ``?`` are patterns: a bracket is a bracket, as in a tag's value ``core [prod]``."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))
