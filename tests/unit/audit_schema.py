"""docs/audit.schema.json, as strict as we are with ourselves: what a line holds is described, all of it."""

from __future__ import annotations

import functools
import json

from pathlib import Path

import pytest

from jsonschema import Draft202012Validator


SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "audit.schema.json").read_text(encoding="utf-8"))
KINDS = SCHEMA["$defs"]


def what_is_wrong(line: bytes) -> str | None:
    entry = json.loads(line)
    described = KINDS.get(entry["kind"])
    if described is None:
        return f"the kind {entry['kind']} is not described"
    if more := entry.keys() - SCHEMA["properties"].keys() - described["properties"].keys():
        return f"of {entry['kind']}, {sorted(more)} is not described"
    errors = [error.message for part in _parts(entry["kind"]) for error in part.iter_errors(entry)]
    return "; ".join(errors) or None


def check_line(line: bytes) -> None:
    """Not an error that the world could take for one of the many that it lets happen."""
    if wrong := what_is_wrong(line):
        pytest.fail(f"docs/audit.schema.json: {wrong}: {line[:2000]!r}")


@functools.cache
def _parts(kind: str) -> tuple[Draft202012Validator, Draft202012Validator]:
    """The envelope and the kind: of the whole schema, each line would be held against every kind."""
    envelope = {name: value for name, value in SCHEMA.items() if name not in {"oneOf", "$defs"}}
    return Draft202012Validator(envelope), Draft202012Validator(KINDS[kind])
