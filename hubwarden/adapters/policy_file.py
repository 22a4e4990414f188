"""The policy file on disk: read again when it changes, and the last good one is kept."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hubwarden.adapters.azure.redaction import safe_text
from hubwarden.domain.policy import Policy, PolicyError, check_policy
from hubwarden.domain.rule import Rule
from hubwarden.service.ports import Clock


_SETTLED: Final = 5.0
"""Seconds for which a changed file must lie still: half of one may read as a good one that allows more."""


class PolicyFile:
    """One policy file. ``policy`` is the last good one, ``problems`` what is wrong with the file as it is now."""

    def __init__(
        self, path: Path, rules: Sequence[Rule], clock: Clock, *, wall: Callable[[], float] = time.time
    ) -> None:
        self.policy: Policy | None = None
        self.problems = ""
        self._path, self._rules, self._clock, self._wall = path, rules, clock, wall
        self._seen: object = None
        self._lock = threading.Lock()

    def look(self, *, first: bool = False) -> Policy | None:
        """Read the file if it is another one than at the last look; may be called from any thread.

        Args:
            first: it is the start: take the file as it lies.

        Returns:
            A good policy that is not in use yet, to ``keep``. None where there is no news, or bad.
        """
        with self._lock:
            stamp = self._stamp()
            if not first and (stamp == self._seen or self._is_fresh(stamp)):
                return None
            self._seen = stamp
            try:
                text = self._path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                self._refuse(
                    f"{self._path}: cannot be read ({error}); HUBWARDEN_POLICY says where the policy file is"
                )
                return None
            policy, problems = check_policy(text, self._rules, today=self._clock.now().date())
            said = str(PolicyError(str(self._path), problems)) if problems else ""
            if policy is None:
                self._refuse(said)
            else:
                self.problems = said
            return policy

    def keep(self, policy: Policy) -> None:
        """It is in use now."""
        self.policy = policy

    @property
    def told(self) -> str:
        """The problems, fit for the log."""
        return "\n".join(safe_text(line) for line in self.problems.splitlines())

    def _refuse(self, why: str) -> None:
        stays = "the policy file was changed and cannot be used as it is; the last good one stays in use:\n"
        self.problems = f"{stays if self.policy else ''}{why}"

    def _stamp(self) -> tuple[int, int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _is_fresh(self, stamp: tuple[int, int, int, int] | None) -> bool:
        """Whether somebody may still be writing it; a clock that is behind must not make that for ever."""
        return stamp is not None and 0 <= self._wall() - max(stamp[:2]) / 1e9 < _SETTLED
