"""Timer triggers, after TimerListener.cs of the WebJobs extensions."""

import asyncio
import json
import logging

from datetime import UTC, datetime

from azure.functions.meta import Datum

from .backoff import Backoff
from .errors import StartupError
from .functions import Function
from .invoker import Invoker
from .runtime import Outcome
from .schedules import is_frequent, parse_schedule
from .timer_status import TimerStatus, TimerStatusStore, caught_up
from .waiting import elapsed


_LONGEST_SLEEP = 3600.0
_logger = logging.getLogger(__name__)


class TimerListener:
    """Runs one function on its schedule, never twice at once."""

    def __init__(self, function: Function, invoker: Invoker) -> None:
        fields = function.trigger.fields
        try:
            self._schedule = parse_schedule(fields["schedule"])
        except ValueError as error:
            raise StartupError(f"Function {function.name}: {error}") from error
        self._function = function
        self._invoker = invoker
        self._run_on_startup = bool(fields.get("runOnStartup"))
        self.is_monitored = fields.get("useMonitor", True) and not is_frequent(self._schedule, _now())
        self._store: TimerStatusStore | None = None
        self._one_at_a_time = asyncio.Lock()
        self._stopping = asyncio.Event()

    async def start(self, store: TimerStatusStore | None) -> None:
        """Begin to keep the schedule; the store is given if the timer is monitored."""
        now = _now()
        self._store = store
        stored = await store.read() if store else None
        self._status = caught_up(stored, self._schedule, now)
        if store and self._status != stored:
            await store.write(self._status)
        past_due = self._status.next < now
        self._ticking = asyncio.create_task(self._tick(past_due=past_due), name=f"timer {self._function.name}")

    async def stop(self) -> None:
        """Start no more runs and wait for the one that is under way."""
        self._stopping.set()
        await self._ticking
        async with self._one_at_a_time:
            return

    async def run_by_hand(self) -> None:
        """Run now, besides the schedule, which stays as it is."""
        async with self._one_at_a_time:
            await self._attempt("This function was programmatically called via the host APIs.")

    async def _tick(self, *, past_due: bool) -> None:
        if past_due or self._run_on_startup:
            await self._run(past_due=past_due, on_schedule=False)
        while await self._due():
            await self._run(past_due=False, on_schedule=True)

    async def _due(self) -> bool:
        """Wait for the next occurrence; False when the host stops first.

        In pieces, because a clock that is set meanwhile, or a machine that sleeps, must not delay it.
        """
        while (wait := (self._status.next - _now()).total_seconds()) > 0:
            if not await elapsed(min(wait, _LONGEST_SLEEP), unless=self._stopping):
                return False
        return not self._stopping.is_set()

    async def _run(self, *, past_due: bool, on_schedule: bool) -> None:
        async with self._one_at_a_time:
            started = _now()
            await self._with_retries(past_due=past_due)
            moment = max(started, self._status.next) if on_schedule else started
            self._status = TimerStatus.ran(self._schedule, moment)
            if self._store:
                await self._store.write(self._status)

    async def _with_retries(self, *, past_due: bool) -> None:
        outcome = await self._attempt("Timer fired", past_due=past_due)
        policy = self._function.retry
        if policy is None:
            return
        backoff = Backoff(policy.minimum, policy.maximum)
        retry = 0
        while outcome.error is not None and (policy.max_retries < 0 or retry < policy.max_retries):
            retry += 1
            if not await elapsed(backoff.next(), unless=self._stopping):
                return
            _logger.info("Retry %d of function %s", retry, self._function.name)
            counts = (retry, policy.max_retries)
            outcome = await self._attempt("Timer fired", past_due=past_due, retry=counts)

    async def _attempt(self, reason: str, *, past_due: bool = False, retry: tuple[int, int] = (0, 0)) -> Outcome:
        return await self._invoker.invoke(self._function, self._info(past_due), reason=reason, retry=retry)

    def _info(self, past_due: bool) -> Datum:  # noqa: FBT001 - one caller
        """Return TimerInfo as the real host serialises it (LastUpdated is 0001 for a timer that never ran)."""
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": self._status.as_json() if self.is_monitored else None,
            "IsPastDue": past_due,
        }
        return Datum(json.dumps(info), "json")


def _now() -> datetime:
    return datetime.now(UTC)
