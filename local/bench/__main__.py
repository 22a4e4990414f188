"""``python -m local.bench [--quick] [--only PART …]``: measure, print a table, write .demo/bench.json.

It is a measurement, not a gate: it ends with 0 unless something did not work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from local.bench.child import BenchError
from local.bench.coldstart import measure_cold_start
from local.bench.figure import Figure
from local.bench.fleet import Fleet
from local.bench.latencies import measure_latencies
from local.bench.sweeps import LATENCY, Yard, measure_sweeps
from local.stack import ROOT, StackError


PARTS: Final = ("sweep", "latency", "cold_start")
_TITLES: Final = {
    "sweep": f"Sweep: {LATENCY * 1000:.0f} ms a call; storage is in memory, so that it is about Azure alone",
    "latency": "From the event to the write: the whole stack",
    "cold_start": "Cold start",
}
_MET: Final = {None: "", True: "[green]ok[/green]", False: "[bold red]NOT MET[/bold red]"}


async def measure(parts: Sequence[str], folder: Path, console: Console, *, quick: bool) -> dict[str, Any]:
    """Each part on its own; the report. Seeds, policy files and logs go into the folder."""
    report: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(),
        "quick": quick,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "figures": {},
    }
    for part in parts:
        console.print(f"[bold]{part}[/bold]")
        figures, report[part] = await _part(part, folder, console, quick=quick)
        report["figures"][part] = [figure.as_json() for figure in figures]
        console.print(_table(part, figures))
    return report


async def _part(part: str, folder: Path, console: Console, *, quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    def tell(text: str) -> None:
        console.print(f"  {text}", highlight=False)

    match part:
        case "sweep":
            fleet, rounds = (Fleet(5, 20), 1) if quick else (Fleet(20, 50), 3)
            return await measure_sweeps(Yard(fleet, folder), rounds, tell)
        case "latency":
            return await measure_latencies(folder, 20 if quick else 200, tell)
        case _:
            return await measure_cold_start(1 if quick else 5, tell)


def _table(part: str, figures: Sequence[Figure]) -> Table:
    head = ("what", "measured", "target", "", "")
    table = Table(*head, title=_TITLES[part], title_justify="left", title_style="bold")
    for figure in figures:
        target = "" if figure.at_most is None else f"≤ {_number(figure.at_most, figure.unit)}"
        table.add_row(figure.name, _number(figure.value, figure.unit), target, _MET[figure.met], figure.note)
    return table


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if unit in {"calls", "drifts", "MB"} else f"{value:.2f} {unit}"


def _missed(report: dict[str, Any]) -> list[str]:
    figures = [figure for part in report["figures"].values() for figure in part]
    return [figure["name"] for figure in figures if figure["met"] is False]


async def _main(options: argparse.Namespace) -> int:
    console = Console()
    try:
        report = await measure(
            options.only or PARTS, options.output.parent / "bench", console, quick=options.quick
        )
    except (BenchError, StackError) as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    missed = _missed(report)
    console.print(f"Not met: {', '.join(missed)}" if missed else "Every target is met.", highlight=False)
    console.print(f"Every single measurement: {options.output}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m local.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 hubs in 5 subscriptions, 20 drifts, one round")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be given several times")
    parser.add_argument("--output", type=Path, default=ROOT / ".demo" / "bench.json", help="the report")
    sys.exit(asyncio.run(_main(parser.parse_args())))
