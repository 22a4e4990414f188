"""overview: what has drifted, and what could not be judged; the second is as much of a result as the first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from hubwarden.domain.finding import Finding, State
from hubwarden.domain.rule import Mode
from hubwarden.domain.severity import Severity
from hubwarden.service.observe import active_rules
from hubwarden.service.ports import HubRecord, Ports, SweepRecord


_RANK: Final = {severity: rank for rank, severity in enumerate(reversed(Severity))}


@dataclass(frozen=True, slots=True)
class NotJudged:
    """What could not be judged: a rule on a hub, or all of a hub or subscription (``rule`` None)."""

    path: str
    rule: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that is known. ``dead`` maps hubs that serve nobody, and cannot be changed, to the reason."""

    findings: tuple[Finding, ...]
    not_judged: tuple[NotJudged, ...]
    last_sweep: SweepRecord | None
    dead: Mapping[str, str] = field(default_factory=dict)
    observes: bool = False
    """Whether nothing is changed in Azure, whatever the findings say."""

    @property
    def exempt(self) -> tuple[Finding, ...]:
        """Those of the findings that somebody accepts for a while."""
        return tuple(finding for finding in self.findings if finding.state is State.EXEMPT)

    @property
    def drifting(self) -> bool:
        """Whether there is a drift that is not proven gone."""
        return any(finding.state is not State.RESOLVED for finding in self.findings)


async def overview(ports: Ports, *, resolved: bool = False) -> Overview:
    """The findings, the worst and then the oldest first, and what could not be judged as far as is known now.

    Args:
        ports: the world.
        resolved: whether findings that are resolved are wanted too.
    """
    findings = [finding async for finding in ports.findings.everything()]
    wanted = [finding for finding in findings if resolved or stands(ports, finding)]
    wanted.sort(key=lambda finding: (_RANK[finding.severity], finding.first_seen, finding.id))
    sweep = await ports.records.last_sweep()
    records = {record.hub.path: record async for record in _records(ports)}
    dead = {
        path: why for path, why in (sweep.dead if sweep else {}).items() if not _newer(records.get(path), sweep)
    }
    unknown = [
        *_of_sweep(ports, sweep, records),
        *(entry for path, record in records.items() if path not in dead for entry in _of_hub(ports, record)),
    ]
    return Overview(tuple(wanted), tuple(unknown), sweep, dead, ports.policy.observes)


def stands(ports: Ports, finding: Finding) -> bool:
    """Whether it is not proven gone, and policy, or whoever wants a fix undone, still asks about it."""
    mode = ports.policy.mode_of(finding.rule_id, finding.hub, finding.tags)
    asked = ports.policy.watches(finding.hub) and (finding.rollback is not None or mode is not Mode.OFF)
    return asked and finding.state is not State.RESOLVED


async def _records(ports: Ports) -> AsyncIterator[HubRecord]:
    known = await ports.records.subscriptions()
    for subscription in known if ports.policy.watches_all else ports.policy.subscriptions:
        async for record in ports.records.of_subscription(subscription):
            yield record


def _of_hub(ports: Ports, record: HubRecord) -> Iterator[NotJudged]:
    """The rules that are on, and were not judged at the last look."""
    path = record.hub.path
    if record.looked_at is None:
        yield NotJudged(path, None, "it was not looked at yet, or never read whole")
        return
    for rule in (rule.id for rule in active_rules(ports, record.hub, record.tags)):
        if rule in record.unknown:
            yield NotJudged(path, rule, record.unknown[rule])
        elif rule not in record.verdicts:
            yield NotJudged(path, rule, "the rule is new to this hub: the next look judges it")


def _of_sweep(ports: Ports, sweep: SweepRecord | None, records: Mapping[str, HubRecord]) -> Iterator[NotJudged]:
    """What the last sweep missed, but for hubs whose own record is newer, or says it better."""
    if sweep is None:
        yield NotJudged("/subscriptions", None, "there was no sweep yet: nothing is known of any hub")
        return
    for subscription in () if ports.policy.watches_all else ports.policy.subscriptions:
        if subscription not in sweep.subscriptions:
            yield NotJudged(f"/subscriptions/{subscription}", None, "the last sweep did not look at it")
    for path, reason in sweep.unknown.items():
        record = records.get(path)
        if record is None or not _said_by(record, sweep):
            yield NotJudged(path, None, reason)


def _said_by(record: HubRecord, sweep: SweepRecord) -> bool:
    """Whether the hub's own record tells what was seen at that sweep, or since."""
    if record.looked_at is None:
        return True
    return _newer(record, sweep) or (bool(record.unknown) and record.looked_at >= sweep.started_at)


def _newer(record: HubRecord | None, sweep: SweepRecord | None) -> bool:
    """Whether the hub was looked at after the sweep was over."""
    if record is None or record.looked_at is None or sweep is None:
        return False
    return record.looked_at >= sweep.finished_at
