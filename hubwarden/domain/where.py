"""Which hubs something is for: patterns over their names, and over their tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hubwarden.domain.hub_id import HubId


type Tags = Mapping[str, Any]
"""A hub's tags by their names, as Azure sent them, or those of them that were kept."""

ASKED: Final = "?"
"""Stands among kept tags for the names that were asked about then; Azure takes no tag of this name."""

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
        if tags is None or not_read(tags, self.tags):
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


def kept(tags: Tags, asked: Iterable[str], *, also: Callable[[str], bool]) -> dict[str, str]:
    """Of the tags those that are asked about or wanted also, and what was asked, so that it can be told later."""
    folded = {name.casefold() for name in asked}
    names = (name for name in tags if name.casefold() in folded or also(name))
    return {name: value for name in names if isinstance(value := tags[name], str)} | {
        ASKED: "\n".join(sorted(folded))
    }


def not_read(tags: Tags, names: Iterable[str]) -> list[str]:
    """Of these names of tags those that nobody asked about when the tags were kept: the hub may have them."""
    asked = tags.get(ASKED)
    if asked is None:
        return []
    return sorted({name.casefold() for name in names} - set(asked.split("\n")))


def _has(tags: Tags, wanted: str, pattern: str) -> bool:
    values = (value for name, value in tags.items() if name.casefold() == wanted.casefold())
    return any(isinstance(value, str) and _fits(value.lower(), pattern) for value in values)


def _fits(text: str, pattern: str) -> bool:
    """Only ``*`` and ``?`` are patterns: a bracket is a bracket, as in a tag's value ``core [prod]``."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))
