"""Seed files: what is there when the simulator starts."""

from __future__ import annotations

import json

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.azure_simulator.errors import AzureError


if TYPE_CHECKING:
    from local.azure_simulator.simulator import AzureSimulator


type Json = dict[str, Any]

SECTIONS = (
    "principals",
    "resource_groups",
    "hubs",
    "destinations",
    "diagnostic_settings",
    "security_solutions",
    "devices",
    "locks",
    "denials",
)
"""In the order in which they are put in place: settings and devices need their hubs."""


class SeedError(ValueError):
    """A seed that cannot be used; the text says where and why."""


def load(path: Path) -> Json:
    """The seed in a file: an object of `SECTIONS`, or a plain array of hubs."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SeedError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SeedError(f"{path}: is not JSON: {error}") from error
    try:
        return checked(content)
    except SeedError as error:
        raise SeedError(f"{path}: {error}") from error


def checked(content: Any) -> Json:
    """The content as an object of known sections, each a list of objects."""
    seed = {"hubs": content} if isinstance(content, list) else content
    if not isinstance(seed, dict):
        raise SeedError(f"must be an array of hubs or an object with some of {', '.join(SECTIONS)}")
    for section, entries in seed.items():
        if section not in SECTIONS:
            raise SeedError(f"unknown section {section!r}, allowed: {', '.join(SECTIONS)}")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise SeedError(f"section {section!r} must be an array of objects")
    return seed


def plant(simulator: AzureSimulator, content: Any) -> None:
    """Put a seed into a simulator.

    A hub is a GET body (`{"id": ...}` is enough), or `{"body": ..., "policies": [...]}`, a security solution is
    one too; the other sections hold the arguments of the `add_...` method of their name, denials those of `deny`.
    """
    put: dict[str, Callable[[Json], object]] = {
        "principals": lambda entry: simulator.add_principal(**entry),
        "hubs": lambda entry: simulator.add_hub(entry.get("body", entry), policies=entry.get("policies")),
        "destinations": lambda entry: simulator.add_destination(**entry),
        "diagnostic_settings": lambda entry: simulator.add_diagnostic_setting(**entry),
        "security_solutions": simulator.add_security_solution,
        "devices": lambda entry: simulator.add_devices(**entry),
        "locks": lambda entry: simulator.add_lock(**entry),
        "denials": lambda entry: simulator.deny(**entry),
        "resource_groups": lambda entry: simulator.add_resource_group(**entry),
    }
    seed = checked(content)
    for section in SECTIONS:
        for number, entry in enumerate(seed.get(section, ())):
            try:
                put[section](entry)
            except (KeyError, TypeError, ValueError, AzureError) as error:
                raise SeedError(f"{section}[{number}]: {type(error).__name__}: {error}") from error
