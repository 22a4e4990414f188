"""What is stored, a sample of each kind, for tests/cases/state/<version>: every later version must read it.

``python -m tests.state_cases`` writes the samples and shapes of the version that the code writes now. Once a
version is released its folder never changes again: whoever changes what is stored adds a migration and a folder.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, TypeAdapter

from hubwarden.adapters.storage.findings import FINDINGS
from hubwarden.adapters.storage.hubs import HUBS, SWEEPS
from hubwarden.adapters.storage.migrations import MIGRATIONS, newest
from hubwarden.adapters.storage.nonces import NONCES
from hubwarden.adapters.storage.outbox import NOTICES
from hubwarden.adapters.storage.remediations import REMEDIATIONS
from hubwarden.adapters.storage.rows import Shape
from hubwarden.adapters.storage.safety import KILL, LEDGER
from hubwarden.adapters.tickets.builtin import TICKETS, TURNS
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.service.messages import (
    VERSION,
    CensusMessage,
    EvaluateMessage,
    NotifyMessage,
    RemediateMessage,
    SweepMessage,
    TicketMessage,
    TurnMessage,
    VerifyMessage,
)


CASES: Final = Path(__file__).parent / "cases" / "state"
SHAPES: Final[Mapping[str, Shape[Any]]] = {
    "finding": FINDINGS,
    "hub": HUBS,
    "kill": KILL,
    "ledger": LEDGER,
    "nonce": NONCES,
    "notice": NOTICES,
    "remediation": REMEDIATIONS,
    "sweep": SWEEPS,
    "ticket": TICKETS,
    "turn": TURNS,
}
MESSAGES: Final = (
    CensusMessage,
    EvaluateMessage,
    NotifyMessage,
    RemediateMessage,
    SweepMessage,
    TicketMessage,
    TurnMessage,
    VerifyMessage,
)
NOW: Final = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
HUB: Final = HubId("00000000-0000-0000-0000-000000000001", "plant", "hub-1")
OBJECT: Final = {"path": "/properties/minTlsVersion", "before": None, "after": ["1.2", 2, 0.5, True]}
PLAIN: Final[Mapping[Any, Any]] = {
    str: "text",
    int: 3,
    bool: True,
    date: NOW.date(),
    datetime: NOW,
    AwareDatetime: NOW,
    HubId: HUB,
}


def sample(kind: Any) -> Any:
    """A value of the type, with everything in it that may be in it."""
    if kind in PLAIN:
        return PLAIN[kind]
    if isinstance(kind, typing.TypeAliasType):
        return OBJECT if kind in {Json, JsonObject} else sample(kind.__value__)
    return _of_class(kind) if isinstance(kind, type) else _of_parts(kind)


def _of_class(kind: Any) -> Any:
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: sample(hints[field.name]) for field in dataclasses.fields(kind)})


def _of_parts(kind: Any) -> Any:
    parts = typing.get_args(kind)
    match typing.get_origin(kind):
        case types.UnionType | typing.Union:
            made = sample(next(part for part in parts if part is not type(None)))
        case typing.Literal:
            made = parts[0]
        case container if issubclass(container, Mapping):
            made = {sample(parts[0]): sample(parts[1])}
        case container:
            made = container([sample(parts[0])])
    return made


def message(model: type[BaseModel]) -> BaseModel:
    """A message with every member."""
    given = {
        name: HUB.path if name == "hub" else sample(field.annotation) for name, field in model.model_fields.items()
    }
    return model(**given)


def rows() -> dict[str, Any]:
    """A row of each shape as it is written now."""
    return {name: plain(shape.to_row(sample(shape.value_type))) for name, shape in SHAPES.items()}


def texts() -> dict[str, str]:
    """A text of each message as it is sent now."""
    return {model.__name__: message(model).model_dump_json() for model in MESSAGES}


def shapes() -> dict[str, Any]:
    """What a row's document may hold, down to the last member."""
    return {name: _bare(TypeAdapter(shape.value_type).json_schema()) for name, shape in SHAPES.items()}


def forms() -> dict[str, Any]:
    """What a message may hold, down to the last member."""
    return {model.__name__: _bare(model.model_json_schema()) for model in MESSAGES}


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as JSON can hold it."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(row, default=datetime.isoformat)))


def files() -> dict[Path, Any]:
    """What the folders of the present versions hold."""
    state, sent = CASES / f"{newest(MIGRATIONS)}", CASES / f"messages-{VERSION}"
    return {
        state / "rows.json": rows(),
        state / "shapes.json": shapes(),
        sent / "texts.json": texts(),
        sent / "forms.json": forms(),
    }


def _bare(schema: Any) -> Any:
    """A JSON Schema without what is only for people."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _bare(part)
        for name, part in schema.items()
        if not (name in {"title", "description"} and isinstance(part, str))
    }


if __name__ == "__main__":
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
