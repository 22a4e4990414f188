"""dead_letters: what Event Grid could not deliver is read back, and goes the way that it should have gone."""

from __future__ import annotations

import json
import logging

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from hubwarden.domain.jsons import Json
from hubwarden.service.errors import StaleWriteError, StorageRefusedError, StorageUnavailableError
from hubwarden.service.ports import AuditTrail, Clock, DeadLetter, DeadLetters


log = logging.getLogger(__name__)

LETTERS: Final = 200
"""So many are read in one run; the rest waits for the next."""
EVENTS: Final = 2_000
"""After so many events a run begins no other letter: a function has its time."""
LARGEST: Final = 32 * 1024 * 1024
MANY: Final = 10_000
"""More events in one letter take longer than a function has: it would be begun again for ever."""
TIME: Final = timedelta(minutes=4)
"""After so long a run begins no other letter: one change can concern every hub of a subscription."""
PATIENCE: Final = timedelta(hours=6)
"""A letter that was left for the next run so often is set aside: it stands before younger ones."""
_REASONS_TOLD: Final = 10

type Route = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Takes one event, in either schema, and returns once whatever it asks for is queued."""


@dataclass(slots=True)
class ReadBack:
    """What came of one run. ``more`` says that letters are left for the next."""

    began: datetime
    letters: int = 0
    events: int = 0
    set_aside: int = 0
    put_off: int = 0
    more: bool = False
    reasons: Counter[str] = field(default_factory=Counter)


async def read_back(letters: DeadLetters, *, route: Route, audit: AuditTrail, clock: Clock) -> ReadBack:
    """Route every event of the letters that wait, oldest first, and remove each letter once its events are queued.

    Who dies in between leaves a letter that is read again: its events come twice, which is harmless. What cannot
    be read is set aside where it lies, with the reason, for it may hold names and addresses of people.

    Args:
        letters: where Event Grid leaves what it could not deliver.
        route: what a live event goes through.
        audit: gets one line for each letter.
        clock: the time.

    Raises:
        StorageUnavailableError: what was not read by then is still there for the next run.
    """
    done = ReadBack(clock.now())
    waiting = await letters.waiting(LETTERS + 1)
    for letter in waiting[:LETTERS]:
        if done.events >= EVENTS or clock.now() - done.began >= TIME:
            done.more = True
            break
        await _one(letters, letter, route, audit, done)
    done.more = done.more or len(waiting) > LETTERS
    if done.letters:
        log.warning(
            "Event Grid could not deliver %d event(s) in %d dead letter(s), which are read back now: %s%s",
            done.events, done.letters, _told(done.reasons), "; more wait for the next run" if done.more else "",
        )  # fmt: skip
    return done


async def _one(letters: DeadLetters, letter: DeadLetter, route: Route, audit: AuditTrail, done: ReadBack) -> None:
    content = await _content(letters, letter)
    if content is None:
        return
    events, wrong = content
    reasons: Counter[str] = Counter()
    try:
        for event in events:
            await route(event)
            reasons[_reason(event)] += 1
    except (StaleWriteError, StorageRefusedError) as error:  # as for a live event, which would come again
        if done.began - letter.at < PATIENCE:
            log.warning("the dead letter %s is left for the next run: %s", letter.name, error)
            done.put_off += 1
            return
        wrong = f"it could not be routed for hours: {error}"
    except StorageUnavailableError:
        raise
    except Exception as error:
        log.exception("the dead letter %s could not be read back", letter.name)
        wrong = f"hubwarden failed on it: {type(error).__name__}"
    await audit.append("dead_letter", _details(letter, reasons, wrong))
    if wrong is None:
        await letters.remove(letter)
    else:
        log.error("the dead letter %s is set aside where it lies: %s", letter.name, wrong)
        await letters.set_aside(letter, wrong)
        done.set_aside += 1
    done.letters += 1
    done.events += reasons.total()
    done.reasons += reasons


async def _content(letters: DeadLetters, letter: DeadLetter) -> tuple[list[Mapping[str, Any]], str | None] | None:
    """As ``parse``; None where the letter is gone."""
    if letter.size > LARGEST:
        return [], f"it has {letter.size} bytes, more than {LARGEST}"
    content = await letters.read(letter)
    if content is None:
        return None
    events, wrong = parse(content)
    return (events, wrong) if len(events) <= MANY else ([], f"it has {len(events)} events, more than {MANY}")


def parse(content: bytes) -> tuple[list[Mapping[str, Any]], str | None]:
    """The events of a dead letter, and what is wrong with it, which repeats nothing of it; None where all is well.

    Event Grid writes a JSON array of objects, each with a type. An object alone is taken for one event.
    """
    try:
        read = json.loads(content)
    except (ValueError, RecursionError) as error:
        return [], f"it is no JSON ({type(error).__name__})"
    elements = read if isinstance(read, list) else [read]
    events = [element for element in elements if _is_event(element)]
    others = len(elements) - len(events)
    return events, f"{others} of {len(elements)} elements are no events" if others else None


def _is_event(element: Any) -> bool:
    return isinstance(element, Mapping) and isinstance(element.get("eventType") or element.get("type"), str)


def _details(letter: DeadLetter, reasons: Counter[str], why: str | None) -> dict[str, Json]:
    return {
        "letter": letter.name,
        "written_at": letter.at.isoformat(),
        "events": reasons.total(),
        "reasons": dict(reasons.most_common(_REASONS_TOLD)),
        "set_aside": why,
    }


def _reason(event: Mapping[str, Any]) -> str:
    """Why it was not delivered, as both schemas tell: `MaxDeliveryAttemptsExceeded, last TimedOut`."""
    why = event.get("deadLetterReason") or event.get("deadletterreason")
    outcome = event.get("lastDeliveryOutcome") or event.get("lastdeliveryoutcome")
    return f"{_word(why)}, last {_word(outcome)}"


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(char for char in text[:60] if char.isascii() and char.isalnum()) or "unknown"


def _told(reasons: Counter[str]) -> str:
    return "; ".join(f"{number} × {reason}" for reason, number in reasons.most_common(_REASONS_TOLD)) or "none"
