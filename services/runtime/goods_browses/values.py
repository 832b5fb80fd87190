"""The counts of one day, as values. Pure."""

from typing import Final

import msgspec

from goodstrace.facts import STEPS as SUPPLY_STEPS
from services.runtime.access.values import Role

LEAST_VIEWERS: Final = 5
"""Fewer people than this are told of nobody."""
NO_STEP: Final = "none"
STEPS: Final = (*SUPPLY_STEPS, NO_STEP)
"""The steps that goods have come to, as the collector's tables name them, and that none is known."""
ROLES: Final = tuple(str(role) for role in Role)

Cell = tuple[str, str]
"""Role and step."""


class RoleCounts(msgspec.Struct, frozen=True):
    """What is told of one role: over all steps, and of those steps of which it may be told."""

    viewers: int
    steps: dict[str, int] = {}


class DayCounts(msgspec.Struct, frozen=True):
    """What is told of one day: roles of which it may be told, and the sum over all; None where it is too small."""

    roles: dict[str, RoleCounts] = {}
    total: int | None = None
