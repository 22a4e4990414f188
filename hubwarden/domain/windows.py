"""When automatic fixes may run: maintenance windows and change freezes, by the wall clock of a time zone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.where import Scope, Tags, first_covering
from hubwarden.domain.wording import Words


class Day(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_DAYS: Final = list(Day)
_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_AHEAD: Final = 15
"""Days that are looked at for the next opening: some calendars have left out one, and clocks skip hours."""
_ROUNDS: Final = 100


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"there is no time zone {name!r}: name one such as Europe/Berlin, or UTC") from None
    return name


def _quoted(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError('must be a time in quotes, such as "22:00": without them, YAML makes a number of it')  # noqa: TRY004
    return value


_FROM: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_TO: Final = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
_MOMENT: Final = r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}(T([01][0-9]|2[0-3]):[0-5][0-9])?$"

type _Zone = Annotated[str, AfterValidator(_zone), StringConstraints(min_length=1, max_length=64)]
type _Moment = Annotated[str, StringConstraints(pattern=_MOMENT)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Window(_Section):
    """A time of the week, as a clock on the wall shows it. One that ends before it begins ends on the next day."""

    days: list[Day] = Field(
        default_factory=lambda: list(Day), min_length=1, description="Days on which it begins."
    )
    begins: Annotated[str, BeforeValidator(_quoted), StringConstraints(pattern=_FROM)] = Field(
        alias="from", description='When it opens, such as "22:00".'
    )
    ends: Annotated[str, BeforeValidator(_quoted), StringConstraints(pattern=_TO)] = Field(
        alias="to", description='When it closes, such as "04:00"; "24:00" is the end of the day.'
    )
    timezone: _Zone = Field("UTC", description="Whose clock: a name of the IANA database, such as Europe/Berlin.")

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.begins == self.ends:
            raise ValueError('begins when it ends: write from: "00:00" and to: "24:00" for whole days')
        return self

    def is_open(self, at: datetime) -> bool:
        """Whether the clock on the wall shows a time within it. ``at`` is UTC."""
        local = at.astimezone(ZoneInfo(self.timezone))
        clock, today = f"{local:%H:%M}", _DAYS[local.weekday()] in self.days
        if self.begins < self.ends:
            return today and self.begins <= clock < self.ends
        yesterday = _DAYS[local.weekday() - 1] in self.days
        return (today and clock >= self.begins) or (yesterday and clock < self.ends)

    def next_opening(self, after: datetime) -> datetime | None:
        """The first moment (UTC, whole minutes) after this one at which it is open. Only asked while it is not."""
        found = (moment for moment in self._changes(after) if moment > after and self.is_open(moment))
        return min(found, default=None)

    def _changes(self, after: datetime) -> Iterator[datetime]:
        """Every moment at which it may open: at its time, where that comes twice too, or as clocks are put on."""
        zone = ZoneInfo(self.timezone)
        first = after.astimezone(zone).date() - _DAY
        for day in (first + number * _DAY for number in range(_AHEAD)):
            local = datetime.combine(day, time.fromisoformat(self.begins), zone)
            yield from (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
            yield from _clock_change(day, zone)

    def __str__(self) -> str:
        days = "" if len(set(self.days)) == len(_DAYS) else f"{', '.join(self.days)} "
        return f"{days}{self.begins} to {self.ends} {self.timezone}"


class Maintenance(_Section):
    """When automatic fixes may run on some hubs."""

    where: Scope = Field(
        default_factory=Scope, description="Which hubs this is for; the first that matches counts."
    )
    windows: list[Window] = Field(min_length=1, description="Any of them will do.")

    def is_open(self, at: datetime) -> bool:
        """Whether fixes may run now. ``at`` is UTC."""
        return any(window.is_open(at) for window in self.windows)

    def next_opening(self, after: datetime) -> datetime | None:
        """When they may run next (UTC); only asked while they may not."""
        openings = (window.next_opening(after) for window in self.windows)
        return min((opening for opening in openings if opening), default=None)


class Freeze(_Section):
    """A time in which no automatic fix runs, whatever the windows say."""

    where: Scope = Field(default_factory=Scope, description="Which hubs this is for.")
    begins: _Moment = Field(alias="from", description="First day, or moment such as 2026-12-18T18:00.")
    ends: _Moment = Field(alias="until", description="Last day, or the moment at which it is over.")
    timezone: _Zone = Field("UTC", description="Whose clock: a name of the IANA database, such as Europe/Berlin.")
    reason: Words = Field(description="Why; people are told.")

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        try:
            since, over = self.since, self.over
        except (ValueError, OverflowError) as error:
            raise ValueError(f"must begin and end on days of the calendar: {error}") from None
        if over <= since:
            raise ValueError(f"ends ({self.ends}) before it begins ({self.begins})")
        return self

    @property
    def since(self) -> datetime:
        """When it begins (UTC); where the clock shows that time twice, the first."""
        return min(self._utc(self._local(self.begins)))

    @property
    def over(self) -> datetime:
        """When it is over (UTC); where the clock shows that time twice, the second."""
        end = self._local(self.ends)
        return max(self._utc(end if "T" in self.ends else end + _DAY))

    def _local(self, moment: str) -> datetime:
        return datetime.fromisoformat(moment).replace(tzinfo=None)

    def _utc(self, local: datetime) -> list[datetime]:
        zone = ZoneInfo(self.timezone)
        return [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]


@dataclass(frozen=True, slots=True)
class Closed:
    """Why no automatic fix runs now, and when one may (UTC), if that is in sight."""

    reason: str
    opens_at: datetime | None


def closed(
    maintenance: Sequence[Maintenance], freeze: Sequence[Freeze], hub: HubId, tags: Tags | None, now: datetime
) -> Closed | None:
    """Whether automatic fixes of this hub must wait at this moment (UTC).

    Where the hub's tags are not known, whatever could hold for it holds.
    """
    frozen = [(i, each) for i, each in enumerate(freeze) if each.where.covers(hub, tags) is not False]
    first = first_covering([each.where for each in maintenance], hub, tags)
    kept = [(index, maintenance[index]) for index in first if index is not None]
    found = _in_the_way(frozen, kept, now)
    if found is None:
        return None
    why, opens_at, zone = found
    for _ in range(_ROUNDS):
        if opens_at is None or (more := _in_the_way(frozen, kept, opens_at)) is None:
            return Closed(f"{why}; automatic fixes may run again {_told(opens_at, zone)}", opens_at)
        opens_at = more[1]
    return Closed(f"{why}; when automatic fixes may run again is not in sight", None)


type _Found = tuple[str, datetime | None, str]
"""Why, until when at least, and whose clock."""


def _in_the_way(
    frozen: Sequence[tuple[int, Freeze]], kept: Sequence[tuple[int, Maintenance]], now: datetime
) -> _Found | None:
    for index, freeze in frozen:
        if freeze.since <= now < freeze.over:
            return f"change freeze (policy freeze[{index}]): {freeze.reason}", freeze.over, freeze.timezone
    for index, entry in kept:
        if not entry.is_open(now):
            windows = ", ".join(map(str, entry.windows))
            why = f"outside of the maintenance windows (policy maintenance[{index}]: {windows})"
            return why, entry.next_opening(now), entry.windows[0].timezone
    return None


def _told(opens_at: datetime | None, zone: str) -> str:
    if opens_at is None:
        return "at a time that is not in sight"
    local = "" if zone == "UTC" else f" ({opens_at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} {zone})"
    return f"from {opens_at:%Y-%m-%d %H:%M} UTC on{local}"


def _clock_change(day: date, zone: ZoneInfo) -> Iterator[datetime]:
    """The moment (UTC) on this day at which the zone's clocks are put on or back, if any."""
    start = datetime.combine(day, time(), zone).astimezone(UTC)
    low, high = 0, 26 * 60

    def offset(minutes: int) -> timedelta | None:
        return (start + minutes * _MINUTE).astimezone(zone).utcoffset()

    if offset(low) == offset(high):
        return
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if offset(middle) != offset(low) else (middle, high)
    yield start + high * _MINUTE
