"""What the demo tells on the screen and in its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console


class NotAsExpectedError(AssertionError):
    """Something did not happen that should have, or the other way round."""


@dataclass
class Story:
    """What is told, and what is kept of each hub for the report."""

    console: Console
    steps: list[dict[str, Any]] = field(default_factory=list)
    hubs: dict[str, Any] = field(default_factory=dict)

    def chapter(self, title: str) -> None:
        """A heading."""
        self.console.print(f"\n[bold]{title}[/bold]")
        self._note("chapter", title)

    def tell(self, text: str, mark: str = "•") -> None:
        """One thing that happened."""
        self.console.print(f"  {mark} {text}", highlight=False, soft_wrap=True)
        self._note("step", text)

    def quote(self, text: str) -> None:
        """Words of others, as they are."""
        lines = (f"      {line}".rstrip() for line in text.rstrip().splitlines())
        self.console.print("\n".join(lines), style="dim", highlight=False, soft_wrap=True, markup=False)
        self._note("quote", text)

    def expect(self, holds: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Tell that something holds, or end the demo because it does not."""
        if not holds:
            raise NotAsExpectedError(text)
        self.tell(text, "[green]✓[/green]")

    def _note(self, kind: str, text: str) -> None:
        self.steps.append({"at": datetime.now(UTC).isoformat(), kind: text})
