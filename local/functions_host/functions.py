"""What the host knows of each function: its trigger and its outputs, with settings filled in."""

import re

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import StartupError
from .runtime import IndexedFunction, RetryPolicy
from .settings import Settings


TRIGGERS = ("httpTrigger", "eventGridTrigger", "queueTrigger", "timerTrigger")
OUTPUTS = ("http", "queue")
_QUEUE_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Binding:
    """One trigger or output of a function, its fields as in function.json."""

    type: str
    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    """A function that this host can run."""

    id: str
    name: str
    trigger: Binding
    outputs: Sequence[Binding]
    retry: RetryPolicy | None


def describe(indexed: IndexedFunction, settings: Settings) -> Function:
    """Sort a function's bindings, resolve their `%SETTING%`s, and refuse what this host cannot do."""
    bindings = [_resolved(binding, indexed.name, settings) for binding in indexed.bindings]
    triggers = [binding for binding in bindings if binding.type.lower().endswith("trigger")]
    if len(triggers) != 1:
        raise StartupError(f"Function {indexed.name} must have one trigger, not {len(triggers)}")
    _refuse(indexed.name, "trigger", triggers, TRIGGERS)
    others = [binding for binding in bindings if binding not in triggers]
    _refuse(indexed.name, "input binding", [each for each in others if each.fields["direction"] != "OUT"], ())
    _refuse(indexed.name, "output binding", others, OUTPUTS)
    return Function(indexed.id, indexed.name, triggers[0], others, indexed.retry)


def with_trigger(functions: Iterable[Function], trigger_type: str) -> list[Function]:
    """Return the functions that have this kind of trigger."""
    return [function for function in functions if function.trigger.type == trigger_type]


def queue_name(function: Function, binding: Binding) -> str:
    """Return the name of a binding's queue, which the WebJobs SDK lower-cases.

    Rules: https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata
    """
    name = str(binding.fields["queueName"]).lower()
    if not _QUEUE_NAME.fullmatch(name):
        raise StartupError(f"Function {function.name}, binding {binding.name}: {name!r} is no queue name")
    return name


def _resolved(raw: Mapping[str, Any], function: str, settings: Settings) -> Binding:
    fields = {
        key: settings.resolve(value, used_by=f"Function {function}, binding {raw['name']}, {key}")
        if isinstance(value, str)
        else value
        for key, value in raw.items()
    }
    return Binding(fields["type"], fields["name"], fields)


def _refuse(function: str, role: str, bindings: Iterable[Binding], supported: Sequence[str]) -> None:
    for binding in bindings:
        if binding.type not in supported:
            raise StartupError(
                f"Function {function}: the {role} {binding.name} is of type {binding.type}, which this host"
                f" does not support (it has {', '.join(supported) or 'none'})"
            )
