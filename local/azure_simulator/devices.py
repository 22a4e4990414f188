"""The identity registry of one hub: cheap enough for 100,000 devices, whose bodies are made when asked for."""

import bisect
import itertools
import math
import time

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


NEVER = "0001-01-01T00:00:00Z"
"""How a twin says that a device was never active (recordings of the data plane)."""

CONNECTION_STATES = ("Disconnected", "Connected")
STATUSES = ("enabled", "disabled")


@dataclass(frozen=True, slots=True)
class Module:
    """One module identity. `created` is on the monotonic clock; minus infinity: long ago."""

    id: str
    connection_state: str = "Disconnected"
    last_activity: str = NEVER
    created: float = -math.inf

    def __post_init__(self) -> None:
        check_choice(self.connection_state, CONNECTION_STATES)


@dataclass(slots=True)
class Device:
    """One device identity; `number` orders the registry and is never used twice."""

    id: str
    number: int
    status: str = "enabled"
    connection_state: str = "Disconnected"
    last_activity: str = NEVER
    authentication: str = "sas"
    edge: bool = False
    tags: Mapping[str, Any] | None = None
    modules: tuple[Module, ...] = ()
    created: float = -math.inf

    def __post_init__(self) -> None:
        check_choice(self.status, STATUSES)
        check_choice(self.connection_state, CONNECTION_STATES)

    def module(self, module_id: str) -> Module | None:
        """The module of this id; ids are case-sensitive."""
        return next((module for module in self.modules if module.id == module_id), None)


@dataclass(slots=True)
class Registry:
    """The devices of one hub, in the order in which they came."""

    _devices: dict[str, Device] = field(default_factory=dict)
    _ordered: list[Device] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(
        self,
        devices: int | Iterable[str | Mapping[str, Any]],
        *,
        modules: Iterable[str | Mapping[str, Any]] = (),
        prefix: str = "device-",
        created_now: bool = False,
    ) -> list[Device]:
        """Add so many devices, or these: ids, or the members of `Device` (`id` at least).

        Each gets `modules`, unless it brings its own. KeyError for a device that is there already.
        """
        created = time.monotonic() if created_now else -math.inf
        shared = made_modules(modules, created)
        if isinstance(devices, int):
            numbers = itertools.islice(self._numbers, devices)
            new = [Device(f"{prefix}{n:06}", n, modules=shared, created=created) for n in numbers]
        else:
            new = [self._made(entry, shared, created) for entry in devices]
        for device in new:
            if device.id in self._devices:
                raise ValueError(f"there is a device {device.id!r} already")
            self._devices[device.id] = device
            self._ordered.append(device)
        return new

    def find(self, device_id: str) -> Device | None:
        """The device of this id; ids are case-sensitive."""
        return self._devices.get(device_id)

    def remove(self, device_id: str) -> bool:
        """Remove a device; False if there was none."""
        device = self._devices.pop(device_id, None)
        if device is None:
            return False
        del self._ordered[bisect.bisect_left(self._ordered, device.number, key=number_of)]
        return True

    def change(self, device_id: str, changes: Mapping[str, Any]) -> None:
        """Change members of a device (`modules` are the new, whole list); KeyError if there is none."""
        device = self._devices[device_id]
        values = dict(changes)
        if "modules" in values:
            values["modules"] = made_modules(values["modules"], -math.inf)
        if values.keys() & {"id", "number", "created"}:
            raise ValueError("id, number and created cannot change")
        changed = replace(device, **values)
        self._devices[device_id] = changed
        self._ordered[bisect.bisect_left(self._ordered, device.number, key=number_of)] = changed

    def add_module(self, device_id: str, module: str | Mapping[str, Any], *, created_now: bool = False) -> None:
        """Add a module to a device, in place of one with its id; KeyError if there is no such device."""
        device = self._devices[device_id]
        (new,) = made_modules([module], time.monotonic() if created_now else -math.inf)
        device.modules = (*(other for other in device.modules if other.id != new.id), new)

    def remove_module(self, device_id: str, module_id: str) -> bool:
        """Remove a module; False if there was none, KeyError if there is no such device."""
        device = self._devices[device_id]
        before, device.modules = device.modules, tuple(m for m in device.modules if m.id != module_id)
        return len(before) != len(device.modules)

    def after(self, number: int) -> Iterator[Device]:
        """The devices that came after the one with this number."""
        start = bisect.bisect_right(self._ordered, number, key=number_of)
        return itertools.islice(self._ordered, start, None)

    def __len__(self) -> int:
        return len(self._devices)

    def disabled(self) -> int:
        """How many devices may not connect."""
        return sum(device.status == "disabled" for device in self._ordered)

    def _made(self, entry: str | Mapping[str, Any], shared: tuple[Module, ...], created: float) -> Device:
        members: dict[str, Any] = {"id": entry} if isinstance(entry, str) else dict(entry)
        own = members.pop("modules", None)
        modules = shared if own is None else made_modules(own, created)
        return Device(number=next(self._numbers), modules=modules, created=created, **members)


def made_modules(entries: Iterable[str | Mapping[str, Any]], created: float) -> tuple[Module, ...]:
    """Modules from ids, or from the members of `Module`."""
    return tuple(
        Module(entry, created=created) if isinstance(entry, str) else Module(created=created, **entry)
        for entry in entries
    )


def number_of(device: Device) -> int:
    """What devices are ordered by."""
    return device.number


def check_choice(value: str, choices: tuple[str, ...]) -> None:
    """ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
