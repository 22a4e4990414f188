"""The work messages: what is said to oneself between two steps. Small, versioned, safe to repeat."""

from __future__ import annotations

import json
import re

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from hubwarden.domain.census import Tally
from hubwarden.domain.finding import Actor
from hubwarden.domain.hub_id import HubId, NotAHubError


class Queue(StrEnum):
    """The work queues. Each has a poison queue of the host's own naming."""

    EVALUATE = "hubwarden-evaluate"
    REMEDIATE = "hubwarden-remediate"
    VERIFY = "hubwarden-verify"
    CENSUS = "hubwarden-census"
    TICKETS = "hubwarden-tickets"
    NOTIFY = "hubwarden-notify"


class MalformedMessageError(ValueError):
    """The text is no message of this queue; it will never become one."""


class NewerMessageError(MalformedMessageError):
    """The text is a message that a newer version of hubwarden sent, and that version can read it."""


VERSION: Final = 1
"""The version of all messages. A message with another member is of another version: see docs/upgrade.md."""


def _hub(value: str) -> str:
    try:
        return HubId.parse(value).path
    except NotAHubError:
        raise ValueError("names no IoT Hub") from None


def _trace(value: Any) -> str | None:
    """The work counts, not who watches it: what is no ``traceparent`` is none."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def _is_none(trace: str | None) -> bool:
    return trace is None


_TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class _Work(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    v: Literal[1] = 1
    attempt: int = Field(0, ge=0, le=1000)
    """How often this work has already been put off."""
    trace: Annotated[str | None, BeforeValidator(_trace)] = Field(None, exclude_if=_is_none)
    """The W3C ``traceparent`` of what asked for it; without one, the message is written without the field."""


class _Message(_Work):
    hub: Annotated[str, AfterValidator(_hub)]

    @property
    def hub_id(self) -> HubId:
        """The hub that the work is about."""
        return HubId.parse(self.hub)


class EvaluateMessage(_Message):
    """Look at this hub. ``asked_at``: a look that began later makes this one needless."""

    asked_at: AwareDatetime
    cause: str
    actor: Actor | None = None
    """Who changed the hub, as its event says; None where it was not the hub itself that changed."""
    changed_at: AwareDatetime | None = None
    """When the change happened, to the hub or to what it depends on, as its event says."""
    deleted: bool = False
    """Whether an event says that the hub was deleted."""


class SweepMessage(_Work):
    """Sweep this subscription again, whose hubs could not be listed; ``all`` sweeps everything again."""

    subscription: str


class TurnMessage(_Work):
    """Give those whom a limit holds their turn, which was to come at that moment."""

    turn: AwareDatetime


class RemediateMessage(_Message):
    """Fix what is approved on this hub."""


class VerifyMessage(_Message):
    """See whether the fix with this plan digest has taken. ``give_up_at`` bounds the waiting."""

    digest: str
    give_up_at: AwareDatetime


class CensusMessage(_Message):
    """Go on counting the hub's devices from where the message stands. ``run`` names the count.

    ``stage`` is what is being listed; ``continuation`` is Azure's own, None at its beginning. ``parts`` counts
    what is staged of that stage's list. ``pages`` is how many pages may be asked for in a minute, ``slices`` how
    many messages of this count were worked on before this one.
    """

    run: str
    host: str
    pages: int = Field(10, ge=1)
    slices: int = Field(0, ge=0)
    stage: Literal["modules", "devices"] = "modules"
    continuation: str | None = None
    parts: int = 0
    tally: Tally = Field(default_factory=Tally)


class TicketMessage(_Message):
    """Settle the ticket of the finding with this id, as the finding is by then."""

    finding: str


class NotifyMessage(_Work):
    """Send what waits for this channel by then."""

    channel: str


type Message = (
    EvaluateMessage
    | SweepMessage
    | TurnMessage
    | RemediateMessage
    | VerifyMessage
    | CensusMessage
    | TicketMessage
    | NotifyMessage
)

_READERS: Final[Mapping[Queue, TypeAdapter[Message]]] = {
    Queue.EVALUATE: TypeAdapter(EvaluateMessage | SweepMessage | TurnMessage),
    Queue.REMEDIATE: TypeAdapter(RemediateMessage),
    Queue.VERIFY: TypeAdapter(VerifyMessage),
    Queue.CENSUS: TypeAdapter(CensusMessage),
    Queue.TICKETS: TypeAdapter(TicketMessage),
    Queue.NOTIFY: TypeAdapter(NotifyMessage),
}
_QUEUES: Final[Mapping[type[BaseModel], Queue]] = {
    EvaluateMessage: Queue.EVALUATE,
    SweepMessage: Queue.EVALUATE,
    TurnMessage: Queue.EVALUATE,
    RemediateMessage: Queue.REMEDIATE,
    VerifyMessage: Queue.VERIFY,
    CensusMessage: Queue.CENSUS,
    TicketMessage: Queue.TICKETS,
    NotifyMessage: Queue.NOTIFY,
}

_NAMES: Final = frozenset(name for model in _QUEUES for name in (model.__name__, *model.model_fields))


def queue_of(message: Message) -> Queue:
    """The queue that a message belongs on."""
    return _QUEUES[type(message)]


def parse(queue: Queue, text: str) -> Message:
    """Read a message of this queue.

    Raises:
        NewerMessageError: a newer version of hubwarden sent it.
        MalformedMessageError: says in one line what is wrong with it, without repeating its content.
    """
    try:
        return _READERS[queue].validate_json(text)
    except ValidationError as error:
        if (version := _version(text)) > VERSION:
            raise NewerMessageError(
                f"a message of {queue} is of version {version}, and this app reads those up to {VERSION}"
            ) from None
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(part if part in _NAMES else "(key)" for part in map(str, first["loc"])) or "the text"
        raise MalformedMessageError(f"no message of {queue}: {where}: {first['msg']}") from None


def _version(text: str) -> int:
    """The version that the text says it is of; 0 where it says none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return 0
    version = content.get("v") if isinstance(content, dict) else None
    return version if type(version) is int else 0
