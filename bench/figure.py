"""One figure and the goal it is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A count or a ratio.

    Attributes:
        at_most: The goal; None if the figure is only told.
        unit: What is counted.
    """

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None

    def shown(self) -> str:
        """For people."""
        number = f"{self.value:,.0f}" if self.value == int(self.value) else f"{self.value:.3f}"
        return f"{number} {self.unit}".strip()

    def goal_shown(self) -> str:
        """For people."""
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def verdict(self) -> str:
        """Whether the goal is reached."""
        if self.at_most is None:
            return ""
        return "[green]reached" if self.value <= self.at_most else "[red]missed"

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"what": self.what, "value": self.value, "unit": self.unit, "at_most": self.at_most}
