"""What a command finds around it: settings, the composed service, and who sits there."""

from __future__ import annotations

import getpass
import json
import os
import sys

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hubwarden.bootstrap import Hubwarden
from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.wording import says_nothing
from hubwarden.entrances.policy import PolicyUnusableError
from hubwarden.service.approve import NoSuchFindingError, NotAskedError, NotYoursError
from hubwarden.service.errors import StaleWriteError, StorageUnavailableError
from hubwarden.service.operate import NotHeldError
from hubwarden.service.preview import NoPlanError
from hubwarden.service.recount import NotCountedError
from hubwarden.service.rollback import NoSuchRemediationError, NotRolledBackError


class CommandError(Exception):
    """The command cannot be carried out; the message is all that a person has to read."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The world outside of a command; tests bring their own."""

    env: MutableMapping[str, str] = field(default_factory=lambda: os.environ)
    compose: Callable[[Mapping[str, str]], Hubwarden] = Hubwarden
    is_terminal: Callable[[], bool] = lambda: sys.stdin.isatty()  # noqa: PLW0108 - tests and shells replace stdin
    user: Callable[[], str] = getpass.getuser

    def lay_under(self, file: Path) -> None:
        """Take settings from a local.settings.json; what the environment says goes before them.

        Raises:
            CommandError: the file is none.
        """
        for name, value in _values(file).items():
            self.env.setdefault(name, value)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Hubwarden]:
        """The service, as long as the block lasts. What may be expected to go wrong becomes a CommandError."""
        try:
            service = self.compose(self.env)
        except ValueError as error:
            raise CommandError(str(error)) from None
        try:
            yield service
        except StaleWriteError:
            raise CommandError("somebody else has just decided or changed it: look again") from None
        except StorageUnavailableError as error:
            raise CommandError(
                f"{error} (can the storage account be reached from here, are you signed in with `az login`, "
                "and have you the rights on it that docs/command-line.md lists?)"
            ) from None
        except (
            PolicyUnusableError,
            NoSuchFindingError,
            NotAskedError,
            NotYoursError,
            NotCountedError,
            NoPlanError,
            NoSuchRemediationError,
            NotRolledBackError,
            NotHeldError,
        ) as error:
            raise CommandError(str(error)) from None
        finally:
            await service.close()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Hubwarden]:
        """The service, to change something that is stored; as ``service`` does.

        Raises:
            CommandError: also where the app's state is of another version than this command line.
        """
        async with self.service() as service:
            if misfit := await service.misfit():
                raise CommandError(f"nothing was changed: {misfit}; use the command line of the app's own version")
            yield service

    def decider(self, by: str | None) -> Approver:
        """Who decides: the name that was given, or the user who is signed in here.

        Raises:
            CommandError: nobody can be named.
        """
        try:
            name = self.user() if by is None else " ".join(by.split())
        except (OSError, KeyError):
            name = ""
        if says_nothing(name):
            raise CommandError("who decides is not known: say it with --by NAME")
        return Approver(name, Via.COMMAND_LINE)


def _values(file: Path) -> Mapping[str, str]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}") from None
    values = content.get("Values") if isinstance(content, dict) else None
    if not isinstance(values, dict) or content.get("IsEncrypted"):
        raise CommandError(f'{file} is no local.settings.json with plain settings under "Values"')
    return {name: str(value) for name, value in values.items()}
