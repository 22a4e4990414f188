"""When timers fire: NCRONTAB expressions of six or five fields, and TimeSpans. Times are UTC, as in Azure."""

import re

from datetime import datetime, timedelta
from typing import Protocol

from cronsim import CronSim, CronSimError

from .timespan import parse_timespan


_NAME = re.compile(r"[A-Za-z]+")
_EXPRESSION = re.compile(r"[\w*,/\- ]+")
_NAMED = 3
_OFTEN = timedelta(minutes=1)


class Schedule(Protocol):
    """A series of moments."""

    def after(self, moment: datetime) -> datetime:
        """Return the first moment of the schedule that is later than this one."""
        ...


class _Every:
    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def after(self, moment: datetime) -> datetime:
        return moment + self._interval


class _Cron:
    """NCRONTAB over cronsim, which is a Debian cron.

    NCRONTAB knows full names of days and months, and no `L`, `W` or `#`; and it wants both a given day of
    the month and a given day of the week to match, where Debian takes either
    (https://github.com/atifaziz/NCrontab/wiki/Crontab-Expression).
    """

    def __init__(self, expression: str) -> None:
        names = _NAME.findall(expression)
        if not _EXPRESSION.fullmatch(expression) or min(map(len, names), default=_NAMED) < _NAMED:
            raise ValueError(f"{expression!r} is no NCRONTAB expression")
        self._text = expression
        self._expression = _NAME.sub(lambda name: name[0][:3], expression)
        self.after(datetime(2000, 1, 1))  # noqa: DTZ001 - any moment: the expression is what is tried

    def after(self, moment: datetime) -> datetime:
        try:
            occurrences = CronSim(self._expression, moment)
            occurrences.day_and = True
            return next(occurrences)
        except CronSimError as error:
            raise ValueError(f"{self._text!r} is no NCRONTAB expression: {error}") from error
        except StopIteration:
            raise ValueError(f"{self._text!r} never happens") from None


def parse_schedule(text: str) -> Schedule:
    """Read a timer's `schedule`; a ValueError says what is wrong with it."""
    return _Every(parse_timespan(text)) if ":" in text else _Cron(text)


def is_frequent(schedule: Schedule, now: datetime) -> bool:
    """Say whether it fires more often than once a minute: then its status is not kept (TimerSchedule.cs)."""
    first = schedule.after(now)
    return schedule.after(first) - first < _OFTEN
