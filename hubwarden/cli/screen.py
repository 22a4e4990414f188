"""What people read. Whatever came from Azure is shown as plain text: no markup, no control characters."""

from __future__ import annotations

import json
import os
import sys

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import typer

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubwarden.domain.finding import Finding, Proposal, State
from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.domain.jsons import Json
from hubwarden.domain.plan import change_text, plan_difference
from hubwarden.domain.severity import Severity
from hubwarden.service.overview import Overview
from hubwarden.service.preview import Preview


_WIDE: Final = 200
_COLOURS: Final = {Severity.CRITICAL: "bold red", Severity.HIGH: "red", Severity.MEDIUM: "yellow"}
_COLUMNS: Final = ("finding", "severity", "hub", "rule", "subject", "state", "since (UTC)", "seen")


def console() -> Console:
    """The standard output; where it is no terminal, lines are not cut to 80 columns unless COLUMNS says so."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else _WIDE, highlight=False, markup=False, emoji=False)


def plain(text: str) -> str:
    """The text with everything that does not print made visible, so that it can neither hide nor move anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def complain(text: str) -> None:
    """Tell what is wrong, on stderr."""
    for line in text.splitlines():
        typer.echo(plain(line), err=True)


def show_overview(overview: Overview) -> None:
    """Findings, then what could not be judged, then how old all this is."""
    out = console()
    counting = [finding for finding in overview.findings if finding not in overview.exempt]
    if counting:
        out.print(_findings(counting))
    else:
        out.print("No drift is known." if not overview.exempt else "No drift is known but what is exempt.")
    if overview.exempt:
        out.print(Text("\nExempt", style="bold"))
        out.print(_exempt(overview.exempt))
    held = [finding for finding in overview.findings if finding.state is State.HELD]
    if held:
        out.print(Text("\nHeld", style="bold"))
        out.print(_held(held))
    if overview.not_judged:
        out.print(Text("\nNot judged", style="bold"))
        out.print(_not_judged(overview))
    for path, reason in overview.dead.items():
        out.print(Text(f"\nOut of service: {_name(path)}: {plain(reason)}"))
    if overview.observes:
        out.print(
            Text("\nObserved only: policy enforcement is observe, nothing is changed in Azure.", style="bold")
        )
    if overview.last_sweep is not None:
        out.print(
            Text(f"\nLast sweep {_at(overview.last_sweep.started_at)}: {plain(overview.last_sweep.summary)}")
        )


def show_finding(finding: Finding) -> None:
    """All that there is to say of one finding."""
    out = console()
    facts = _grid(width=2)
    for name, value in _facts(finding):
        facts.add_row(Text(name, style="bold"), Text(plain(value)))
    out.print(facts)
    out.print(Text("\nWhat happened", style="bold"))
    steps = _grid()
    for step in finding.history:
        steps.add_row(Text(_at(step.at)), Text(step.state.value), Text(plain(step.reason)))
    out.print(steps)
    if finding.state is State.AWAITING_APPROVAL and finding.proposal is not None:
        _show_proposal(finding, finding.proposal)


def show_preview(preview: Preview) -> None:
    """The plan that would end a drift now, and what policy says to do."""
    out = console()
    out.print(Text(f"The plan for {preview.finding.hub.name} as it is now; nothing was changed", style="bold"))
    _show_changes(out, preview.proposal)
    out.print(Text(f"  Policy now: {preview.decision.action}: {plain(preview.decision.reason)}"), soft_wrap=True)


def _show_changes(out: Console, proposal: Proposal) -> None:
    for change in proposal.changes:
        out.print(Text(f"  {plain(change_text(change))}"), soft_wrap=True)
    for warning in proposal.warnings:
        out.print(Text(f"  Note: {plain(warning)}"), soft_wrap=True)


def _show_proposal(finding: Finding, proposal: Proposal) -> None:
    """The plan that waits for a decision: what it changes, what to know before, and how to decide."""
    out = console()
    out.print(Text(f"\nThe plan for {finding.hub.name}, of which nothing was done yet", style="bold"))
    _show_changes(out, proposal)
    if finding.outdated is not None:
        out.print(Text("  Asked before with another plan, which never ran. What is different:"))
        for line in plan_difference(finding.outdated.changes, proposal.changes):
            out.print(Text(f"    {plain(line)}"), soft_wrap=True)
    for word, more in (("approve", ""), ("reject", " --reason TEXT")):
        command = f"python -m hubwarden.cli {word} {finding.id} --plan {proposal.digest}{more}"
        out.print(Text(f"  To {word} it: {command}"), soft_wrap=True)


def _findings(findings: Sequence[Finding]) -> Table:
    table = _grid(*_COLUMNS)
    table.columns[0].no_wrap = True
    for finding in findings:
        cells = (finding.hub.name, finding.rule_id, finding.subject, finding.state.value)
        severity = Text(finding.severity.value, style=_COLOURS.get(finding.severity, ""))
        since = Text(f"{finding.first_seen.astimezone(UTC):%Y-%m-%d %H:%M}")
        seen = Text(str(finding.occurrences))
        table.add_row(Text(finding.id), severity, *(Text(plain(cell)) for cell in cells), since, seen)
    return table


def _exempt(findings: Sequence[Finding]) -> Table:
    table = _grid("finding", "severity", "hub", "rule", "subject", "until", "owner", "reason", "written in")
    table.columns[0].no_wrap = True
    for finding in findings:
        severity = Text(finding.severity.value, style=_COLOURS.get(finding.severity, ""))
        by = finding.exempted
        said = (str(by.until), by.owner, by.reason, by.source) if by else ("", "", "", "")
        cells = (finding.hub.name, finding.rule_id, finding.subject, *said)
        table.add_row(Text(finding.id), severity, *(Text(plain(cell)) for cell in cells))
    return table


def _held(findings: Sequence[Finding]) -> Table:
    """Why nothing is done for now about these."""
    table = _grid(width=2)
    for finding in findings:
        table.add_row(Text(finding.id), Text(plain(finding.history[-1].reason)))
    return table


def _not_judged(overview: Overview) -> Table:
    table = _grid()
    for entry in overview.not_judged:
        table.add_row(Text(_name(entry.path)), Text(entry.rule or ""), Text(plain(entry.reason)))
    return table


def _facts(finding: Finding) -> Iterator[tuple[str, str]]:
    yield "finding", finding.id
    yield "what", finding.summary
    yield "hub", finding.hub.path
    yield "rule", finding.rule_id
    if finding.subject:
        yield "subject", finding.subject
    yield "severity", finding.severity.value
    yield "state", finding.state.value
    if finding.exempted is not None:
        yield "exempt", str(finding.exempted)
    yield "since", f"{_at(finding.first_seen)}, seen {finding.occurrences} time(s), last {_at(finding.last_seen)}"
    when = "" if finding.changed_at is None else f", {_at(finding.changed_at)}"
    yield "who", f"{finding.actor}{when}" if finding.actor else "not known; no event told"
    for name, value in finding.evidence.items():
        yield name, _value(value)


def _value(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _grid(*columns: str, width: int = 3) -> Table:
    """A table without lines; with no columns named, of so many. What is too long is folded, and never cut."""
    table = Table(box=None, show_header=bool(columns), pad_edge=False)
    for name in columns or ("",) * width:
        table.add_column(name, overflow="fold")
    return table


def _name(path: str) -> str:
    """A hub by its name, anything else by its path."""
    try:
        return HubId.parse(path).name
    except NotAHubError:
        return plain(path)


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
