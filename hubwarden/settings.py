"""The app's settings, read once from the environment."""

from __future__ import annotations

import re

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from hubwarden.adapters.azure.cloud import CLOUDS, Cloud
from hubwarden.adapters.references import unresolved


_CUSTOM: Final = ("HUBWARDEN_ARM_ENDPOINT", "HUBWARDEN_ARM_AUDIENCE", "HUBWARDEN_AUTHORITY")
_SHORTEST_CLAIM: Final = 45
_SHORTEST_KEY: Final = 32
_MOST_KEYS: Final = 2
_OFF: Final = frozenset({"", "0", "false", "no", "off"})
"""Whatever else HUBWARDEN_KILL says means that it is on: in doubt, nothing is written."""
_WAYS: Final = {
    "HUBWARDEN_APPROVAL_KEYS": "until then nobody can decide by a link",
    "HUBWARDEN_WEBHOOK_KEYS": "until then no program can decide by webhook",
}
"""The settings of keys, and what is closed without one."""


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the policy file is, which Azure this is, how long a claim on a fix holds, and when sweeps are due.

    ``approval_keys`` sign the links on which people decide, ``webhook_keys`` what programs decide: the first
    signs, each is taken, none means that there is no such way. ``public_url`` is where people reach this app;
    empty where that is not known. ``signs_in`` says whether the platform authenticates who comes, ``kill`` whether
    no hub is to be written. ``warnings`` say which ways are closed because a key's reference is not resolved.
    """

    policy_file: Path
    cloud: Cloud
    claim: timedelta
    sweep_schedule: str
    approval_keys: tuple[bytes, ...] = field(default=(), repr=False)
    webhook_keys: tuple[bytes, ...] = field(default=(), repr=False)
    public_url: str = ""
    signs_in: bool = False
    kill: bool = False
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings.

        Raises:
            SettingsError: see there.
        """
        return cls(
            policy_file=Path(env.get("HUBWARDEN_POLICY") or "policy.yaml"),
            cloud=_cloud(env),
            claim=_claim(env.get("HUBWARDEN_CLAIM_SECONDS") or "60"),
            sweep_schedule=env.get("SWEEP_SCHEDULE", ""),
            approval_keys=_keys("HUBWARDEN_APPROVAL_KEYS", env.get("HUBWARDEN_APPROVAL_KEYS", "")),
            webhook_keys=_keys("HUBWARDEN_WEBHOOK_KEYS", env.get("HUBWARDEN_WEBHOOK_KEYS", "")),
            public_url=_public_url(env),
            signs_in=env.get("WEBSITE_AUTH_ENABLED", "").lower() == "true",
            kill=env.get("HUBWARDEN_KILL", "").strip().lower() not in _OFF,
            warnings=tuple(
                f"{why}; {way}"
                for setting, way in _WAYS.items()
                if (why := unresolved(setting, env.get(setting, ""))) is not None
            ),
        )


def _cloud(env: Mapping[str, str]) -> Cloud:
    name = env.get("HUBWARDEN_CLOUD") or "public"
    if name in CLOUDS:
        return CLOUDS[name]
    if name != "custom":
        allowed = ", ".join((*CLOUDS, "custom"))
        raise SettingsError(f"HUBWARDEN_CLOUD is {name!r}; allowed are {allowed}")
    missing = [setting for setting in _CUSTOM if not env.get(setting)]
    if missing:
        raise SettingsError(f"HUBWARDEN_CLOUD is custom, so these must be set too: {', '.join(missing)}")
    insecure = [setting for setting in _CUSTOM if not env[setting].startswith("https://")]
    if insecure:
        raise SettingsError(f"these must begin with https://: {', '.join(insecure)}")
    arm, audience, authority = (env[setting] for setting in _CUSTOM)
    return Cloud(arm, audience, authority, custom=True, data_plane=_data_plane(env))


def _data_plane(env: Mapping[str, str]) -> str:
    template = env.get("HUBWARDEN_DATA_PLANE") or CLOUDS["public"].data_plane
    if not template.startswith("https://") or "{hostName}" not in template:
        allowed = "an https:// address with {hostName} in it"
        raise SettingsError(f"HUBWARDEN_DATA_PLANE is {template!r}; allowed is {allowed}")
    return template


def _claim(text: str) -> timedelta:
    """A claim that ends before its worker's longest request would let a second worker in."""
    if re.fullmatch(r"[0-9]{1,4}", text) is None or not _SHORTEST_CLAIM <= int(text) <= 3600:  # noqa: PLR2004
        raise SettingsError(f"HUBWARDEN_CLAIM_SECONDS is {text!r}; allowed is {_SHORTEST_CLAIM} to 3600")
    return timedelta(seconds=int(text))


def _keys(setting: str, text: str) -> tuple[bytes, ...]:
    """One key or two, so that they can be changed; none where all that is there is a reference to them.

    The message never holds one.
    """
    if unresolved(setting, text) is not None:
        return ()
    keys = [key.strip() for key in text.split(",") if key.strip()]
    if len(keys) > _MOST_KEYS or any(len(key) < _SHORTEST_KEY for key in keys):
        allowed = f"at most {_MOST_KEYS} keys of {_SHORTEST_KEY} characters or more, with a comma between them"
        raise SettingsError(f"{setting} holds something else than {allowed}")
    return tuple(key.encode() for key in keys)


def _public_url(env: Mapping[str, str]) -> str:
    """Where people reach this app: as it is set, or by the name that the platform gave it."""
    url = (env.get("HUBWARDEN_PUBLIC_URL") or "").rstrip("/")
    if url and re.fullmatch(r"https://[^/?#\s]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?", url) is None:
        raise SettingsError(f"HUBWARDEN_PUBLIC_URL is {url!r}; allowed is an address such as https://app.example")
    host = env.get("WEBSITE_HOSTNAME", "")
    local = host.startswith(("localhost:", "127.0.0.1:"))
    return url or (f"{'http' if local else 'https'}://{host}" if host else "")
