"""The composition root: every collaborator is a keyword with a production default."""

from __future__ import annotations

import logging

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING
from urllib.request import getproxies

from detectors import RULES
from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.adapters.azure.identity import make_credential, own_identity
from hubwarden.adapters.azure.read_only import ReadOnlyHubs
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
from hubwarden.domain.limits import Kill
from hubwarden.domain.policy import Policy
from hubwarden.domain.rule import Remediator, Rule
from hubwarden.entrances.approvals import Approvals
from hubwarden.entrances.events import Events
from hubwarden.entrances.health import Health
from hubwarden.entrances.messages import Messages
from hubwarden.entrances.policy import PolicyInUse
from hubwarden.entrances.sweep import Sweeps
from hubwarden.service import operate
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
    TicketSystem,
    Timings,
    WorkQueue,
)
from hubwarden.service.state import Misfit, StateGate
from hubwarden.service.telemetry import Telemetry
from hubwarden.settings import Settings
from hubwarden.web.links import Links
from remediators import REMEDIATORS


if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


log = logging.getLogger(__name__)


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
        self.settings = settings = Settings.read(env)
        for warning in settings.warnings:
            log.warning("%s", warning)
        self._given_credential, self._given_hubs = credential, hubs
        self._rules, self._remediators = rules, remediators
        self._clock = clock or SystemClock()
        self.telemetry = telemetry or make_telemetry(env)
        self._account = account = account or StorageAccount(
            env, lambda: self._credential, suffix=settings.cloud.storage_suffix
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
        self._outbox = outbox or TableOutbox(account)
        self._nonces = nonces or TableNonces(account)
        self._safety = safety or TableSafety(account)
        self._links = _links(settings)
        self._state = StateGate(state or TableSchema(account), self._clock)
        self._file = PolicyFile(settings.policy_file, rules, self._clock)
        self._in_use = PolicyInUse(
            self._file,
            make_tickets=lambda named: tickets or make_tickets(named, env, BuiltinTickets(self._account)),
            make_channels=lambda named: make_channels(named, env, self._token) if channels is None else channels,
            make_ports=self._make_ports,
        )
        self._open()
        if self._file.problems:
            level = logging.WARNING if self._file.policy else logging.ERROR
            log.log(level, "the policy file:\n%s", self._file.told)

    def _open(self) -> None:
        """Every entrance of function_app.py."""
        self._events = Events(
            in_use=self._in_use,
            state=self._state,
            who=lambda: own_identity(self._credential, self.settings.cloud),
            rules=self._rules,
            records=self._records,
            work=self._work,
            dead_letters=self._dead_letters,
            audit=self._audit,
            clock=self._clock,
            telemetry=self.telemetry,
        )
        self.on_event = self._events.on_event
        self.on_device_event = self._events.on_device_event
        self.on_dead_letters = self._events.on_dead_letters
        self.on_sweep = Sweeps(
            in_use=self._in_use,
            state=self._state,
            records=self._records,
            work=self._work,
            nonces=self._nonces if self.settings.webhook_keys else None,
            clock=self._clock,
            telemetry=self.telemetry,
        ).on_sweep
        messages = Messages(
            in_use=self._in_use,
            state=self._state,
            work=self._work,
            graveyard=self._graveyard,
            audit=self._audit,
            telemetry=self.telemetry,
        )
        self.on_message, self.on_poison = messages.on_message, messages.on_poison
        approvals = Approvals(
            in_use=self._in_use,
            state=self._state,
            links=self._links,
            hook_keys=self.settings.webhook_keys,
            nonces=self._nonces,
            signs_in=self.settings.signs_in,
            telemetry=self.telemetry,
        )
        self.on_page, self.on_decision = approvals.on_page, approvals.on_decision
        self.on_webhook = approvals.on_webhook
        self.on_health = Health(
            in_use=self._in_use,
            state=self._state,
            settings=self.settings,
            next_sweep=partial(next_due, self.settings.sweep_schedule),
            records=self._records,
            findings=self._findings,
            work=self._work,
            outbox=self._outbox,
            safety=self._safety,
            dead_letters=self._dead_letters,
            clock=self._clock,
            telemetry=self.telemetry,
        ).on_health

    @property
    def not_ready(self) -> str | None:
        """Why nothing is judged or fixed for now, or None."""
        return self._in_use.not_ready

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
        return self._in_use.ports

    async def close(self) -> None:
        """Close every connection; nothing can be used afterwards."""
        await self._account.close()
        for tickets in (self._in_use.tickets, *self._in_use.old_tickets):
            if isinstance(tickets, ForeignTickets):
                await tickets.shut_down()
        for channel in (*self._in_use.channels.values(), *self._in_use.old_channels):
            await channel.close()
        if "_arm" in self.__dict__ and isinstance(self._arm, ArmHubs):
            await self._arm.close()
        if "_credential" in self.__dict__:
            await self._credential.close()

    def _make_ports(self, policy: Policy, tickets: TicketSystem, channels: Mapping[str, Channel]) -> Ports:
        return Ports(
            hubs=ReadOnlyHubs(self._arm) if policy.observes else self._arm,
            findings=self._findings,
            records=self._records,
            work=self._work,
            audit=self._audit,
            graveyard=self._graveyard,
            lists=self._lists,
            tickets=tickets,
            remediations=self._remediations,
            safety=self._safety,
            clock=self._clock,
            policy=policy,
            rules=self._rules,
            remediators=self._remediators,
            timings=Timings(claim=self.settings.claim),
            outbox=self._outbox if channels else None,
            channels=channels,
            links=self._links,
            ticket_links=self._links if _links_are_safe_in_tickets(policy, self.settings) else None,
            kill_setting=self.settings.kill,
            telemetry=self.telemetry,
        )

    @cached_property
    def _arm(self) -> HubPort:
        return self._given_hubs or _arm_hubs(self.settings.cloud, self._credential, self.telemetry)

    @cached_property
    def _credential(self) -> AsyncTokenCredential:
        return self._given_credential or make_credential(self.settings.cloud)

    async def _token(self, scope: str) -> str:
        return (await self._credential.get_token(scope)).token


def _links(settings: Settings) -> Links | None:
    keys, url = settings.approval_keys, settings.public_url
    return Links(keys, url) if keys and url else None


def _links_are_safe_in_tickets(policy: Policy, settings: Settings) -> bool:
    """Strangers may read tickets elsewhere: a link must be of no use to who is not signed in with a role."""
    proven = settings.signs_in and bool(policy.approvals.required_roles)
    return proven or policy.tickets.target == "builtin"


def _arm_hubs(cloud: Cloud, credential: AsyncTokenCredential, telemetry: Telemetry) -> ArmHubs:
    from azure.core.pipeline.transport import AioHttpTransport  # noqa: PLC0415 - cold start

    # With use_env_settings, aiohttp reads the environment and .netrc again for every request: decide once.
    behind_proxy = bool(getproxies())
    transport = AioHttpTransport(use_env_settings=behind_proxy, connection_timeout=10, read_timeout=30)
    return ArmHubs(cloud, credential, transport, telemetry=telemetry)
