"""Drifts that somebody accepts for a while: in the policy file, and as a tag of the hub."""

from __future__ import annotations

import re
import reprlib

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.domain.where import Tags
from hubwarden.domain.wording import Words, says_nothing


TAG: Final = "hubwarden-exempt"
"""Every tag whose name begins so is an exemption; a tag's value is too short for several."""

_shown: Final = reprlib.Repr(maxstring=80, maxlong=80).repr


def _hub_path(value: str) -> str:
    try:
        return HubId.parse(value).path
    except NotAHubError as error:
        raise ValueError(str(error)) from None


def _day(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) is None:
        raise ValueError(f"must be a day such as 2027-01-31, found {_shown(value)}")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"must be a day of the calendar, found {_shown(value)}: {error}") from None


class Exemption(BaseModel):
    """A drift that the operator accepts for a while."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str = Field(description="Id of the rule.")
    hub: Annotated[str, AfterValidator(_hub_path)] = Field(description="ARM resource id of the hub, any casing.")
    subject: Words | None = Field(
        None, description="What the drift is about, as a finding shows it; by default the rule's whole hub."
    )
    until: Annotated[date, BeforeValidator(_day)] = Field(
        description="Last day on which it holds (UTC); at most exemption_max_days ahead."
    )
    reason: Words = Field(description="Why the drift is accepted.")
    owner: Words = Field(description="Who answers for it.")

    def covers(self, hub: HubId, rule_id: str, subject: str) -> bool:
        """Whether it is about this drift, at whatever time."""
        return self.hub == hub.path and self.rule == rule_id and _about(self.subject, subject)


@dataclass(frozen=True, slots=True)
class Exempted:
    """That a drift is accepted until the end of this day (UTC). ``source`` says where that is written."""

    until: date
    reason: str
    owner: str
    source: str

    def __str__(self) -> str:
        return f"exempt until {self.until} by {self.owner}: {self.reason} ({self.source})"


@dataclass(frozen=True, slots=True)
class TagExemption:
    """What a tag of the hub says, as far as it can be read.

    ``trouble`` says why it is no exemption, or None; ``rule`` is None where not even that is legible.
    """

    tag: str
    rule: str | None
    subject: str | None = None
    exempted: Exempted | None = None
    trouble: str | None = None

    def is_about(self, rule_id: str, subject: str) -> bool:
        """Whether it may be about this drift: one whose rule is not legible may be about any."""
        return self.rule in {None, rule_id} and _about(self.subject, subject)


def read_tags(tags: Tags, rules: Collection[str], last: date) -> Iterator[TagExemption]:
    """The exemptions in the hub's tags: ``<rule>=<day>;reason=…;owner=…`` and, where wanted, ``;subject=…``.

    Args:
        tags: the hub's.
        rules: the ids that there are.
        last: no exemption may end later.
    """
    for name, value in tags.items():
        if is_exemption(name):
            yield _read(name, value if isinstance(value, str) else "", rules, last)


def is_exemption(tag: str) -> bool:
    """Whether a tag of this name says, or is to say, that a drift is accepted."""
    return tag.casefold().startswith(TAG)


def _read(tag: str, value: str, rules: Collection[str], last: date) -> TagExemption:
    head, *rest = value.split(";")
    rule, _, until = (part.strip() for part in head.partition("="))
    rule = rule.lower()
    if rule not in rules:
        return TagExemption(tag, None, trouble=f"it does not begin with a rule's id and a day: {_shown(value)}")
    said = [tuple(part.strip() for part in text.partition("=")) for text in rest if text.strip()]
    given = {name.casefold(): text for name, _, text in said}
    try:
        _check(given, len(said))
        read = Exempted(_day(until), given["reason"], given["owner"], f"the hub's tag {tag}")
        if read.until > last:
            raise ValueError(f"{read.until} is too far ahead: {last} is the last day that is taken")  # noqa: TRY301
    except ValueError as error:
        return TagExemption(tag, rule, trouble=str(error))
    return TagExemption(tag, rule, given.get("subject"), read)


def _check(given: dict[str, str], parts: int) -> None:
    if len(given) < parts:
        raise ValueError("one of its parts is there twice")
    unknown = sorted(given.keys() - {"reason", "owner", "subject"})
    if unknown:
        raise ValueError(f"{_shown(unknown[0])} is no part of an exemption: reason, owner and subject are")
    empty = [name for name in ("reason", "owner", *given) if says_nothing(given.get(name, ""))]
    if empty:
        raise ValueError(f"its {empty[0]} is missing")


def _about(named: str | None, subject: str) -> bool:
    return named is None or named.casefold() == subject.casefold()
