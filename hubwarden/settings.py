"""The app's settings, read once from the environment."""

from __future__ import annotations

import re

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from hubwarden.adapters.azure.cloud import CLOUDS, Cloud


_CUSTOM: Final = ("HUBWARDEN_ARM_ENDPOINT", "HUBWARDEN_ARM_AUDIENCE", "HUBWARDEN_AUTHORITY")
_SHORTEST_CLAIM: Final = 45


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the policy file is, which Azure this is, how long a claim on a fix holds, and when sweeps are due."""

    policy_file: Path
    cloud: Cloud
    claim: timedelta
    sweep_schedule: str

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
