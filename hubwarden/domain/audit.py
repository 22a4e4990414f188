"""The audit trail as a chain: what a line is, where it stands, and whether the lines that were read are whole.

Each line carries the hash of the line before it, over all blobs and days. The blob that is full, or whose day is
over, ends with a line of kind ``continued`` that names the next one; after it nobody appends there.
"""

from __future__ import annotations

import hashlib
import json
import re

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import total_ordering
from typing import Any, Final, Self, cast

from hubwarden.domain.jsons import Json, JsonObject


VERSION: Final = 1
CONTINUED: Final = "continued"
LONGEST_BLOCK: Final = 4 * 1024 * 1024
"""What one append can carry: a line must fit in, and lines that are stored together share one."""
_ENVELOPE: Final = frozenset({"v", "seq", "at", "id", "kind", "prev"})
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"audit/([0-9]{4})/([0-9]{2})/([0-9]{2})(?:\.([1-9][0-9]{0,8}))?\.jsonl")


class UnwritableEntryError(Exception):
    """No line can be made of it: it is too long, or JSON cannot carry it."""


@dataclass(frozen=True, slots=True)
class Head:
    """A line's place in the chain: its number, and SHA-256 over its bytes without the line feed."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``SEQ:HASH``.

        Raises:
            ValueError: it is none.
        """
        seq, _, hash_ = text.strip().partition(":")
        if not (seq.isascii() and seq.isdigit() and int(seq) and _HASH.fullmatch(hash_)):
            raise ValueError(
                f"{text!r} is no head: it looks like 4711:<64 hex digits>, as `audit verify` prints it"
            )
        return cls(int(seq), hash_)


BEGIN: Final = Head(0, "0" * 64)
"""What the first line of all follows."""
_FAR: Final = Head(10**18, BEGIN.hash)


@total_ordering
@dataclass(frozen=True, slots=True)
class Place:
    """One blob of the trail: a day (UTC), and a part of it where one blob did not hold the day."""

    day: date
    part: int = 0

    def __lt__(self, other: Place) -> bool:
        return (self.day, self.part) < (other.day, other.part)

    @property
    def name(self) -> str:
        """As the blob is called: ``audit/2026/11/23.jsonl``, and ``audit/2026/11/23.1.jsonl`` after it."""
        return f"audit/{self.day:%Y/%m/%d}" + (f".{self.part}" if self.part else "") + ".jsonl"

    @classmethod
    def of(cls, name: str) -> Self | None:
        """The place that has this name; None where none has."""
        found = _NAME.fullmatch(name)
        try:
            return found and cls(date(*map(int, found.group(1, 2, 3))), int(found[4] or 0))
        except ValueError:
            return None

    def following(self, today: date) -> Place:
        """Where the trail goes on after this one; never back, whatever the clock says."""
        return Place(today) if today > self.day else Place(self.day, self.part + 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened, before it has its place in the chain.

    Raises:
        ValueError: the details have one of the names that each line has of its own.
    """

    at: datetime
    id: str
    kind: str
    details: Mapping[str, Json]

    def __post_init__(self) -> None:
        if taken := _ENVELOPE & self.details.keys():
            raise ValueError(f"an audit line has its own {', '.join(sorted(taken))}")

    def line(self, before: Head) -> bytes:
        """The line that follows this head, without the line feed.

        Raises:
            UnwritableEntryError: as it says.
        """
        envelope: JsonObject = {
            "v": VERSION,
            "seq": before.seq + 1,
            "at": self.at.astimezone(UTC).isoformat(),
            "id": self.id,
            "kind": self.kind,
            "prev": before.hash,
        }
        try:
            return json.dumps({**envelope, **self.details}, sort_keys=True, allow_nan=False).encode()
        except ValueError:
            raise UnwritableEntryError(f"a line of kind {self.kind} that JSON cannot carry") from None

    def size(self) -> int:
        """The most bytes that it takes, wherever it comes to stand.

        Raises:
            UnwritableEntryError: as it says.
        """
        size = len(self.line(_FAR)) + 1
        if size > LONGEST_BLOCK:
            raise UnwritableEntryError(
                f"a line of kind {self.kind} with {size} bytes, more than the {LONGEST_BLOCK} that fit"
            )
        return size


def hash_of(line: bytes) -> str:
    """The hash of a line without its line feed."""
    return hashlib.sha256(line).hexdigest()


def chained(entries: Iterable[Entry], before: Head) -> tuple[bytes, Head]:
    """The entries as lines that follow this head, and the head after them."""
    lines: list[bytes] = []
    for entry in entries:
        lines.append(entry.line(before))
        before = Head(before.seq + 1, hash_of(lines[-1]))
    return b"".join(line + b"\n" for line in lines), before


@dataclass(frozen=True, slots=True)
class End:
    """How a blob ends: what the next line follows, and where it stands if not here.

    ``torn`` says that the last line has no line feed: something that is no hubwarden wrote it.
    """

    head: Head
    next: Place | None = None
    torn: bool = False


def end_of(data: bytes, *, whole: bool) -> End | None:
    """The end of a blob from its last bytes, not empty; None where more of them are needed (not ``whole``).

    What stands at the end is chained to, whatever it is: verification names it, and the trail goes on.
    """
    torn = not data.endswith(b"\n")
    first, *others = (data if torn else data[:-1]).split(b"\n")
    lines = [first, *others] if whole else others
    if not lines:
        return None
    last = _chain_of(lines[-1])
    if last is not None:
        return End(Head(last.seq, hash_of(lines[-1])), last.next, torn)
    seq = next((chain.seq for line in reversed(lines) if (chain := _chain_of(line)) is not None), None)
    if seq is None and not whole:
        return None
    return End(Head(seq or 0, hash_of(lines[-1])), torn=torn)


@dataclass(frozen=True, slots=True)
class _Chain:
    """What chains a line: its own members, not whether they are right."""

    version: int
    seq: int
    prev: str
    next: Place | None


def _chain_of(line: bytes) -> _Chain | None:
    """What chains the line; None where it is no line of a chain."""
    entry = _object(line)
    version, seq, prev = entry.get("v"), entry.get("seq"), entry.get("prev")
    if type(version) is not int or type(seq) is not int or not isinstance(prev, str):
        return None
    goes_on = entry.get("next") if entry.get("kind") == CONTINUED else None
    return _Chain(version, seq, prev, Place.of(goes_on) if isinstance(goes_on, str) else None)


def _object(line: bytes) -> Mapping[str, Any]:
    """The JSON object that the line is; empty where it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, Any]", entry) if isinstance(entry, dict) else {}


def kind_of(line: bytes) -> str | None:
    """The kind of a line as it was read; None where it is no line of ours."""
    kind = _object(line).get("kind")
    return kind if isinstance(kind, str) else None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about the trail that hubwarden did not write so. ``line`` counts from 1; 0 is the blob itself."""

    blob: str
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification came to. ``unchained`` are lines from before the chain was begun."""

    blobs: int
    lines: int
    unchained: int
    first: Head | None
    head: Head | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing was found that was removed, put in, changed or moved."""
        return not self.problems


class Verification:
    """Holds the lines of a trail against each other, in order, with no more than one in memory.

    Args:
        noted: a head that was noted earlier; the line must still be there, as it was.
        midway: the lines do not begin with the first of the trail; then what was before is not missed.
    """

    def __init__(self, *, noted: Head | None = None, midway: bool = False) -> None:
        self._noted = noted
        self._midway = midway
        self._problems: list[Problem] = []
        self._blobs = self._lines = self._unchained = self._at = 0
        self._blob = ""
        self._first: Head | None = None
        self._head: Head | None = None
        self._before: Head | None = None if midway else BEGIN
        self._noted_seen = False
        self.next: Place | None = None
        """Where the trail goes on, once the last line that was taken says so."""

    def going_on(self) -> Verification:
        """A verification of what stands after the lines that were taken here; of these it tells nothing."""
        after = Verification(noted=self._noted, midway=True)
        after._before, after.next = self._before, self.next
        return after

    def begin(self, blob: str) -> None:
        """The lines that follow are of this blob."""
        if self.next is not None and blob != self.next.name:
            self._problems.append(_missing(self.next))
        self.next = None
        self._blobs += 1
        self._blob, self._at = blob, 0

    def take(self, raw: bytes) -> None:
        """One line, with its line feed, as it was read."""
        self._at += 1
        self._lines += 1
        if not raw.endswith(b"\n"):
            self._found("the line is torn: its end is missing")
        line = raw.removesuffix(b"\n")
        chain = _chain_of(line)
        self.next = chain.next if chain else None
        if chain is None:
            self._take_unchained(line)
        else:
            self._take_chained(chain, Head(chain.seq, hash_of(line)))

    def end(self) -> Verdict:
        """What it came to, after the last line."""
        if self.next is not None:
            self._problems.append(_missing(self.next))
        if self._first is None:
            what = "no line of it is chained" if self._lines else "there is no line"
            self._problems.append(Problem(self._blob, 0, f"{what}: nothing is proven, perhaps it was deleted"))
        self._look_for_noted()
        notes = (*self._note_of_unchained(), *self._note_of_beginning())
        return Verdict(
            self._blobs, self._lines, self._unchained, self._first, self._head, tuple(self._problems), notes
        )

    def _take_unchained(self, line: bytes) -> None:
        if not _object(line):
            self._found("no JSON object: the line was changed or put in by hand, or torn")
        elif self._first is None:
            self._unchained += 1
        else:
            self._found("a line without a chain: put in by hand, or an older hubwarden still writes here")
        self._before = Head(self._before.seq if self._before else 0, hash_of(line))

    def _take_chained(self, chain: _Chain, head: Head) -> None:
        if chain.version != VERSION:
            self._found(f"of version {chain.version}, which this hubwarden does not know: use a newer one")
        if self._first is None:
            self._first = head
            self._check_first(chain)
        elif self._before is not None:
            self._check_seq(chain.seq, self._before.seq + 1)
        if self._before is not None and chain.prev != self._before.hash:
            self._found(
                "it was not written after the line that stands before it: that one was changed, "
                "or lines were removed, put in or moved here"
            )
        if self._noted is not None and chain.seq == self._noted.seq:
            self._noted_seen = True
            if head != self._noted:
                self._found("not the line that was noted as the head: it was changed, or the trail written anew")
        self._head = self._before = head

    def _check_first(self, chain: _Chain) -> None:
        if self._midway:
            if self._before is not None:
                self._check_seq(chain.seq, self._before.seq + 1)
        elif chain.seq != 1:
            self._found(
                f"the trail begins with seq {chain.seq}: what was before is gone. Where its retention is over, "
                "check from a day on (--since)"
            )
            self._before = None

    def _check_seq(self, seq: int, expected: int) -> None:
        if seq > expected:
            gone = f"line {expected} is" if seq == expected + 1 else f"the lines {expected} to {seq - 1} are"
            self._found(f"seq {seq} follows {expected - 1}: {gone} gone")
        elif seq < expected:
            self._found(f"seq {seq} follows {expected - 1}: lines were moved or put in, or the trail begun anew")

    def _look_for_noted(self) -> None:
        if self._noted is None or self._noted_seen:
            return
        if self._first is not None and self._noted.seq < self._first.seq:
            what = f"the noted head {self._noted.seq} is before what was looked at: check from an earlier day"
        else:
            now = self._head.seq if self._head else 0
            what = f"line {self._noted.seq}, which was noted as the head, is gone: the trail ends with {now}"
        self._problems.append(Problem(self._blob, 0, what))

    def _note_of_unchained(self) -> Sequence[str]:
        if not self._unchained:
            return ()
        return (f"{self._unchained} lines are from before the chain was begun: nothing proves them",)

    def _note_of_beginning(self) -> Sequence[str]:
        if not self._midway or self._first is None or self._first.seq == 1:
            return ()
        return (f"what is before seq {self._first.seq} was not looked at",)

    def _found(self, what: str) -> None:
        self._problems.append(Problem(self._blob, self._at, what))


def verify(
    blobs: Iterable[tuple[str, Iterable[bytes]]], *, noted: Head | None = None, midway: bool = False
) -> Verdict:
    """Verify blobs that are at hand: their names and lines (with line feeds), in order."""
    verification = Verification(noted=noted, midway=midway)
    for name, lines in blobs:
        verification.begin(name)
        for line in lines:
            verification.take(line)
    return verification.end()


def _missing(place: Place) -> Problem:
    return Problem(place.name, 0, (
        "the trail goes on in this blob and it is not there: deleted, or the app was stopped right before its "
        "first line (then the next line makes it whole)"
    ))  # fmt: skip
