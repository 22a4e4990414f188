"""One figure of the benchmark, beside what it should be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured. ``at_most`` is its target, None where it is told for information."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is as it should be; None where nothing is asked of it."""
        return None if self.at_most is None else self.value <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """For the report file."""
        return {**asdict(self), "met": self.met}


def spread(values: list[float], digits: int = 2) -> str:
    """The smallest and the largest of several measurements, for people."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f} in {len(values)} runs"
