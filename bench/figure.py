"""One figure and the goal it is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A count or a ratio.

    Attributes:
        at_most, at_least: The goal; None, both, if the figure is only told.
        unit: What is counted.
    """

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    def shown(self) -> str:
        """For people."""
        number = f"{self.value:,.0f}" if self.value == int(self.value) else f"{self.value:.3f}"
        return f"{number} {self.unit}".strip()

    def goal_shown(self) -> str:
        """For people."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def verdict(self) -> str:
        """Whether the goal is reached."""
        if self.at_most is None and self.at_least is None:
            return ""
        high_enough = self.at_least is None or self.value >= self.at_least
        low_enough = self.at_most is None or self.value <= self.at_most
        return "[green]reached" if high_enough and low_enough else "[red]missed"

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "at_most": self.at_most,
            "at_least": self.at_least,
        }
