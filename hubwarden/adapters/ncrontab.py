"""When a timer is due: NCRONTAB, which is cron with seconds first."""

from __future__ import annotations

from datetime import datetime


def next_due(schedule: str, after: datetime) -> datetime | None:
    """The first moment of the schedule after this one (UTC), or None where the schedule is none that we can read.

    Whether it is one at all the Functions host says at the start. NCRONTAB wants both the day of the month and the
    day of the week to match (https://github.com/atifaziz/NCrontab/wiki/Crontab-Expression).
    """
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only the health page needs it

    try:
        occurrences = CronSim(schedule, after)
        occurrences.day_and = True
        return next(occurrences, None)
    except CronSimError:
        return None
