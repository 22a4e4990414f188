"""What the use cases need of the world. Adapters implement these; tests bring fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from hubwarden.domain import message as notices
from hubwarden.domain.approval import Ask
from hubwarden.domain.audit import Place
from hubwarden.domain.finding import Actor, Finding, Trouble
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.limits import Kill, Ledger, Standing
from hubwarden.domain.message import Notice
from hubwarden.domain.policy import Policy
from hubwarden.domain.receipt import Receipt
from hubwarden.domain.remediation import Remediation
from hubwarden.domain.rule import Remediator, Rule
from hubwarden.domain.severity import Severity
from hubwarden.domain.where import Tags
from hubwarden.service.messages import Message, Queue
from hubwarden.service.telemetry import SILENT, Telemetry


@dataclass(frozen=True, slots=True)
class Stored[T]:
    """A value with the etag of its row."""

    value: T
    etag: str


@dataclass(frozen=True, slots=True)
class DeviceCount:
    """How a count of a hub's devices ended. ``facet`` is Facet.DEVICES, or None where ``unread`` says why not."""

    at: datetime
    facet: JsonObject | None
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class Counting:
    """A count of a hub's devices that is under way. ``run`` names it; ``since`` is when it was last heard of, UTC.

    ``slices`` is how many of its messages have been worked on: one that comes again is known by it.
    """

    run: str
    since: datetime
    slices: int = 0


@dataclass(frozen=True, slots=True)
class HubRecord:
    """What is remembered of a hub between two looks. Times are UTC.

    ``looked_at`` is when the last evaluation that was carried through began to read; ``looking_since`` is set
    while one is under way. ``verdicts`` maps rule ids to compliant, drift or unknown. ``written_by`` and
    ``written_at`` tell the last write by somebody else that an event reported. ``last_good`` and ``last_seen`` are
    what Snapshot says. ``policies`` is Facet.POLICIES as it was read at ``policies_at`` of the hub at
    ``policies_etag``.
    ``count`` is how the last count of the hub's devices ended, ``counting`` the one that is under way.
    ``new_devices_since`` and ``count_due`` are set while devices that an event told of wait to be counted.
    ``missing_since`` is when a read first missed the hub, with no look at it since.
    ``tags`` are those of the hub's that the policy file asks about, as they were last read.
    """

    hub: HubId
    looked_at: datetime | None = None
    looking_since: datetime | None = None
    hub_etag: str | None = None
    verdicts: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    written_by: Actor | None = None
    written_at: datetime | None = None
    last_good: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    last_seen: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    policies: JsonObject | None = None
    policies_etag: str | None = None
    policies_at: datetime | None = None
    count: DeviceCount | None = None
    counting: Counting | None = None
    new_devices_since: datetime | None = None
    count_due: datetime | None = None
    missing_since: datetime | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """One sweep: what was asked for, what was seen, and what was not, with the reasons. Times are UTC.

    ``unknown`` maps what could not be judged (the path of a hub or subscription) to the reason; ``dead`` does
    so for hubs that serve nobody and cannot be changed: these are no part of ``hubs``. ``facets`` is how many
    pieces of evidence the rules wanted, ``facets_read`` how many of them there were, and ``listkeys_saved`` for
    how many hubs listkeys was not called, because their etag is still the one that their policies were read at.
    """

    subscriptions: tuple[str, ...]
    started_at: datetime
    finished_at: datetime
    hubs: int
    evaluated: int
    drifting: int
    unknown: Mapping[str, str]
    dead: Mapping[str, str] = field(default_factory=dict)
    facets: int = 0
    facets_read: int = 0
    listkeys_saved: int = 0

    @property
    def complete(self) -> bool:
        """Whether everything that is watched was judged."""
        return not self.unknown

    @property
    def summary(self) -> str:
        """One line for people."""
        facets = f"{self.facets_read} of {self.facets} facets"
        return f"evaluated {facets} on {self.evaluated} of {self.hubs} hubs, {self.drifting} with drift"


@dataclass(frozen=True, slots=True)
class TicketRef:
    """Where a ticket lives: ``system`` says in whose hands, ``id`` is its own name there."""

    system: str
    id: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket. ``key`` is the finding's id: one finding, one ticket.

    ``ref`` is where it lives, None in the built-in store; ``previous`` is the one that it follows, which could not
    be opened again.
    """

    key: str
    hub: HubId
    rule_id: str
    title: str
    text: str
    is_open: bool
    opened_at: datetime
    changed_at: datetime
    occurrences: int = 1
    closing_note: str | None = None
    severity: Severity = Severity.MEDIUM
    ref: TicketRef | None = None
    previous: TicketRef | None = None


@dataclass(frozen=True, slots=True)
class PolicyEdit:
    """What becomes of one shared access policy, by its name (compared without case).

    ``expected`` are the rights that it must still have. ``rights`` None removes it;
    ``new_keys`` gives it new keys. Only one that ``restores`` may give it rights that it does not have, or make it
    anew with new keys where ``expected`` is None: then it must not be there.
    """

    name: str
    expected: frozenset[str] | None
    rights: frozenset[str] | None
    new_keys: bool = False
    restores: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a query, and where it goes on; None where it is over. A page may be empty and yet go on."""

    rows: Sequence[JsonObject]
    continuation: str | None


class HubPort(Protocol):
    """Azure Resource Manager, as far as hubs go. Bodies are JSON as the server sent it."""

    def list_hubs(self, subscription: str) -> AsyncIterator[JsonObject]:
        """Every hub of a subscription that the identity may read, whole bodies.

        Raises:
            AzureError: one of its kinds, after any number of hubs.
        """
        ...

    async def get_hub(self, hub: HubId) -> JsonObject:
        """The hub's body.

        Raises:
            HubGoneError, TransientError, DeniedError, PermanentError: as they say.
        """
        ...

    async def put_hub(
        self, hub: HubId, body: JsonObject, *, etag: str, policies: Sequence[PolicyEdit] = ()
    ) -> Receipt:
        """Start replacing the hub; returns once Azure has accepted it, minutes before it is done.

        With ``policies``, the hub's shared access policies are read with their keys, edited, and sent with the
        body; every other policy keeps its keys. Without, they are not sent, and stay as they are.

        Raises:
            TransientError: with ``sent`` true where the hub may change all the same.
            ConflictError: the hub, or a policy that is to be edited, moved on or is busy.
            HubGoneError, DeniedError, PermanentError: as they say.
        """
        ...

    async def sas_policies(self, hub: HubId) -> JsonObject:
        """The hub's shared access policies without their keys, in the shape of Facet.POLICIES; one ARM write call.

        Raises:
            HubGoneError, TransientError, DeniedError, PermanentError: as they say.
        """
        ...

    async def diagnostics(self, hub: HubId) -> JsonObject:
        """The hub's diagnostic settings, in the shape of Facet.DIAGNOSTICS.

        One ARM read; the categories and the existence of destinations are remembered for a while.

        Raises:
            HubGoneError, TransientError, DeniedError, PermanentError: as they say.
        """
        ...

    async def put_diagnostic_setting(self, hub: HubId, name: str, properties: JsonObject) -> Receipt:
        """Create or replace one diagnostic setting of the hub; done when it returns.

        Raises:
            As put_hub; a DeniedError names the action that is missing on the destination.
        """
        ...

    async def subscriptions(self) -> Sequence[str]:
        """The ids, in lower case, of every subscription that the identity can see and that is enabled.

        Raises:
            TransientError, DeniedError, PermanentError: as they say.
        """
        ...

    async def read_only_scopes(self, subscription: str) -> Sequence[str]:
        """What the ReadOnly locks of a subscription are on: ids in lower case, perhaps the subscription's.

        One ARM read. Whatever lies under such an id cannot be written.

        Raises:
            TransientError, DeniedError, PermanentError: as they say.
        """
        ...

    async def security_solutions(self, subscription: str, *, since: datetime) -> JsonObject:
        """The subscription's IoT security solutions, in the shape of Facet.DEFENDER; one ARM read.

        An answer that was asked for at or after ``since`` (UTC) is given again, so that all hubs of one look share
        one read, and no look gets to see what is older than itself.

        Raises:
            TransientError, DeniedError, PermanentError: as they say.
        """
        ...

    async def put_security_solution(self, solution: str, before: JsonObject | None, after: JsonObject) -> Receipt:
        """Create (``before`` None) or replace one IoT security solution; done when it returns.

        There are no etags: it is read right before the write, and nothing is written unless it is as ``before``.

        Args:
            solution: its resource id.
            before: the body that it had, as ARM showed it.
            after: the body that it is to have; what only Azure may set in it is left out.

        Raises:
            ConflictError: it is not as before, or exists already.
            TransientError: with ``sent`` true where it may have changed all the same.
            DeniedError, PermanentError: as they say.
        """
        ...

    async def query_devices(self, host: str, query: str, continuation: str | None = None) -> Page:
        """One page (at most 1,000 rows) of a query on the data plane of the hub with this host name.

        Raises:
            TransientError: throttled, an outage, or no connection (which is how a private hub looks from outside).
            DeniedError: no data-plane role, or the hub's network rules keep us out.
            PermanentError: as it says; among them a host that is no IoT Hub of this cloud.
        """
        ...


class Lists(Protocol):
    """Long lists as blobs, written part by part; writing a part again replaces it."""

    async def stage(self, name: str, part: int, data: bytes) -> None:
        """Keep one part, numbered from 0, not empty."""
        ...

    async def commit(self, name: str, parts: int) -> str:
        """Make the list of its first so many parts, in order; none makes an empty list.

        Returns:
            Where it lies, as ``container/name``.
        """
        ...

    def lines(self, name: str) -> AsyncIterator[str]:
        """The lines of a list that was committed."""
        ...

    async def delete(self, name: str) -> None:
        """Forget a list; nothing happens where there is none."""
        ...


class FindingStore(Protocol):
    """Findings, one row each. A row's etag is the only lock there is."""

    async def of_hub(self, hub: HubId) -> Sequence[Stored[Finding]]:
        """Every finding that the hub ever had."""
        ...

    async def save(self, finding: Finding, etag: str | None) -> str:
        """Write a finding read at this etag, or a new one (None).

        Returns:
            The new etag.

        Raises:
            StaleWriteError: somebody else wrote it first.
        """
        ...

    async def find(self, finding_id: str) -> Stored[Finding] | None:
        """The finding of this id, whichever hub's it is."""
        ...

    def everything(self) -> AsyncIterator[Finding]:
        """Every finding of every hub."""
        ...

    def waiting(self) -> AsyncIterator[Finding]:
        """The findings whose ticket is due and in trouble."""
        ...

    def limited(self) -> AsyncIterator[Finding]:
        """The findings that a limit holds."""
        ...


class Remediations(Protocol):
    """What is kept of each write. Every method raises StorageUnavailableError where the table does not answer."""

    async def keep(self, remediation: Remediation) -> None:
        """Keep it, whatever was kept of it before, and return once it is stored."""
        ...

    async def find(self, hub: HubId, remediation_id: str) -> Remediation | None:
        """What is kept of this write to this hub."""
        ...

    def everything(self) -> AsyncIterator[Remediation]:
        """All that is kept."""
        ...

    async def forget(self, before: datetime) -> None:
        """Drop what was written before then (UTC)."""
        ...


class HubStore(Protocol):
    """What is remembered of hubs, and of sweeps."""

    async def get(self, hub: HubId) -> Stored[HubRecord] | None:
        """The hub's record, or None where it was never looked at."""
        ...

    async def save(self, record: HubRecord, etag: str | None) -> str:
        """Write as FindingStore.save does."""
        ...

    async def forget(self, hub: HubId) -> None:
        """Drop the record of a hub that is gone; nothing happens where there is none."""
        ...

    async def subscriptions(self) -> Sequence[str]:
        """The subscriptions that have records, sorted."""
        ...

    def of_subscription(self, subscription: str) -> AsyncIterator[HubRecord]:
        """The records of a subscription's hubs."""
        ...

    async def standing(self, rule_id: str, counts: Callable[[HubId, Tags | None], bool]) -> Standing:
        """How many of the hubs that count were looked at, and which of them drifted of this rule at the last look.

        ``counts`` is asked with the tags that are remembered of the hub, None where none are known.
        """
        ...

    async def add_sweep(self, sweep: SweepRecord) -> None:
        """Remember a sweep."""
        ...

    async def last_sweep(self) -> SweepRecord | None:
        """The sweep that began last."""
        ...


class WorkQueue(Protocol):
    """Messages to oneself."""

    async def send(self, message: Message, *, delay: timedelta = timedelta(0)) -> None:
        """Put the message on its queue, to be seen after the delay (at most 7 days)."""
        ...

    async def send_to_poison(self, queue: Queue, text: str) -> None:
        """Put a text that is no message onto the queue's poison queue, unchanged."""
        ...

    async def put_back(self, queue: Queue, text: str, *, delay: timedelta) -> None:
        """Put a text that cannot be read yet onto its queue again, unchanged, to be seen after the delay."""
        ...

    async def depths(self) -> Mapping[str, int]:
        """Roughly how many messages each queue and poison queue holds."""
        ...


class AuditTrail(Protocol):
    """Append-only record of what was decided and done."""

    async def append(self, kind: str, details: Mapping[str, Json]) -> None:
        """Write one line and return once it is stored. The time is added.

        Raises:
            StorageUnavailableError: it could not be written; then nothing may be written to Azure either.
        """
        ...


class AuditReader(Protocol):
    """What the audit trail holds, to be read again. Both raise StorageUnavailableError, as it says."""

    async def places(self) -> Sequence[Place]:
        """The blobs that it has, in order."""
        ...

    def lines(self, place: Place) -> AsyncIterator[bytes]:
        """The lines of one of them, byte by byte as they stand there, with their line feeds."""
        ...


class Graveyard(Protocol):
    """Where messages end that nobody can use, whole, for a person to look at."""

    async def bury(self, queue: Queue, text: str, reason: str) -> str:
        """Keep the text with its reason.

        Returns:
            Where it lies.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A file of events that Event Grid could not deliver, as it was listed. ``at`` is when it was written, UTC."""

    name: str
    size: int
    at: datetime
    etag: str


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """How many dead letters there are: those that wait, since when, and those that nobody can read."""

    waiting: int = 0
    since: datetime | None = None
    set_aside: int = 0


class DeadLetters(Protocol):
    """Where Event Grid leaves what it could not deliver. Every method raises StorageUnavailableError."""

    async def waiting(self, most: int) -> Sequence[DeadLetter]:
        """The oldest that wait, oldest first; none where there is no such place."""
        ...

    async def count(self) -> DeadLetterCount:
        """How many there are."""
        ...

    async def read(self, letter: DeadLetter) -> bytes | None:
        """What it holds; None where it is gone, or is not as it was listed."""
        ...

    async def remove(self, letter: DeadLetter) -> None:
        """Drop it; nothing happens where it is gone, or is not as it was listed."""
        ...

    async def set_aside(self, letter: DeadLetter, reason: str) -> None:
        """Let it lie, marked with the reason, so that it waits no more; otherwise as remove."""
        ...


class TicketSystem(Protocol):
    """Where tickets live. The key is the finding's id.

    Every method raises TransientError (with ``sent`` true where it may have arrived), DeniedError, PermanentError
    or StorageUnavailableError, as they say.
    """

    @property
    def system(self) -> str:
        """Where they live, in a word or two."""
        ...

    async def open(self, ticket: Ticket) -> None:
        """Open the ticket, or bring the one with this key up to date and open it again. Repeating is harmless.

        Where the one with this key cannot be opened again, a new one is opened that names it.
        """
        ...

    async def close(self, key: str, note: str, at: datetime) -> bool:
        """Close the ticket with the evidence; False where none was open."""
        ...

    async def find_by_key(self, key: str) -> Ticket | None:
        """The ticket of a finding."""
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notice that waits for one channel since ``since``; nobody sends it before ``not_before``. Times are UTC.

    ``trouble`` is set while the channel did not take it, and ``rests`` where that was no fault of the message:
    until ``not_before`` the channel is sent nothing else either.
    """

    channel: str
    notice: Notice
    since: datetime
    not_before: datetime | None = None
    trouble: Trouble | None = None
    rests: bool = False


class Outbox(Protocol):
    """Where notices wait. Every method raises StorageUnavailableError where the table does not answer."""

    async def add(self, waiting: Waiting) -> None:
        """Lay a notice down; the same one again changes nothing."""
        ...

    async def waiting(self, channel: str) -> Sequence[Stored[Waiting]]:
        """What waits for this channel, oldest first."""
        ...

    async def save(self, waiting: Waiting, etag: str) -> str:
        """Write one that was read at this etag, and return the new etag.

        Raises:
            StaleWriteError: somebody else was faster.
        """
        ...

    async def remove(self, waiting: Waiting) -> None:
        """It was told, or is no longer to be."""
        ...

    def troubled(self) -> AsyncIterator[Waiting]:
        """What a channel did not take."""
        ...


class Channel(Protocol):
    """A way to tell people. Raises the errors of AzureError, with no secret in their text."""

    async def send(self, message: notices.Message) -> None:
        """Send one message."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class ApprovalLinks(Protocol):
    """Addresses of the pages on which people decide."""

    def url(self, asks: Sequence[Ask], expires_at: datetime) -> str:
        """Where these requests are decided, one or several, until then (UTC)."""
        ...


class Nonces(Protocol):
    """What may be used once."""

    async def first_use(self, nonce: str, until: datetime) -> bool:
        """Note that it is used, and remember it until then (UTC); False where it was used before.

        Raises:
            StorageUnavailableError: whether it was used before is not known.
        """
        ...

    async def forget(self, now: datetime) -> None:
        """Drop what need not be remembered any more."""
        ...


class SafetyStore(Protocol):
    """The kill switch, and what counts for limits. Every method raises StorageUnavailableError."""

    async def kill(self) -> Stored[Kill] | None:
        """The kill switch as it was thrown last; None where it never was."""
        ...

    async def save_kill(self, kill: Kill, etag: str | None) -> str:
        """Write as FindingStore.save does."""
        ...

    async def stop(self, kill: Kill) -> None:
        """Write it whatever is there: damaged, or of a newer version, it could not be read first."""
        ...

    async def ledger(self) -> Stored[Ledger] | None:
        """What was done lately; None where nothing was."""
        ...

    async def save_ledger(self, ledger: Ledger, etag: str | None) -> str:
        """Write as FindingStore.save does."""
        ...


@dataclass(frozen=True, slots=True)
class StateRecord:
    """Of which version the account's state is.

    ``app`` is the hubwarden that said so last, and when (UTC). A migration that has begun names the version that
    it leads to, and until when its worker is left alone.
    """

    version: int
    app: str
    at: datetime
    target: int | None = None
    until: datetime | None = None


class StateSchema(Protocol):
    """The version of what is stored, and the way to a newer one."""

    @property
    def newest(self) -> int:
        """The version that this app reads and writes."""
        ...

    @property
    def first(self) -> int:
        """The version of a state without a record."""
        ...

    async def record(self) -> Stored[StateRecord] | None:
        """What is recorded.

        Raises:
            StorageUnavailableError: that cannot be read.
        """
        ...

    async def save(self, record: StateRecord, etag: str | None) -> str:
        """Write as FindingStore.save does."""
        ...

    async def upgrade(self, clock: Clock, until: datetime) -> bool:
        """Rewrite what is of an older version, each row on its own; may be repeated, and done by several at once.

        Returns:
            Whether all is done; False where the moment came before.

        Raises:
            StorageUnavailableError: it broke off; what is rewritten stays so.
        """
        ...


class PolicySource(Protocol):
    """Where the operator's policy comes from."""

    @property
    def policy(self) -> Policy | None:
        """The last good one; None where there was none yet."""
        ...

    @property
    def problems(self) -> str:
        """What is wrong with what is there now, line by line; empty where nothing is."""
        ...

    @property
    def told(self) -> str:
        """The problems, fit for the log."""
        ...

    def look(self, *, first: bool = False) -> Policy | None:
        """A good policy that is not in use yet, to ``keep``; may be called from any thread.

        Args:
            first: it is the start: take what is there, whether or not it is new.
        """
        ...

    def keep(self, policy: Policy) -> None:
        """It is in use now."""
        ...


class Clock(Protocol):
    """The time, so that tests can turn it."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Timings:
    """How long things may take. ``claim`` must outlast ``write``, the longest write request of one worker."""

    claim: timedelta = timedelta(seconds=60)
    write: timedelta = timedelta(seconds=30)
    look: timedelta = timedelta(seconds=60)
    verify: timedelta = timedelta(minutes=30)
    retry_denied: timedelta = timedelta(hours=24)
    count: timedelta = timedelta(hours=2)
    """A count of devices of which nothing was heard for so long is taken for lost."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that a use case works with."""

    hubs: HubPort
    findings: FindingStore
    records: HubStore
    work: WorkQueue
    audit: AuditTrail
    graveyard: Graveyard
    lists: Lists
    tickets: TicketSystem
    remediations: Remediations
    safety: SafetyStore
    clock: Clock
    policy: Policy
    rules: Sequence[Rule]
    remediators: Mapping[str, Remediator]
    timings: Timings = field(default_factory=Timings)
    links: ApprovalLinks | None = None
    ticket_links: ApprovalLinks | None = None
    """Those that may stand in tickets: whoever has one may decide, unless they must be signed in as well."""
    outbox: Outbox | None = None
    """None where the policy file names nobody to be told."""
    channels: Mapping[str, Channel] = field(default_factory=dict)
    kill_setting: bool = False
    """Whether the kill switch is on by an app setting."""
    telemetry: Telemetry = SILENT

    def rule(self, rule_id: str) -> Rule:
        """The rule of this id, which exists."""
        return next(rule for rule in self.rules if rule.id == rule_id)
