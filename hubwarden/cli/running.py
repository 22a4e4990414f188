"""What every command needs: to run, to fail with one exit code, and to read words."""

from __future__ import annotations

import asyncio

from collections.abc import Coroutine
from typing import Any, Final, NoReturn

import typer

from hubwarden.cli import screen
from hubwarden.cli.surroundings import CommandError
from hubwarden.domain.wording import says_nothing


TROUBLE: Final = 1


def run(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Do the work of a command and end with its exit code."""
    try:
        code = asyncio.run(work)
    except CommandError as error:
        fail(error)
    raise typer.Exit(code)


def fail(error: CommandError) -> NoReturn:
    """Say what is wrong and end."""
    screen.complain(str(error))
    raise typer.Exit(TROUBLE)


def words(reason: str) -> str:
    """A reason on one line.

    Raises:
        CommandError: it says nothing.
    """
    said = " ".join(reason.split())
    if says_nothing(said):
        raise CommandError("the reason is empty: it is kept with the finding, so say one")
    return said
