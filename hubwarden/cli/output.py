"""How commands print data, and the options that several of them share."""

from __future__ import annotations

import json

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer


class Output(StrEnum):
    """How something is printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option(help="For people, or for programs.")]
ByOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who decides; else the user who is signed in here.")
]


def print_json(content: Mapping[str, Any]) -> None:
    """Print data for programs."""
    typer.echo(json.dumps(content, indent=2))
