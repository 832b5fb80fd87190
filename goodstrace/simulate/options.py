"""What a simulation is made of: the options and their limits."""

from __future__ import annotations

import dataclasses
import datetime as dt


class OptionError(ValueError):
    """An option lies outside its limits; the message names it, its value and the limits."""


_LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "events": (0, 10**8),
    "depth": (1, 6),
    "items_per_case": (1, 100),
    "cases_per_pallet": (1, 60),
    "events_per_document": (1, 10_000),
    "returns": (0, 1),
    "recalls": (0, 1),
    "corrections": (0, 1),
    "storms": (0, 1),
}


@dataclasses.dataclass(frozen=True, slots=True)
class SimulationOptions:
    """Options of one simulation. Equal options give equal bytes on every machine and at any time.

    Args:
        seed: 0..2**63-1; every identifier is drawn from it.
        events: how many events to make, exactly, 0..10**8.
        depth: transformations between raw lots and sold items, 1..6.
        items_per_case: 1..100. cases_per_pallet: 1..60. (Together they keep every event under 1 MiB.)
        events_per_document: most events in one document, 1..10,000; only a party's last document has fewer.
        returns: share of sold items that come back, 0..1.
        recalls: share of chains whose product lot is recalled, 0..1.
        corrections: share of events first recorded wrongly, then declared in error and corrected, 0..1.
        storms: share of observations that a reader reports 20 to 60 times within seconds, 0..1.
        start: day of the first harvest; everything happens within about ten months of it.

    Raises: OptionError.
    """

    seed: int = 1
    events: int = 1000
    depth: int = 3
    items_per_case: int = 6
    cases_per_pallet: int = 4
    events_per_document: int = 100
    returns: float = 0.05
    recalls: float = 0.1
    corrections: float = 0.01
    storms: float = 0.0
    start: dt.date = dt.date(2025, 1, 6)

    def __post_init__(self) -> None:
        """Check every option against its limits."""
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                message = f"{name} is {value}, not within {low}..{high}"
                raise OptionError(message)
        if not 1970 <= self.start.year <= 9000:
            message = f"start is {self.start}, not within the years 1970..9000"
            raise OptionError(message)
