"""A hub's shared access policies: seen without their keys, and edited with them. Pure.

A PUT replaces the whole list, and an entry without keys gets new ones: what is to stay must be sent as it was
read, keys included (AZURE.md §0.3, RECORDINGS §3.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hubwarden.adapters.azure.redaction import safe_text
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.errors import ConflictError, PermanentError
from hubwarden.service.ports import PolicyEdit


KEYS: Final = ("primaryKey", "secondaryKey")
_RIGHTS: Final = ("RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect")
"""In the order in which Azure writes them."""


def without_keys(listed: Sequence[JsonObject], doing: str) -> JsonObject:
    """Names and rights, sorted: the shape of Facet.POLICIES.

    Raises:
        PermanentError: an entry has no name or no rights.
    """
    entries = [(name_of(entry, doing), sorted(set(rights_of(entry, doing)))) for entry in listed]
    return {"policies": [{"keyName": name, "rights": [*rights]} for name, rights in sorted(entries)]}


def edited(listed: Sequence[JsonObject], edits: Sequence[PolicyEdit], doing: str) -> list[JsonObject]:
    """The list to send: what is not edited exactly as it was read, in the order in which it was read.

    An entry that is to have new keys, or that is made, is sent without any. That Azure makes new ones then is how
    the CLI makes policies and renews keys, and UNVERIFIED beyond that: no recording shows it.

    Raises:
        ConflictError: a policy to be edited is not there, or has other rights than it was expected to have; or one
            to be made is there.
        PermanentError: the edits contradict each other, or grant a right and restore nothing, or the list is not
            what Azure sends.
    """
    present = _by_name(((name_of(entry, doing), entry) for entry in listed), doing)
    wanted = _by_name(((edit.name, edit) for edit in edits), doing)
    for key, edit in wanted.items():
        if edit.expected is None:
            _check_new(edit, doing, there=key in present)
        elif key not in present:
            raise ConflictError(f"{doing}: there is no policy {safe_text(edit.name, 100)} any more")
        else:
            _check(edit, rights_of(present[key], doing), doing)
    result = [_after(entry, wanted.get(key), doing) for key, entry in present.items()]
    made = [_made(edit) for key, edit in wanted.items() if key not in present]
    return [*(entry for entry in result if entry is not None), *made]


def name_of(entry: JsonObject, doing: str) -> str:
    """The policy's name."""
    name = entry.get("keyName")
    if not isinstance(name, str) or not name:
        raise PermanentError(f"{doing}: Azure listed a policy without a name")
    return name


def rights_of(entry: JsonObject, doing: str) -> list[str]:
    """The policy's rights, which Azure sends as one text (RECORDINGS §4)."""
    rights = entry.get("rights")
    if not isinstance(rights, str):
        raise PermanentError(
            f"{doing}: Azure listed the policy {safe_text(str(entry['keyName']), 100)} without rights"
        )
    return [right for part in rights.split(",") if (right := part.strip())]


def _by_name[T](named: Iterable[tuple[str, T]], doing: str) -> Mapping[str, T]:
    found: dict[str, T] = {}
    for name, value in named:
        if name.lower() in found:
            raise PermanentError(f"{doing}: the policy {safe_text(name, 100)} is there twice")
        found[name.lower()] = value
    return found


def _check_new(edit: PolicyEdit, doing: str, *, there: bool) -> None:
    name = safe_text(edit.name, 100)
    if there:
        raise ConflictError(f"{doing}: there is a policy {name} again")
    if not edit.restores or not edit.rights:
        raise PermanentError(f"{doing}: the policy {name} would be made, and nothing was asked to be restored")


def _made(edit: PolicyEdit) -> JsonObject:
    return {"keyName": edit.name, "rights": _written(edit.rights or (), edit.rights or ())}


def _check(edit: PolicyEdit, present: Sequence[str], doing: str) -> None:
    name = safe_text(edit.name, 100)
    if _meant(present) != _meant(edit.expected or ()):
        shown = safe_text(", ".join(sorted(present)), 200)
        raise ConflictError(f"{doing}: the policy {name} has other rights than it had: {shown}")
    if edit.rights is not None and not edit.rights:
        raise PermanentError(f"{doing}: the policy {name} would be left without any right")
    if edit.rights is not None and not edit.restores and not _meant(edit.rights) <= _meant(present):
        raise PermanentError(f"{doing}: the policy {name} would get rights that it does not have")


def _after(entry: JsonObject, edit: PolicyEdit | None, doing: str) -> JsonObject | None:
    if edit is not None and edit.rights is None:
        return None
    result = dict(entry)
    if edit is not None and edit.rights is not None:
        rights = rights_of(entry, doing)
        if _meant(edit.rights) != _meant(rights):
            result["rights"] = _written(edit.rights, rights)
        if edit.new_keys:
            return {name: value for name, value in result.items() if name not in KEYS}
    if any(not isinstance(key := entry.get(name), str) or not key.strip("*") for name in KEYS):
        raise PermanentError(
            f"{doing}: Azure listed the policy {safe_text(str(entry['keyName']), 100)} without its keys; a write "
            "would give it new ones"
        )
    return result


def _meant(rights: Iterable[str]) -> frozenset[str]:
    """The rights in lower case; who may write the registry may read it, and Azure leaves that out."""
    lowered = frozenset(right.lower() for right in rights)
    return lowered | {"registryread"} if "registrywrite" in lowered else lowered


def _written(rights: Iterable[str], present: Iterable[str]) -> str:
    """As Azure writes rights; one that is not known here is spelled as Azure spelled it."""
    spelled = {right.lower(): right for right in (*_RIGHTS, *present)}
    return ", ".join(spelling for right, spelling in spelled.items() if right in {r.lower() for r in rights})
