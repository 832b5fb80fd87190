"""Reading what the watch keeps in MongoDB: alerts, in the order in which they were stored, and statistics."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from goodstrace.audit.v1 import watch_pb2
from services.audit.watch.store import ACTIVITY, ALERTS, COUNTS, DISTINCT
from services.audit.watch_requests import AlertsWanted
from services.runtime.mongo import Database, translated

_FIGURES: Final = ("about", "subject", "start_ms", "end_ms", *COUNTS, *DISTINCT)


class StoredAlert(msgspec.Struct, frozen=True):
    """An alert and when it was stored, Unix milliseconds."""

    alert: watch_pb2.Alert
    stored_ms: int


class WatchReader:
    """Reads the collections of the watch."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._alerts, self._activity = database[ALERTS], database[ACTIVITY]

    async def alerts(
        self, wanted: AlertsWanted, subjects: Sequence[str], before: tuple[int, str] | None, most: int
    ) -> list[StoredAlert]:
        """List alerts about one of some subjects, or about all where there are none, those stored last first, from behind `before` (when stored, and ID).

        Raises: UnavailableError.
        """
        meant: dict[str, Any] = {"rule": wanted.rule} if wanted.rule else {}
        if subjects:
            meant["subject"] = {"$in": list(subjects)}
        if wanted.after_ms:
            meant["end_ms"] = {"$gt": wanted.after_ms}
        if before is not None:
            at_ms, last = before
            meant["$or"] = [{"stored_ms": {"$lt": at_ms}}, {"stored_ms": at_ms, "_id": {"$lt": last}}]
        async with translated():
            found = self._alerts.find(meant).sort([("stored_ms", -1), ("_id", -1)]).limit(most)
            return [_stored(each) async for each in found]

    async def alerts_since(self, stored_ms: int, most: int) -> list[StoredAlert]:
        """List alerts stored at that time or later, the earliest first. Raises: UnavailableError."""
        async with translated():
            found = self._alerts.find({"stored_ms": {"$gte": stored_ms}})
            return [_stored(each) async for each in found.sort([("stored_ms", 1), ("_id", 1)]).limit(most)]

    async def activity(
        self, about: str, subjects: Sequence[str], start_ms: int, end_ms: int
    ) -> list[watch_pb2.Activity]:
        """List the windows of subjects that start in a time, the oldest first; those of "all" are summed. Raises: UnavailableError."""
        meant: dict[str, Any] = {"about": about, "start_ms": {"$gte": start_ms, "$lt": end_ms}}
        if about != "all":
            meant["subject"] = {"$in": list(subjects)}
        async with translated():
            rows = [each async for each in self._activity.find(meant).sort("start_ms", 1)]
        return summed(rows) if about == "all" else [_activity(row) for row in rows]

    async def busiest(
        self, about: str, at_ms: int, after: tuple[int, str] | None, most: int
    ) -> list[tuple[watch_pb2.Activity, tuple[int, str]]]:
        """List those with the most looks in the window that holds a time, with their places in the list. Raises: UnavailableError."""
        async with translated():
            newest = await self._activity.find_one(
                {"about": about, "start_ms": {"$lte": at_ms}, "end_ms": {"$gt": at_ms}}, {"start_ms": 1}
            )
        if newest is None:
            return []
        meant: dict[str, Any] = {"about": about, "start_ms": newest["start_ms"]}
        if after is not None:
            looks, last = after
            meant["$or"] = [{"looks": {"$lt": looks}}, {"looks": looks, "_id": {"$gt": last}}]
        async with translated():
            found = self._activity.find(meant).sort([("looks", -1), ("_id", 1)]).limit(most)
            return [(_activity(row), (row["looks"], row["_id"])) async for row in found]


def summed(rows: Sequence[Mapping[str, Any]]) -> list[watch_pb2.Activity]:
    """Add up what the partitions counted, by window; distinct things cannot be added and are left out. Pure."""
    windows: dict[int, watch_pb2.Activity] = {}
    for row in rows:
        window = windows.setdefault(
            row["start_ms"],
            watch_pb2.Activity(about="all", start_ms=row["start_ms"], end_ms=row["end_ms"]),
        )
        for name in COUNTS:
            setattr(window, name, getattr(window, name) + row[name])
    return [windows[start] for start in sorted(windows)]


def _activity(row: Mapping[str, Any]) -> watch_pb2.Activity:
    return watch_pb2.Activity(**{name: row[name] for name in _FIGURES})


def _stored(document: Mapping[str, Any]) -> StoredAlert:
    return StoredAlert(watch_pb2.Alert.FromString(bytes(document["alert"])), int(document["stored_ms"]))
