"""``python -m local.soak [--minutes 30] [--hubs 50] [--seed 1] [--hosts 1]``: ends with 0 if everything held."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console

from local.soak.run import Plan, soak
from local.stack import ROOT


def main() -> int:
    """Soak, and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m local.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--hubs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--hosts", type=int, default=1, help="instances of the Function App on one storage account"
    )
    options = parser.parse_args()
    console = Console(highlight=False, markup=False)
    plan = Plan(options.seed, options.minutes * 60, options.hubs, options.hosts)
    console.print(
        f"{options.hubs} hubs, {options.minutes:g} minutes, seed {options.seed}, {options.hosts} host(s)"
    )
    report = asyncio.run(soak(plan, ROOT / ".demo" / f"soak-{options.seed}"))
    console.print(report.text)
    return 0 if not report.wrong else 1


if __name__ == "__main__":
    sys.exit(main())
