"""What is remembered of a timer between two runs of the host, so that a missed occurrence is noticed.

After ScheduleMonitor.cs and StorageScheduleMonitor.cs of the WebJobs extensions.
"""

import contextlib
import json
import logging

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from .schedules import Schedule
from .storage import reason_of


_CONTAINER = "azure-webjobs-hosts"
NEVER = datetime(1, 1, 1, tzinfo=UTC)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimerStatus:
    """When a timer ran last, when it is due next, and the moment from which that was computed."""

    last: datetime
    next: datetime
    last_updated: datetime

    @classmethod
    def first(cls, schedule: Schedule, now: datetime) -> Self:
        """Return the status of a timer that never ran."""
        return cls(NEVER, schedule.after(now), now)

    @classmethod
    def ran(cls, schedule: Schedule, moment: datetime) -> Self:
        """Return the status of a timer that ran at this moment."""
        return cls(moment, schedule.after(moment), moment)

    def as_json(self) -> dict[str, str]:
        """Return the fields as the host stores them and as `func.TimerRequest.schedule_status` shows them."""
        return {
            "Last": self.last.isoformat(),
            "Next": self.next.isoformat(),
            "LastUpdated": self.last_updated.isoformat(),
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `as_json` wrote, or what the real host did."""
        content = json.loads(text)
        last, following, updated = (_moment(content[key]) for key in ("Last", "Next", "LastUpdated"))
        return cls(last, following, updated)


def caught_up(stored: TimerStatus | None, schedule: Schedule, now: datetime) -> TimerStatus:
    """Return the status to start with; it is past due when its `next` is before now.

    A schedule that was changed meanwhile is computed anew, and not past due because of the change.
    """
    if stored is None:
        return TimerStatus.first(schedule, now)
    basis = max(stored.last, stored.last_updated if stored.last == NEVER else NEVER)
    expected = schedule.after(now if basis == NEVER else basis)
    if stored.next == expected:
        return stored
    if now > expected:
        return TimerStatus.first(schedule, now)
    return TimerStatus(NEVER, expected, basis)


class TimerStatusStore:
    """The status blob of one timer; without storage a timer runs all the same, and misses go unnoticed."""

    def __init__(self, blobs: BlobServiceClient, host_id: str, function: str) -> None:
        self._container = blobs.get_container_client(_CONTAINER)
        # `Host.Functions.` is how the real host names functions to the WebJobs SDK.
        self._path = f"timers/{host_id}/Host.Functions.{function}/status"

    async def read(self) -> TimerStatus | None:
        """Return the stored status, or None."""
        try:
            content = await self._container.download_blob(self._path)
            return TimerStatus.from_json((await content.readall()).decode())
        except ResourceNotFoundError:
            return None
        except AzureError as error:
            _logger.warning("The status of timer %s cannot be read: %s", self._path, reason_of(error))
        except (ValueError, KeyError) as error:
            _logger.warning("The status of timer %s is none: %r", self._path, error)
        return None

    async def write(self, status: TimerStatus) -> None:
        """Store the status, as well as can be."""
        try:
            await self._upload(json.dumps(status.as_json()))
        except AzureError as error:
            _logger.warning("The status of timer %s cannot be stored: %s", self._path, reason_of(error))

    async def _upload(self, text: str) -> None:
        try:
            await self._container.upload_blob(self._path, text, overwrite=True)
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):
                await self._container.create_container()
            await self._container.upload_blob(self._path, text, overwrite=True)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
