"""The composition root: every collaborator is a keyword with a production default."""

from __future__ import annotations

import asyncio
import logging

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

from detectors import RULES
from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.adapters.azure.identity import make_credential, own_identity
from hubwarden.adapters.azure.read_only import ReadOnlyHubs
from hubwarden.adapters.azure.redaction import safe_text
from hubwarden.adapters.counted_audit import CountedAudit
from hubwarden.adapters.ncrontab import next_due
from hubwarden.adapters.notify.make import make_channels
from hubwarden.adapters.policy_file import PolicyFile
from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.audit import BlobAudit
from hubwarden.adapters.storage.dead_letters import BlobDeadLetters
from hubwarden.adapters.storage.findings import TableFindings
from hubwarden.adapters.storage.graveyard import BlobGraveyard
from hubwarden.adapters.storage.hubs import TableHubs
from hubwarden.adapters.storage.lists import BlobLists
from hubwarden.adapters.storage.nonces import TableNonces
from hubwarden.adapters.storage.outbox import TableOutbox
from hubwarden.adapters.storage.queues import QueueWork
from hubwarden.adapters.storage.remediations import TableRemediations
from hubwarden.adapters.storage.safety import TableSafety
from hubwarden.adapters.storage.schema import TableSchema
from hubwarden.adapters.storage.trail import BlobTrail
from hubwarden.adapters.telemetry import make_telemetry
from hubwarden.adapters.tickets.builtin import BuiltinTickets
from hubwarden.adapters.tickets.foreign import ForeignTickets
from hubwarden.adapters.tickets.make import make_tickets
from hubwarden.domain.census import CensusSettings
from hubwarden.domain.channels import Notify
from hubwarden.domain.finding import Actor
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.limits import Kill
from hubwarden.domain.policy import ALL, Policy
from hubwarden.domain.rule import Remediator, Rule
from hubwarden.domain.snapshot import Facet
from hubwarden.domain.targets import Tickets
from hubwarden.service import operate
from hubwarden.service.advice import advice
from hubwarden.service.bury import bury
from hubwarden.service.census import census
from hubwarden.service.dead_letters import read_back
from hubwarden.service.desk import settle_late
from hubwarden.service.errors import StateNewerError, StorageUnavailableError
from hubwarden.service.evaluate import evaluate
from hubwarden.service.events import Ignored
from hubwarden.service.exemptions import tell_ends
from hubwarden.service.expire import expire
from hubwarden.service.gate import read_kill
from hubwarden.service.health import health, misfit_health
from hubwarden.service.invocation import function_of, invoked, invoked_by
from hubwarden.service.messages import (
    CensusMessage,
    EvaluateMessage,
    MalformedMessageError,
    Message,
    NewerMessageError,
    NotifyMessage,
    Queue,
    RemediateMessage,
    SweepMessage,
    TicketMessage,
    TurnMessage,
    VerifyMessage,
    parse,
)
from hubwarden.service.notify import deliver, wake
from hubwarden.service.ports import (
    AuditReader,
    AuditTrail,
    Channel,
    Clock,
    DeadLetters,
    FindingStore,
    Graveyard,
    HubPort,
    HubStore,
    Lists,
    Nonces,
    Outbox,
    Ports,
    Remediations,
    SafetyStore,
    StateSchema,
    SweepRecord,
    TicketSystem,
    Timings,
    WorkQueue,
)
from hubwarden.service.remediate import remediate
from hubwarden.service.route_device_event import OF_HUBS, read_device_event, route_device_event
from hubwarden.service.route_event import route_event
from hubwarden.service.snapshots import forget_old
from hubwarden.service.state import Misfit, StateGate
from hubwarden.service.sweep import sweep
from hubwarden.service.telemetry import EVENTS, FAILURES, SWEEPS, Telemetry
from hubwarden.service.totals import Totals
from hubwarden.service.turns import turns
from hubwarden.service.verify import verify
from hubwarden.settings import Settings
from hubwarden.web.hook import hook_unavailable
from hubwarden.web.links import Links
from hubwarden.web.requests import Answer, Request
from hubwarden.web.routes import Door, answered, decided, decided_by_program, unavailable
from remediators import REMEDIATORS


if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


log = logging.getLogger(__name__)

_NOT_READY_FOR: Final = timedelta(minutes=5)


class PolicyUnusableError(Exception):
    """The policy file cannot be used; the message says why, line by line."""


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)


class Hubwarden:
    """The service, composed: one per process, its clients made on first use.

    Raises:
        SettingsError, ValueError: a setting is missing or wrong; the message names it.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        credential: AsyncTokenCredential | None = None,
        account: StorageAccount | None = None,
        hubs: HubPort | None = None,
        findings: FindingStore | None = None,
        records: HubStore | None = None,
        work: WorkQueue | None = None,
        audit: AuditTrail | None = None,
        audit_reader: AuditReader | None = None,
        graveyard: Graveyard | None = None,
        dead_letters: DeadLetters | None = None,
        lists: Lists | None = None,
        tickets: TicketSystem | None = None,
        remediations: Remediations | None = None,
        outbox: Outbox | None = None,
        channels: Mapping[str, Channel] | None = None,
        nonces: Nonces | None = None,
        safety: SafetyStore | None = None,
        state: StateSchema | None = None,
        clock: Clock | None = None,
        telemetry: Telemetry | None = None,
        rules: Sequence[Rule] = RULES,
        remediators: Mapping[str, Remediator] = REMEDIATORS,
    ) -> None:
        self.settings = Settings.read(env)
        for warning in self.settings.warnings:
            log.warning("%s", warning)
        self._given_credential = credential
        self._given_hubs = hubs
        self._rules = rules
        self._remediators = remediators
        self._clock = clock or SystemClock()
        self.telemetry = telemetry or make_telemetry(env)
        self._account = account = account or StorageAccount(
            env, lambda: self._credential, suffix=self.settings.cloud.storage_suffix
        )
        self._findings = findings or TableFindings(account)
        self._records = records or TableHubs(account)
        self._work = work or QueueWork(account, self.telemetry)
        self._audit = CountedAudit(audit or BlobAudit(account, self._clock), self.telemetry)
        self.audit_reader: AuditReader = audit_reader or BlobTrail(account)
        self._graveyard = graveyard or BlobGraveyard(account, self._clock)
        self._dead_letters = dead_letters or BlobDeadLetters(account)
        self._lists = lists or BlobLists(account)
        self._remediations = remediations or TableRemediations(account)
        self._env, self._given_tickets, self._given_channels = env, tickets, channels
        self._outbox = outbox or TableOutbox(account)
        self._old_tickets: list[TicketSystem] = []
        self._old_channels: list[Channel] = []
        self._file = PolicyFile(self.settings.policy_file, rules, self._clock)
        found = self._file.look(first=True)
        self._tickets = self._make_tickets(found.tickets if found else Tickets())
        self._channels = self._make_channels(found.notify if found else Notify())
        if found is not None:
            self._file.keep(found)
        self._nonces = nonces or TableNonces(account)
        self._safety = safety or TableSafety(account)
        self._state = StateGate(state or TableSchema(account), self._clock)
        self._own: Actor | None = None
        if self._policy_problems:
            level = logging.WARNING if self._policy else logging.ERROR
            log.log(level, "the policy file:\n%s", _told(self._policy_problems))

    @property
    def _policy(self) -> Policy | None:
        return self._file.policy

    @property
    def _policy_problems(self) -> str:
        return self._file.problems

    def _make_tickets(self, targets: Tickets) -> TicketSystem:
        return self._given_tickets or make_tickets(targets, self._env, BuiltinTickets(self._account))

    def _make_channels(self, notify: Notify) -> Mapping[str, Channel]:
        return (
            make_channels(notify, self._env, self._token) if self._given_channels is None else self._given_channels
        )

    async def _refresh(self) -> None:
        """Use the policy file as it is by now; one that turned bad changes nothing, and health says so."""
        before = self._file.problems
        found = await asyncio.to_thread(self._file.look)
        if found is not None:
            self._use(found)
        if self._file.problems and self._file.problems != before:
            log.error("%s", _told(self._file.problems))

    def _use(self, policy: Policy) -> None:
        """Take up a policy. Work that is under way goes on with the one with which it began."""
        before = self._policy
        tickets, channels = self._tickets, self._channels
        if policy.tickets != (before.tickets if before else Tickets()):
            tickets = self._make_tickets(policy.tickets)
        if policy.notify != (before.notify if before else Notify()):
            channels = self._make_channels(policy.notify)
        if tickets is not self._tickets:
            self._old_tickets.append(self._tickets)
        if channels is not self._channels:
            self._old_channels.extend(self._channels.values())
        self._tickets, self._channels = tickets, channels
        self._file.keep(policy)
        for made in ("_ports", "_door"):
            self.__dict__.pop(made, None)
        log.warning("the policy file has changed and is in use as it is now")

    @property
    def not_ready(self) -> str | None:
        """Why nothing is judged or fixed for now, or None."""
        return None if self._policy is not None else self._policy_problems

    async def on_event(self, event: Mapping[str, Any], invocation: str = "") -> None:
        """An Event Grid event arrived. It is kept even while the policy file is broken.

        ``invocation``, here and elsewhere, is the id that the host gave this invocation of a function.
        """
        with invoked(self.telemetry, "on_azure_event", invocation, span="route_event"):
            await self._on_event(event)

    async def _on_event(self, event: Mapping[str, Any]) -> None:
        own = self._own or await own_identity(self._credential, self.settings.cloud)
        if own != Actor():
            self._own = own  # where no token was to be had, the next event asks again
        emails = self._policy is not None and self._policy.keep_emails
        await route_event(
            event,
            own=own,
            work=self._work,
            records=self._records,
            clock=self._clock,
            emails=emails,
            telemetry=self.telemetry,
        )

    async def on_device_event(self, event: Mapping[str, Any], invocation: str = "") -> None:
        """A hub's own event arrived: a device was created. It is kept even while the policy file is broken.

        Raises:
            StorageUnavailableError: it is to be delivered again, for it cannot be noted down now.
        """
        with invoked(self.telemetry, "on_device_event", invocation, span="route_device_event"):
            await self._on_device_event(event)

    async def _on_device_event(self, event: Mapping[str, Any]) -> None:
        rule = self._rule_of_devices
        if self._policy and (rule is None or not self._policy.is_on(rule.id)):
            log.info("event %s ignored: no rule that is on asks for devices", str(event.get("id"))[:100])
            self.telemetry.count(EVENTS, outcome="ignored")
            return
        if misfit := await self._state.misfit():
            raise StorageUnavailableError(str(misfit))
        await route_device_event(
            event,
            records=self._records,
            work=self._work,
            clock=self._clock,
            grace=await self._grace(read_device_event(event)),
            telemetry=self.telemetry,
        )

    async def on_dead_letters(self, invocation: str = "") -> None:
        """It is time to read back what Event Grid could not deliver. The policy file may be broken meanwhile."""
        with invoked(self.telemetry, "dead_letters", invocation):
            await self._refresh()
            await read_back(self._dead_letters, route=self._route, audit=self._audit, clock=self._clock)

    async def _route(self, event: Mapping[str, Any]) -> None:
        """An event goes the way of its kind, as the event subscriptions send it."""
        self.telemetry.count(EVENTS, outcome="dead_letter")
        kind = event.get("eventType") or event.get("type")
        if isinstance(kind, str) and kind.startswith(OF_HUBS):
            with self.telemetry.span("route_device_event", {}):
                await self._on_device_event(event)
        else:
            with self.telemetry.span("route_event", {}):
                await self._on_event(event)

    async def on_sweep(self, invocation: str = "") -> None:
        """It is time for a sweep."""
        with invoked(self.telemetry, "sweep", invocation):
            await self._sweep()

    async def _sweep(self) -> None:
        await self._refresh()
        if self.not_ready is not None:
            log.error("no sweep, the policy file cannot be used:\n%s", _told(self.not_ready))
            if not await self._state.misfit():
                await self._no_sweep("policy", self.not_ready)
            return
        if misfit := await self._state.misfit(migrate=True):
            log.error("no sweep: %s", misfit)
            self.telemetry.count(SWEEPS, complete="false")
            if misfit.passes:
                await self._work.send(SweepMessage(subscription=ALL), delay=misfit.wait)
            return
        try:
            await sweep(self._ports)
        except Exception as error:
            await self._no_sweep("sweep", f"it broke off: {type(error).__name__}: {error}")
            raise
        totals = Totals(self._ports)
        await expire(self._ports, totals.count)
        await totals.report()
        await tell_ends(self._ports)
        await wake(self._ports)
        await forget_old(self._ports)
        if self.settings.webhook_keys:
            await self._nonces.forget(self._clock.now())

    async def _no_sweep(self, what: str, why: str) -> None:
        """Let health say so, as far as storage lets us."""
        now = self._clock.now()
        self.telemetry.count(SWEEPS, complete="false")
        with suppress(StorageUnavailableError):
            await self._records.add_sweep(SweepRecord((), now, now, 0, 0, 0, {what: why}))

    async def on_message(self, queue: Queue, text: str, invocation: str = "") -> None:
        """Do the work that a message asks for. What is no message goes to the poison queue at once.

        What a newer version of hubwarden sent or stored is left to that version: the message comes back later.
        """
        try:
            message = parse(queue, text)
        except NewerMessageError as error:
            with invoked(self.telemetry, function_of(queue), invocation):
                log.error("%s: it comes back later", error)  # noqa: TRY400 - one line says it
                self.telemetry.count(FAILURES, function=function_of(queue))  # for an alert: it circles till then
                await self._work.put_back(queue, text, delay=_NOT_READY_FOR)
            return
        except MalformedMessageError as error:
            with invoked(self.telemetry, function_of(queue), invocation):
                log.error("%s", error)  # noqa: TRY400 - one line says it
                await self._work.send_to_poison(queue, text)
            return
        with invoked_by(self.telemetry, message, queue, invocation):
            await self._work_on(queue, text, message)

    async def _work_on(self, queue: Queue, text: str, message: Message) -> None:
        """Do what a message asks for, or put it back until that may be done."""
        await self._refresh()
        if self.not_ready is not None:
            log.error("nothing is done about a message of %s, the policy file cannot be used:\n%s",
                      queue, _told(self.not_ready))  # fmt: skip
            await self._work.send(message, delay=_NOT_READY_FOR)
            return
        if misfit := await self._state.misfit(migrate=True):
            log.error("nothing is done about a message of %s for now: %s", queue, misfit)
            await self._work.put_back(queue, text, delay=misfit.wait)
            return
        try:
            await self._do(message)
        except StateNewerError as error:
            self._state.doubt()
            if not await self._state.misfit():
                raise  # no newer version is at work: one odd row, which is buried as a damaged one is
            log.error("nothing is done about a message of %s for now: %s", queue, error)  # noqa: TRY400
            await self._work.put_back(queue, text, delay=_NOT_READY_FOR)

    async def on_poison(self, queue: Queue, text: str, invocation: str = "") -> None:
        """A message came to the poison queue."""
        with invoked(self.telemetry, function_of(queue, poison=True), invocation):
            await bury(queue, text, graveyard=self._graveyard, audit=self._audit, telemetry=self.telemetry)

    async def on_page(self, request: Request, invocation: str = "") -> Answer:
        """Somebody, or a mail scanner, opens the page of a link."""
        with invoked(self.telemetry, "approval", invocation):
            if why := await self._undecidable():
                return unavailable(why)
            return await answered(self._door.show(request))

    async def on_decision(self, request: Request, invocation: str = "") -> Answer:
        """Somebody decides on the page of a link."""
        with invoked(self.telemetry, "decision", invocation):
            if why := await self._undecidable():
                return unavailable(why)
            return await decided(self._door.decide(request))

    async def on_webhook(self, request: Request, invocation: str = "") -> Answer:
        """A program sends somebody's decision."""
        with invoked(self.telemetry, "webhook", invocation):
            if why := await self._undecidable():
                return hook_unavailable(why)
            return await decided_by_program(self._door.hook(request))

    async def _undecidable(self) -> str | None:
        """Why nobody can decide anything for now, or None."""
        await self._refresh()
        if self.not_ready:
            return "no policy"
        misfit = await self._state.misfit()
        return str(misfit) if misfit else None

    async def on_health(self, invocation: str = "") -> Mapping[str, Any]:
        """Somebody asks how things are."""
        with invoked(self.telemetry, "health", invocation):
            return await self._health()

    async def _health(self) -> Mapping[str, Any]:
        await self._refresh()
        warnings = list(self.settings.warnings)
        if self._policy and self._policy_problems:
            warnings.append(self._policy_problems)
        if misfit := await self._state.misfit():
            return misfit_health(str(misfit), warnings)
        if self._policy is not None:
            warnings += advice(self._policy, signs_in=self.settings.signs_in)
        return await health(
            self._records,
            self._findings,
            self._work,
            self._clock,
            next_sweep=lambda after: next_due(self.settings.sweep_schedule, after),
            not_ready=self.not_ready,
            warnings=warnings,
            enforcement=self._policy.enforcement if self._policy else None,
            outbox=self._outbox if self._channels else None,
            safety=self._safety,
            kill=await read_kill(self._safety, self._clock, setting=self.settings.kill),
            dead_letters=self._dead_letters,
        )

    @property
    def _rule_of_devices(self) -> Rule | None:
        return next((rule for rule in self._rules if Facet.DEVICES in rule.reads), None)

    async def _grace(self, hub: HubId | Ignored) -> timedelta:
        """How long new devices of the hub have before they are counted; the default while the file is broken."""
        rule, settings = self._rule_of_devices, CensusSettings()
        if self._policy and rule and not isinstance(hub, Ignored):
            known = await self._records.get(hub)
            found = self._policy.settings_of(rule, hub, known.value.tags if known else None)
            assert isinstance(found, CensusSettings)
            settings = found
        return timedelta(minutes=settings.grace_minutes)

    async def misfit(self) -> Misfit | None:
        """Why what is stored is not to be changed by this version, or None."""
        return await self._state.misfit()

    async def kill(self, *, by: str, reason: str) -> Kill:
        """See operate.kill: for the command line, whatever becomes of the policy file."""
        return await operate.kill(self._safety, self._audit, self._clock, by=by, reason=reason)

    @property
    def ports(self) -> Ports:
        """The use cases' world, for the command line.

        Raises:
            PolicyUnusableError: the policy file cannot be used.
        """
        if self.not_ready is not None:
            raise PolicyUnusableError(self.not_ready)
        return self._ports

    async def close(self) -> None:
        """Close every connection; nothing can be used afterwards."""
        await self._account.close()
        for tickets in (self._tickets, *self._old_tickets):
            if isinstance(tickets, ForeignTickets):
                await tickets.shut_down()
        for channel in (*self._channels.values(), *self._old_channels):
            await channel.close()
        if "_arm" in self.__dict__ and isinstance(self._arm, ArmHubs):
            await self._arm.close()
        if "_credential" in self.__dict__:
            await self._credential.close()

    async def _do(self, message: Message) -> None:
        match message:
            case EvaluateMessage():
                await evaluate(self._ports, message)
            case SweepMessage():
                await sweep(self._ports, message)
            case TurnMessage():
                await turns(self._ports)
            case RemediateMessage():
                await remediate(self._ports, message)
            case VerifyMessage():
                await verify(self._ports, message)
            case CensusMessage():
                await census(self._ports, message)
            case TicketMessage():
                await settle_late(self._ports, message)
            case NotifyMessage():
                await deliver(self._ports, message)

    @cached_property
    def _ports(self) -> Ports:
        assert self._policy is not None
        return Ports(
            hubs=ReadOnlyHubs(self._arm) if self._policy.observes else self._arm,
            findings=self._findings,
            records=self._records,
            work=self._work,
            audit=self._audit,
            graveyard=self._graveyard,
            lists=self._lists,
            tickets=self._tickets,
            remediations=self._remediations,
            safety=self._safety,
            clock=self._clock,
            policy=self._policy,
            rules=self._rules,
            remediators=self._remediators,
            timings=Timings(claim=self.settings.claim),
            outbox=self._outbox if self._channels else None,
            channels=self._channels,
            links=self._links,
            ticket_links=self._links if self._links_are_safe_in_tickets else None,
            kill_setting=self.settings.kill,
            telemetry=self.telemetry,
        )

    @cached_property
    def _arm(self) -> HubPort:
        return self._given_hubs or _arm_hubs(self.settings.cloud, self._credential, self.telemetry)

    @property
    def _links_are_safe_in_tickets(self) -> bool:
        """Strangers may read tickets elsewhere: a link must be of no use to who is not signed in with a role."""
        assert self._policy is not None
        proven = self.settings.signs_in and bool(self._policy.approvals.required_roles)
        return proven or self._policy.tickets.target == "builtin"

    @cached_property
    def _links(self) -> Links | None:
        keys, url = self.settings.approval_keys, self.settings.public_url
        return Links(keys, url) if keys and url else None

    @cached_property
    def _door(self) -> Door:
        return Door(
            self._ports,
            links=self._links,
            hook_keys=self.settings.webhook_keys,
            nonces=self._nonces,
            signs_in=self.settings.signs_in,
        )

    async def _token(self, scope: str) -> str:
        return (await self._credential.get_token(scope)).token

    @cached_property
    def _credential(self) -> AsyncTokenCredential:
        return self._given_credential or make_credential(self.settings.cloud)


def _told(problems: str) -> str:
    """What is wrong with the policy file, for the log; the health page and the command line say it in full."""
    return "\n".join(safe_text(line) for line in problems.splitlines())


def _arm_hubs(cloud: Cloud, credential: AsyncTokenCredential, telemetry: Telemetry) -> ArmHubs:
    from azure.core.pipeline.transport import AioHttpTransport  # noqa: PLC0415 - cold start

    # With use_env_settings, aiohttp reads the environment and .netrc again for every request: decide once.
    behind_proxy = bool(getproxies())
    transport = AioHttpTransport(use_env_settings=behind_proxy, connection_timeout=10, read_timeout=30)
    return ArmHubs(cloud, credential, transport, telemetry=telemetry)
