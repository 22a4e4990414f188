"""App settings: the process environment over local.settings.json, as Core Tools lays them."""

import json
import os
import re

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from .connections import Connection, Service, connection
from .errors import StartupError


_REFERENCE = re.compile(r"%([^%]+)%")


class Settings:
    """The app settings that functions and bindings see.

    `Values` of the file become environment variables unless they are set already: the real environment
    wins, and the app reads its settings with `os.environ` as it does in Azure.
    """

    def __init__(
        self, file: Path, *, required: bool = False, environment: MutableMapping[str, str] = os.environ
    ) -> None:
        content = _read(file, required=required)
        self.file = file
        self.port: int | None = content.get("Host", {}).get("LocalHttpPort")
        self._environment = environment
        for name, value in content.get("Values", {}).items():
            environment.setdefault(name, str(value))

    def get(self, name: str) -> str | None:
        """Return the value of a setting, or None."""
        return self._environment.get(name)

    def resolve(self, text: str, *, used_by: str) -> str:
        """Replace every `%NAME%` by the setting's value; a missing one is a StartupError."""
        return _REFERENCE.sub(lambda reference: self._required(reference[1], used_by), text)

    def connection(self, name: str | None, service: Service, *, used_by: str) -> Connection:
        """Return where the storage is that a binding's `connection` names; see connections.connection."""
        return connection(self.get, name, service, used_by=used_by, file=self.file)

    def _required(self, name: str, used_by: str) -> str:
        value = self.get(name)
        if value is None:
            raise StartupError(
                f"{used_by} needs the setting {name}, which is neither in the environment nor in {self.file}"
            )
        return value


def _read(file: Path, *, required: bool) -> dict[str, Any]:
    if not file.exists():
        if required:
            raise StartupError(f"There is no settings file {file}")
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise StartupError(f"{file} is no valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise StartupError(f"{file} must hold a JSON object")
    if content.get("IsEncrypted"):
        raise StartupError(f"{file} is encrypted; decrypt it with `func settings decrypt`")
    return content
