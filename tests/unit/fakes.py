"""The world of the use cases, in memory: fakes of every port, and a World that delivers messages as the host does.

Every port call passes two gates, one before its effect and one after. At a gate a worker can be killed, and
other workers get their turn; so every place where a process can stop between two effects is reachable.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import json
import random
import uuid

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import detectors

from hubwarden.domain.audit import BEGIN, Entry, UnwritableEntryError, chained
from hubwarden.domain.finding import IN_FLIGHT, Actor, Event, State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import get_at, with_value
from hubwarden.domain.limits import Standing
from hubwarden.domain.policy import check_policy
from hubwarden.domain.receipt import Receipt
from hubwarden.service.bury import bury
from hubwarden.service.census import census
from hubwarden.service.desk import settle_late
from hubwarden.service.errors import (
    ConflictError,
    HubGoneError,
    StaleWriteError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.evaluate import evaluate
from hubwarden.service.messages import (
    CensusMessage,
    EvaluateMessage,
    MalformedMessageError,
    NotifyMessage,
    Queue,
    RemediateMessage,
    SweepMessage,
    TicketMessage,
    TurnMessage,
    VerifyMessage,
    parse,
    queue_of,
)
from hubwarden.service.notify import deliver, wake
from hubwarden.service.ports import DeadLetter, DeadLetterCount, Page, Ports, Stored, Timings
from hubwarden.service.remediate import remediate
from hubwarden.service.route_event import route_event
from hubwarden.service.sweep import sweep
from hubwarden.service.turns import turns
from hubwarden.service.verify import verify
from remediators import REMEDIATORS
from tests.unit.audit_schema import check_line


START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SUB = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
SUB2 = "1b1f6471-1bf0-4dda-aec3-cb9272f09591"
OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
TLS = ("properties", "minTlsVersion")
SOMEBODY = "99999999-0000-0000-0000-000000000001"
RECEIPT = Receipt("b5d2f8ce-0000-0000-0000-000000000001", "6f0c1a35-0000-0000-0000-000000000002")


def hub_id(name="hub-1", subscription=SUB):
    return HubId(subscription, "rg-prod", name)


# These worlds are about what happens to a finding, and one rule shows it all.
RULES = tuple(rule for rule in detectors.RULES if rule.id == "tls-minimum")

HUB = hub_id()


class Killed(BaseException):
    """The process of this worker is gone."""


class FakeClock:
    """Turned by hand. It also ticks a little at each look, so that no two moments are the same."""

    def __init__(self, at=START):
        self.at = at

    def now(self):
        self.at += timedelta(microseconds=7)
        return self.at

    def turn(self, **by):
        self.at += timedelta(**by)


class Gates:
    """Where a worker can be stopped. ``kill_at`` counts gates from 1; ``random`` lets others in between."""

    def __init__(self):
        self.passed = 0
        self.kill_at = None
        self.kill_when = lambda name: False
        self.calls = []
        self.random = None
        self.kill_chance = 0.0

    async def pass_(self, name):
        self.passed += 1
        self.calls.append(name)
        if self.random is not None:
            for _ in range(self.random.randrange(3)):
                await asyncio.sleep(0)
            if self.kill_chance and self.random.random() < self.kill_chance:
                raise Killed(name)
        if self.kill_when(name):
            self.kill_when = lambda name: False
            raise Killed(name)
        if self.kill_at is not None and self.passed == self.kill_at:
            raise Killed(f"at gate {self.passed}: {name}")


def gated(function):
    name = function.__name__

    @functools.wraps(function)
    async def call(self, *args, **kwargs):
        where = f"{type(self).__name__}.{name}"
        await self.gates.pass_(f"before {where}")
        result = await function(self, *args, **kwargs)
        await self.gates.pass_(f"after {where}")
        return result

    return call


class _Rows:
    def __init__(self, gates, log):
        self.gates, self.log = gates, log
        self.rows = {}
        self.etags = itertools.count(1)

    def _write(self, key, value, etag):
        old = self.rows.get(key)
        if (old.etag if old else None) != etag:
            raise StaleWriteError(str(key))
        self.rows[key] = Stored(value, f'W/"{next(self.etags)}"')
        return self.rows[key].etag


class FakeFindings(_Rows):
    @gated
    async def of_hub(self, hub):
        return [stored for stored in self.rows.values() if stored.value.hub == hub]

    @gated
    async def save(self, finding, etag):
        written = self._write(finding.id, finding, etag)
        self.log.append(("finding", finding.rule_id, finding.state))
        return written

    async def everything(self):
        for stored in list(self.rows.values()):
            yield stored.value

    async def waiting(self):
        for finding in self.all:
            if finding.ticket_due and finding.ticket_trouble:
                yield finding

    async def limited(self):
        for finding in self.all:
            if finding.limit:
                yield finding

    @gated
    async def find(self, finding_id):
        return self.rows.get(finding_id)

    @property
    def all(self):
        return [stored.value for stored in self.rows.values()]


class FakeRecords(_Rows):
    def __init__(self, gates, log):
        super().__init__(gates, log)
        self.sweeps = []

    @gated
    async def get(self, hub):
        return self.rows.get(hub)

    @gated
    async def save(self, record, etag):
        return self._write(record.hub, record, etag)

    @gated
    async def forget(self, hub):
        self.rows.pop(hub, None)

    @gated
    async def subscriptions(self):
        return sorted({stored.value.hub.subscription for stored in self.rows.values()})

    async def of_subscription(self, subscription):
        await self.gates.pass_("before FakeRecords.of_subscription")
        for stored in list(self.rows.values()):
            if stored.value.hub.subscription == subscription:
                yield stored.value

    @gated
    async def standing(self, rule_id, counts):
        rows = [row.value for row in self.rows.values() if row.value.looked_at]
        known = [record for record in rows if counts(record.hub, record.tags)]
        return Standing(len(known), frozenset(r.hub for r in known if r.verdicts.get(rule_id) == "drift"))

    @gated
    async def add_sweep(self, record):
        self.sweeps.append(record)

    @gated
    async def last_sweep(self):
        return max(self.sweeps, key=lambda record: record.started_at, default=None)


@dataclass
class Letter:
    due: datetime
    number: int
    queue: Queue
    text: str
    taken: int = 0

    @property
    def message(self):
        return parse(self.queue, self.text)


class FakeWork:
    def __init__(self, gates, log, clock):
        self.gates, self.log, self.clock = gates, log, clock
        self.letters = []
        self.poison = []
        self.sent = []
        self.numbers = itertools.count()

    @gated
    async def send(self, message, *, delay=timedelta(0)):
        assert timedelta(0) <= delay <= timedelta(days=7), delay
        self.put(queue_of(message), message.model_dump_json(), delay)
        self.sent.append((message, delay))
        self.log.append(("send", type(message).__name__, delay))

    @gated
    async def send_to_poison(self, queue, text):
        self.poison.append((queue, text))

    @gated
    async def put_back(self, queue, text, *, delay):
        self.put(queue, text, delay)
        self.log.append(("put back", queue, delay))

    @gated
    async def depths(self):
        return {queue.value: sum(letter.queue is queue for letter in self.letters) for queue in Queue}

    def put(self, queue, text, delay=timedelta(0)):
        self.letters.append(Letter(self.clock.now() + delay, next(self.numbers), queue, text))

    def of(self, kind):
        return [letter.message for letter in self.letters if isinstance(letter.message, kind)]


class FakeAudit:
    """AuditTrail. Each line must be one that docs/audit.schema.json describes."""

    def __init__(self, gates, log):
        self.gates, self.log = gates, log
        self.lines = []
        self.chain, self.head = [], BEGIN
        self.fails = lambda kind, details: False

    @gated
    async def append(self, kind, details):
        entry = Entry(START, str(uuid.uuid4()), kind, details)
        try:
            entry.size()
        except UnwritableEntryError as error:
            raise StorageUnavailableError(f"container hubwarden-audit: {error}") from None
        if self.fails(kind, details):
            raise StorageUnavailableError("blob hubwarden-audit: HTTP 503")
        line, self.head = chained([entry], self.head)
        check_line(line)
        self.chain.append(line)
        self.lines.append((kind, dict(details)))
        self.log.append(("audit", kind, details.get("outcome") or details.get("to")))

    def of(self, kind):
        return [details for said, details in self.lines if said == kind]


class FakeGraveyard:
    def __init__(self, gates):
        self.gates = gates
        self.buried = []

    @gated
    async def bury(self, queue, text, reason):
        self.buried.append((queue, text, reason))
        return f"grave/{len(self.buried)}"


class FakeDeadLetters:
    """What Event Grid could not deliver, by name; each letter is a moment younger than the one before."""

    def __init__(self, gates, clock):
        self.gates, self.clock = gates, clock
        self.blobs, self.aside, self.at = {}, {}, {}
        self.down = False

    def leave(self, content, name=None):
        """Event Grid writes one; events become an array."""
        name = name or f"HUBWARDEN/2026/11/23/9/{uuid.UUID(int=len(self.at))}.json"
        self.blobs[name] = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.at[name] = self.clock.now()
        return name

    def _check(self):
        if self.down:
            raise StorageUnavailableError("container hubwarden-deadletters does not answer")

    @gated
    async def waiting(self, most):
        self._check()
        waiting = sorted((self.at[name], name) for name in self.blobs if name not in self.aside)
        return [DeadLetter(name, len(self.blobs[name]), at, "etag") for at, name in waiting[:most]]

    @gated
    async def count(self):
        self._check()
        waiting = [self.at[name] for name in self.blobs if name not in self.aside]
        return DeadLetterCount(len(waiting), min(waiting, default=None), len(self.aside))

    @gated
    async def read(self, letter):
        self._check()
        return self.blobs.get(letter.name)

    @gated
    async def remove(self, letter):
        self._check()
        self.blobs.pop(letter.name, None)

    @gated
    async def set_aside(self, letter, reason):
        self._check()
        self.aside[letter.name] = reason


class FakeLists:
    """Lists of parts, as a block blob keeps them: staged parts are seen once they are committed."""

    def __init__(self, gates):
        self.gates = gates
        self.staged, self.committed = {}, {}

    @gated
    async def stage(self, name, part, data):
        assert data
        self.staged.setdefault(name, {})[part] = data

    @gated
    async def commit(self, name, parts):
        self.committed[name] = b"".join(self.staged.get(name, {})[part] for part in range(parts))
        return f"lists/{name}"

    async def lines(self, name):
        await self.gates.pass_("before FakeLists.lines")
        for line in self.committed[name].decode().splitlines():
            yield line

    @gated
    async def delete(self, name):
        self.committed.pop(name, None)
        self.staged.pop(name, None)


class FakeOutbox(_Rows):
    """Outbox. Turn ``down`` and storage does not answer."""

    down = False

    def _check(self):
        if self.down:
            raise StorageUnavailableError("table hubwardennotices does not answer")

    @gated
    async def add(self, waiting):
        self._check()
        key = (waiting.channel, waiting.notice)
        old = self.rows.get(key)
        self._write(key, waiting, old.etag if old else None)

    @gated
    async def waiting(self, channel):
        self._check()
        return [stored for (name, _), stored in self.rows.items() if name == channel]

    @gated
    async def save(self, waiting, etag):
        self._check()
        return self._write((waiting.channel, waiting.notice), waiting, etag)

    @gated
    async def remove(self, waiting):
        self.rows.pop((waiting.channel, waiting.notice), None)

    async def troubled(self):
        for stored in list(self.rows.values()):
            if stored.value.trouble:
                yield stored.value


class FakeSchema(_Rows):
    """StateSchema. Versions count from 1; ``older`` rows are left to migrate, ``a_turn`` of them a time."""

    first = 1

    def __init__(self, gates, log, newest=1, older=0):
        super().__init__(gates, log)
        self.newest, self.older, self.a_turn = newest, older, 10
        self.down, self.asked = False, 0

    @gated
    async def record(self):
        self.asked += 1
        if self.down:
            raise StorageUnavailableError("table hubwardensafety: HTTP 503 ServerBusy")
        return self.rows.get("state")

    @gated
    async def save(self, record, etag):
        return self._write("state", record, etag)

    @gated
    async def upgrade(self, clock, until):
        self.older = max(0, self.older - self.a_turn)
        self.log.append(("upgrade", self.older))
        return not self.older


class FakeSafety(_Rows):
    """SafetyStore. Turn ``down`` and storage does not answer."""

    down = False

    def _check(self):
        if self.down:
            raise StorageUnavailableError("table hubwardensafety does not answer")

    @gated
    async def kill(self):
        self._check()
        return self.rows.get("kill")

    @gated
    async def save_kill(self, kill, etag):
        self._check()
        return self._write("kill", kill, etag)

    @gated
    async def stop(self, kill):
        self._check()
        stored = self.rows.get("kill")
        return self._write("kill", kill, stored.etag if stored else None)

    @gated
    async def ledger(self):
        self._check()
        return self.rows.get("ledger")

    @gated
    async def save_ledger(self, ledger, etag):
        self._check()
        return self._write("ledger", ledger, etag)


class FakeChannel:
    """Channel. It keeps what it was sent; ``fails`` is raised instead, while set."""

    def __init__(self):
        self.sent = []
        self.fails = None

    async def send(self, message):
        if self.fails is not None:
            raise self.fails
        self.sent.append(message)

    async def close(self):
        pass


class FakeRemediations:
    """Remediations. Turn ``down`` and storage does not answer."""

    def __init__(self, gates, log):
        self.gates, self.log = gates, log
        self.kept = {}
        self.down = False

    @gated
    async def keep(self, remediation):
        self._check()
        self.kept[remediation.id] = remediation
        self.log.append(("kept", remediation.id, remediation.outcome))

    @gated
    async def find(self, hub, remediation_id):
        self._check()
        found = self.kept.get(remediation_id)
        return found if found is not None and found.hub == hub else None

    async def everything(self):
        self._check()
        for remediation in list(self.kept.values()):
            yield remediation

    async def forget(self, before):
        self.kept = {id_: one for id_, one in self.kept.items() if one.at >= before}

    def _check(self):
        if self.down:
            raise StorageUnavailableError("table hubwardenremediations does not answer")

    @property
    def all(self):
        """The newest first."""
        return sorted(self.kept.values(), key=lambda one: one.at, reverse=True)


class FakeTickets:
    system = "builtin"

    def __init__(self, gates, log):
        self.gates, self.log = gates, log
        self.tickets = {}
        self.turns = _Rows(gates, log)
        self.down = False
        self.error = TransientError("the ticket system is down")

    @gated
    async def open(self, ticket):
        self._check()
        old = self.tickets.get(ticket.key)
        occurrences = 1 if old is None else old.occurrences + (not old.is_open)
        self.tickets[ticket.key] = replace(ticket, occurrences=occurrences)
        self.log.append(("ticket", "open", ticket.key))

    @gated
    async def close(self, key, note, at):
        self._check()
        old = self.tickets.get(key)
        if old is None or not old.is_open:
            return False
        self.tickets[key] = replace(old, is_open=False, closing_note=note, changed_at=at)
        self.log.append(("ticket", "close", key))
        return True

    async def find_by_key(self, key):
        return self.tickets.get(key)

    async def turn(self, key):
        return self.turns.rows.get(key)

    async def save_turn(self, turn, etag):
        return self.turns._write(turn.key, turn, etag)

    def _check(self):
        if self.down:
            raise self.error

    @property
    def open_ones(self):
        return [ticket for ticket in self.tickets.values() if ticket.is_open]


def hub_body(hub, **properties):
    return {
        "id": f"/subscriptions/{hub.subscription}/resourceGroups/RG-Prod"
        f"/providers/Microsoft.Devices/IotHubs/{hub.name}",
        "name": hub.name,
        "type": "Microsoft.Devices/IotHubs",
        "location": "West US",
        "tags": {"team": "flow"},
        "subscriptionid": hub.subscription,
        "resourcegroup": "RG-Prod",
        "etag": "",
        "sku": {"name": "S1", "tier": "Standard", "capacity": 1},
        "somethingNew": {"nobody": ["knows", {"it": None}, 9007199254740993]},
        "properties": {
            "state": "Active",
            "provisioningState": "Succeeded",
            "hostName": f"{hub.name}.azure-devices.net",
            "ipFilterRules": [],
            "minTlsVersion": "1.2",
            "routing": {"fallbackRoute": {"isEnabled": True}},
            "unheardOf": {"deep": {"1": 1.0}},
            **properties,
        },
    }


@dataclass
class Operation:
    """A write that ARM has accepted and not completed."""

    body: dict
    done_at: datetime
    ours: bool


@dataclass
class FakeHub:
    body: dict
    operation: Operation | None = None
    arriving: list = field(default_factory=list)
    gone: bool = False
    listed: bool = True
    occurrence: int = 0
    """How often somebody has made it drift; counts real drifts, whatever hubwarden knows of them."""


@dataclass
class Put:
    """A write by hubwarden that took effect on the hub."""

    at: datetime
    hub: HubId
    before: dict
    body: dict
    etag: str
    occurrence: int


class FakeHubs:
    """ARM, as the recordings tell (RECORDINGS §2, §3, §5)."""

    def __init__(self, world):
        self.world = world
        self.gates, self.log, self.clock = world.gates, world.log, world.clock
        self.hubs = {}
        self.etags = itertools.count(1)
        self.takes = timedelta(seconds=30)
        self.if_match_enforced = True
        self.shows_early = False
        self.effective = []
        self.calls = []
        self.faults = {"get": [], "put": [], "list": []}
        self.fault = lambda kind, hub: None
        self.before_put = lambda hub: None
        self.no_effect = False
        self.solutions = {}
        self.read_only = []
        self.pages = {"devices": [], "devices.modules": []}
        self.facets = {
            "policies": {"policies": []},
            "diagnostics": {
                "settings": [
                    {
                        "name": "theirs",
                        "properties": {
                            "workspaceId": "/w",
                            "logs": [{"categoryGroup": "allLogs", "enabled": True}],
                        },
                    }
                ],
                "categories": {"Connections": ["allLogs"]},
                "destinations": {"/w": "exists"},
            },
        }

    # --- what people do to it
    def add(self, hub=HUB, **properties):
        self.hubs[hub] = FakeHub(hub_body(hub, **properties), occurrence=int(not self._fine(properties)))
        self._new_etag(hub)
        return hub

    def change(self, hub=HUB, path=TLS, value="1.0", by=SOMEBODY):
        """Somebody changes the hub, at once; returns the event that tells of it."""
        state = self.hubs[hub]
        self._settle(hub)
        before = self.compliant(hub)
        state.body = with_value(state.body, path, value)
        if state.operation is not None:
            state.operation.body = with_value(state.operation.body, path, value)
        self._new_etag(hub)
        if before and not self.compliant(hub):
            state.occurrence += 1
        return arm_event(hub, by=by, at=self.clock.now())

    def compliant(self, hub=HUB):
        return self.hubs[hub].gone or self._fine(self.hubs[hub].body["properties"])

    def busy_for(self, hub=HUB, **time):
        """Somebody's own operation runs on the hub."""
        body = copy.deepcopy(self.hubs[hub].body)
        self.hubs[hub].operation = Operation(body, self.clock.now() + timedelta(**time), ours=False)

    @staticmethod
    def _fine(properties):
        return properties.get("minTlsVersion", "1.2") in {"1.2", "1.3"}

    def _new_etag(self, hub):
        self.hubs[hub].body["etag"] = f"AAAA{next(self.etags):06d}M="

    # --- HubPort
    async def list_hubs(self, subscription):
        await self.gates.pass_("before FakeHubs.list_hubs")
        self.calls.append(("list", subscription))
        faults = list(self.faults["list"])
        for error in faults:
            if getattr(error, "subscription", subscription) == subscription and getattr(error, "after", 0) == 0:
                self.faults["list"].remove(error)
                raise error
        self._raise("list", subscription)
        for number, hub in enumerate([hub for hub in self.hubs if hub.subscription == subscription], start=1):
            self._settle(hub)
            if self.hubs[hub].listed and not self.hubs[hub].gone:
                yield copy.deepcopy(self._shown(hub))
            for error in faults:
                if error in self.faults["list"] and getattr(error, "after", 0) == number:
                    self.faults["list"].remove(error)
                    raise error

    @gated
    async def get_hub(self, hub):
        self.calls.append(("get", hub))
        self._raise("get", hub)
        self._settle(hub)
        if hub not in self.hubs or self.hubs[hub].gone:
            raise HubGoneError(f"reading {hub}: 404 404002")
        return copy.deepcopy(self._shown(hub))

    @gated
    async def put_hub(self, hub, body, *, etag, policies=()):
        self.calls.append(("put", hub))
        self.log.append(("put", hub.name, etag))
        self.world.check_allowed(hub, body, etag)
        self.before_put(hub)
        error = self._fault("put", hub)
        if error is not None and not getattr(error, "applied", None):
            raise error
        self._accept(hub, body, etag)
        if error is not None:
            raise error
        return RECEIPT

    @gated
    async def sas_policies(self, hub):
        return self._facet("policies", hub)

    @gated
    async def diagnostics(self, hub):
        return self._facet("diagnostics", hub)

    @gated
    async def put_diagnostic_setting(self, hub, name, properties):
        self.calls.append(("put_diagnostics", hub))
        settings = self.facets["diagnostics"]["settings"]
        settings[:] = [s for s in settings if s["name"] != name] + [{"name": name, "properties": properties}]
        return RECEIPT

    @gated
    async def subscriptions(self):
        self.calls.append(("subscriptions", None))
        if self.faults.get("subscriptions"):
            raise self.faults["subscriptions"].pop(0)
        return sorted({hub.subscription for hub in self.hubs})

    @gated
    async def read_only_scopes(self, subscription):
        self.calls.append(("locks", subscription))
        if self.faults.get("locks"):
            raise self.faults["locks"].pop(0)
        return [scope for scope in self.read_only if scope.split("/")[2] == subscription]

    @gated
    async def security_solutions(self, subscription, *, since):
        self.calls.append(("solutions", subscription))
        if self.faults.get("defender"):
            raise self.faults["defender"].pop(0)
        bodies = [body for id_, body in self.solutions.items() if id_.split("/")[2] == subscription]
        return {"solutions": copy.deepcopy(bodies)}

    @gated
    async def put_security_solution(self, solution, before, after):
        self.calls.append(("put_solution", solution))
        if self.solutions.get(solution) != before:
            raise ConflictError(f"writing {solution}: it is not as it was")
        name = solution.rsplit("/", 1)[1]
        self.solutions[solution] = {**(before or {"id": solution, "name": name}), **copy.deepcopy(after)}
        return RECEIPT

    @gated
    async def query_devices(self, host, query, continuation=None):
        """``self.pages`` maps the source of a query (devices, devices.modules) to its pages of rows."""
        self.calls.append(("query", host))
        if self.faults.get("query"):
            raise self.faults["query"].pop(0)
        pages = self.pages["devices.modules" if "devices.modules" in query else "devices"] or [[]]
        at = int(continuation or 0)
        return Page(copy.deepcopy(pages[at]), str(at + 1) if at + 1 < len(pages) else None)

    def _facet(self, kind, hub):
        self.calls.append((kind, hub))
        if self.faults.get(kind):
            raise self.faults[kind].pop(0)
        return copy.deepcopy(self.facets[kind])

    def _accept(self, hub, body, etag):
        self._settle(hub)
        state = self.hubs.get(hub)
        if state is None or state.gone:
            raise HubGoneError(f"writing {hub}: 404")
        if state.operation is not None:
            raise ConflictError(f"writing {hub}: 409 409002: the hub is not Active")
        if self.if_match_enforced and etag != state.body["etag"]:
            raise ConflictError(f"writing {hub}: 412 412001: invalid etag")
        body = copy.deepcopy(body)
        self.effective.append(
            Put(self.clock.now(), hub, copy.deepcopy(state.body), copy.deepcopy(body), etag, state.occurrence)
        )
        self.world.check_effective(hub)
        if self.no_effect:
            body = copy.deepcopy(state.body)
        state.operation = Operation(body, self.clock.now() + self.takes, ours=True)

    def _shown(self, hub):
        state = self.hubs[hub]
        if state.operation is None:
            return state.body
        shown = copy.deepcopy(state.operation.body if self.shows_early else state.body)
        shown["etag"] = state.body["etag"]
        shown["properties"]["state"] = shown["properties"]["provisioningState"] = "Transitioning"
        return shown

    def _settle(self, hub):
        state = self.hubs.get(hub)
        if state is not None and state.operation is not None and state.operation.done_at <= self.clock.at:
            state.body, state.operation = state.operation.body, None
            state.body["properties"] |= {"state": "Active", "provisioningState": "Succeeded"}
            self._new_etag(hub)

    def _fault(self, kind, hub):
        return self.faults[kind].pop(0) if self.faults[kind] else self.fault(kind, hub)

    def _raise(self, kind, hub):
        error = None if kind == "list" else self._fault(kind, hub)
        error = error or (self.fault(kind, hub) if kind == "list" else None)
        if error is not None:
            raise error

    def count(self, kind):
        return sum(call[0] == kind for call in self.calls)


def arm_event(hub=HUB, *, by=SOMEBODY, at=START, kind="Microsoft.Resources.ResourceWriteSuccess", **more):
    """As Event Grid sends it, in its own schema."""
    return {
        "id": "5c1f1d3c-0000-0000-0000-000000000000",
        "topic": f"/subscriptions/{hub.subscription}",
        "subject": hub.path.upper(),
        "eventType": kind,
        "eventTime": at.isoformat(),
        "data": {
            "authorization": {"action": "Microsoft.Devices/IotHubs/write", "evidence": {"principalId": by}},
            "claims": {OID: by, "appid": "04b07795-0000-0000-0000-000000000046", "name": "Jo Doe"},
            "operationName": "Microsoft.Devices/IotHubs/write",
            "resourceUri": hub.path.upper(),
            **more,
        },
    }


def policy(mode="auto", *, subscriptions=(SUB, SUB2), more="", rules=RULES):
    modes = mode if isinstance(mode, dict) else {rule.id: mode for rule in rules}
    text = "version: 1\nsubscriptions: [" + ", ".join(subscriptions) + "]\nrules:\n"
    text += "".join(f"  {rule}: {{mode: {wanted}}}\n" for rule, wanted in modes.items()) + more
    made, problems = check_policy(text, rules, today=START.date())
    assert made is not None, problems
    return made


class World:
    """Ports over fakes, and the host: delivers what is due, again after a failure, to poison after five."""

    def __init__(self, mode="auto", *, rules=RULES, remediators=REMEDIATORS, timings=None, more="", seed=None):
        self.gates, self.log, self.clock = Gates(), [], FakeClock()
        self.rules, self.remediators = rules, remediators
        self.timings = timings or Timings()
        self.findings = FakeFindings(self.gates, self.log)
        self.records = FakeRecords(self.gates, self.log)
        self.work = FakeWork(self.gates, self.log, self.clock)
        self.audit = FakeAudit(self.gates, self.log)
        self.graveyard = FakeGraveyard(self.gates)
        self.dead_letters = FakeDeadLetters(self.gates, self.clock)
        self.tickets = FakeTickets(self.gates, self.log)
        self.lists = FakeLists(self.gates)
        self.remediations = FakeRemediations(self.gates, self.log)
        self.outbox = None
        self.channels = {}
        self.links = None
        self.safety = FakeSafety(self.gates, self.log)
        self.schema = FakeSchema(self.gates, self.log)
        self.kill_setting = False
        self.hubs = FakeHubs(self)
        self.policy = policy(mode, rules=rules, more=more)
        self.violations = []
        self.errors = []
        self.killed = []
        self.random = None if seed is None else random.Random(seed)
        self.deliver_twice = 0.0
        self.graves = []

    @property
    def ports(self):
        return Ports(
            hubs=self.hubs, findings=self.findings, records=self.records, work=self.work, audit=self.audit,
            graveyard=self.graveyard, lists=self.lists, tickets=self.tickets, clock=self.clock, policy=self.policy,
            rules=self.rules, remediators=self.remediators, timings=self.timings, outbox=self.outbox,
            channels=self.channels, links=self.links, remediations=self.remediations,
            safety=self.safety, kill_setting=self.kill_setting,
        )  # fmt: skip

    # --- what must never happen, looked at while it would
    def check_allowed(self, hub, body, etag):
        """A write needs a decision that allowed it, a claim on it, and an audit line before it."""
        claims = [f for f in self.findings.all if f.hub == hub and f.attempt and f.attempt.etag == etag]
        if not any(f.state is State.EXECUTING for f in claims):
            self.violations.append(f"a write of {hub} without a claim")
        for finding in claims:
            line = [step.event for step in finding.history]
            if not {Event.FIX, Event.APPROVE} & {*line}:
                self.violations.append(f"a write of {hub} without a decision that allows it")
        told = [line for line in self.audit.of("write") if line["hub"] == hub.path and line["etag"] == etag]
        if not told or told[-1]["outcome"] != "about to be sent":
            self.violations.append(f"a write of {hub} without an audit line")
        kept = [(self.remediations.kept.get(claim.attempt.remediation), claim) for claim in claims]
        if not all(one is not None and one.plan == claim.attempt.digest for one, claim in kept):
            self.violations.append(f"a write of {hub} of which nothing is kept")
        for finding in claims:
            held = [f for f in self.findings.all if finding.rollback and f.id in finding.rollback.findings]
            if finding.rollback and (not held or any(f.hold is None for f in held)):
                self.violations.append(f"a rollback of {hub} that the next sweep would undo")
        verifies = [m for m in self.work.of(VerifyMessage) if m.hub == hub.path]
        if not any(claim.attempt.digest == message.digest for claim in claims for message in verifies):
            self.violations.append(f"a write of {hub} that nobody would look after")
        if not self.policy.watches(hub):
            self.violations.append(f"a write of {hub}, which is not watched")

    def check_effective(self, hub):
        if any(f.rollback and f.state is State.EXECUTING for f in self.findings.all if f.hub == hub):
            return
        if self.compliant_before(hub):
            self.violations.append(f"{hub} was compliant and was written")
        put = self.hubs.effective[-1]
        earlier = [p for p in self.hubs.effective[:-1] if p.hub == hub and p.occurrence == put.occurrence]
        if earlier and not self.hubs.no_effect:
            self.violations.append(f"{hub} was written twice for one drift")

    def compliant_before(self, hub):
        return self.rules is RULES and self.hubs.compliant(hub)

    # --- what happens
    async def event(self, event):
        await route_event(event, own=OWN, work=self.work, records=self.records, clock=self.clock)

    async def drift(self, hub=HUB, **change):
        await self.event(self.hubs.change(hub, **change))

    async def sweep(self):
        result = await sweep(self.ports)
        await wake(self.ports)
        return result

    async def handle(self, message):  # noqa: PLR0911
        match message:
            case EvaluateMessage():
                return await evaluate(self.ports, message)
            case SweepMessage():
                return await sweep(self.ports, message)
            case TurnMessage():
                return await turns(self.ports)
            case RemediateMessage():
                return await remediate(self.ports, message)
            case VerifyMessage():
                return await verify(self.ports, message)
            case CensusMessage():
                return await census(self.ports, message)
            case TicketMessage():
                await settle_late(self.ports, message)
            case NotifyMessage():
                await deliver(self.ports, message)
        return None

    async def deliver(self, letter):
        """As the host does: gone once handled, back in ten seconds after a failure, poisoned after the fifth."""
        try:
            message = parse(letter.queue, letter.text)
        except MalformedMessageError:
            self.work.poison.append((letter.queue, letter.text))
            return
        try:
            await self.handle(message)
        except Killed as error:
            self.killed.append(error)
        except BaseExceptionGroup as group:
            killed, other = group.split(Killed)
            (self.killed if killed else self.errors).append(group)
            if other is not None and not isinstance(other, Exception | ExceptionGroup):
                raise
        except Exception as error:
            self.errors.append(error)
        else:
            return
        letter.taken += 1
        if letter.taken >= 5:
            self.work.poison.append((letter.queue, letter.text))
            self.graves.append((letter.queue, letter.text))
            await self.bury_what_is_poisoned()
            return
        letter.due = self.clock.at + timedelta(seconds=10)
        self.work.letters.append(letter)

    async def bury_what_is_poisoned(self):
        for queue, text in list(self.graves):
            try:
                await bury(queue, text, graveyard=self.graveyard, audit=self.audit)
            except (Killed, StorageUnavailableError):
                continue  # the host delivers it again
            if (queue, text) in self.graves:  # another worker may have been quicker
                self.graves.remove((queue, text))

    async def run(self, *, until=None, most=3000, workers=1):
        """Deliver what is due, and turn the clock to what is due next, until nothing is left or time is up."""
        end = None if until is None else self.clock.at + until
        for _ in range(most):
            if not self.work.letters:
                break
            soonest = min(letter.due for letter in self.work.letters)
            if soonest > self.clock.at:
                if end is not None and soonest > end:
                    break
                self.clock.at = soonest
            due = [letter for letter in self.work.letters if letter.due <= self.clock.at]
            due.sort(key=lambda letter: (letter.due, letter.number))
            if self.random is not None:
                self.random.shuffle(due)
            taken = due[:workers]
            for letter in taken:
                self.work.letters.remove(letter)
            if self.random is not None and self.random.random() < self.deliver_twice:
                taken.append(replace(taken[0]))
            await asyncio.gather(*map(self.deliver, taken))
        else:
            raise AssertionError(f"it never comes to rest: {self.log[-30:]}")
        if end is not None:
            self.clock.at = max(self.clock.at, end)

    async def live(self, *, hours=1.0, workers=1, step=timedelta(minutes=15)):
        """Time passes, with a sweep at each step."""
        for _ in range(round(timedelta(hours=hours) / step)):
            await self.run(until=step, workers=workers)
            try:
                await self.sweep()
            except Killed as error:
                self.killed.append(error)
            except Exception as error:
                self.errors.append(error)
            except BaseExceptionGroup as group:
                self.killed.append(group)
        await self.run(until=step, workers=workers)

    # --- what one looks at
    def finding(self, hub=HUB, rule="tls-minimum"):
        found = [f for f in self.findings.all if f.hub == hub and f.rule_id == rule and f.rollback is None]
        assert len(found) <= 1
        return found[0] if found else None

    def rollback(self, hub=HUB):
        found = [f for f in self.findings.all if f.hub == hub and f.rollback is not None]
        assert len(found) <= 1
        return found[0] if found else None

    def state(self, hub=HUB):
        finding = self.finding(hub)
        return None if finding is None else finding.state

    def events(self, hub=HUB):
        return [step.event.value for step in self.finding(hub).history]

    def record(self, hub=HUB):
        stored = self.records.rows.get(hub)
        return stored.value if stored else None

    def tls(self, hub=HUB):
        self.hubs._settle(hub)
        return get_at(self.hubs.hubs[hub].body, TLS)

    def in_flight(self):
        return [finding for finding in self.findings.all if finding.state in IN_FLIGHT]


OWN = Actor(object_id="11111111-2222-3333-4444-555555555555", app_id="66666666-2222-3333-4444-555555555555")


def ask(hub=HUB, at=None, **more):
    """A message to look at the hub."""
    return EvaluateMessage(hub=hub.path, asked_at=at or START, cause="test", **more)
