"""The step that goods have come to, as the collector keeps it with their states."""

from collections.abc import Iterable
from typing import Final

from services.runtime.goods_browses.values import NO_STEP, STEPS
from services.runtime.mongo import Database, find_named

STATES: Final = "goods_states"


async def steps_of(database: Database, keys: Iterable[str]) -> dict[str, str]:
    """Give the step of each key's last event, NO_STEP where none is known. Raises: UnavailableError."""
    asked = sorted(set(keys))
    rows = await find_named(database, STATES, asked, {"step.value": 1})
    found = {row["_id"]: row.get("step", {}).get("value", NO_STEP) for row in rows}
    return {key: step if (step := found.get(key, NO_STEP)) in STEPS else NO_STEP for key in asked}
