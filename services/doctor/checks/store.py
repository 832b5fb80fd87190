"""Has the store its indexes, and is there room? Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.doctor.values import Finding, failed, listed, ok, warning

LITTLE: Final = 0.15
"""Below this share of free space there is time left to do something about it."""
NEXT_TO_NONE: Final = 0.05


class IndexWanted(msgspec.Struct, frozen=True):
    """An index as the code declares it."""

    name: str
    keys: tuple[tuple[str, Any], ...]
    unique: bool = False


Wanted = Mapping[tuple[str, str], Sequence[IndexWanted]]
"""By database and collection."""
There = Mapping[tuple[str, str], Mapping[str, IndexWanted]]


class RoomSeen(msgspec.Struct, frozen=True):
    """A file system: what lies there, and how many bytes of how many are free."""

    what: str
    free: int
    total: int


def check_indexes(wanted: Wanted, there: There) -> list[Finding]:
    """Compare the declared indexes with those that are there."""
    missing, other, count = [], [], 0
    for (database, collection), indexes in sorted(wanted.items()):
        for index in indexes:
            count += 1
            seen = there.get((database, collection), {}).get(index.name)
            if seen is None:
                missing.append(f"{database}.{collection}.{index.name}")
            elif seen != index:
                other.append(f"{database}.{collection}.{index.name}")
    found = []
    if missing:
        do = "make them: python -m services.runtime.provision, then start each service once; both may run at any time"
        found.append(
            failed(f"{len(missing)} indexes are missing: {listed(missing)}", do, "neighbours.md#storefailing")
        )
    if other:
        do = "drop them at a quiet time, then: python -m services.runtime.provision"
        found.append(
            failed(
                f"{len(other)} indexes are others than declared: {listed(other)}",
                do,
                "changes.md#schema-change",
            )
        )
    return found or [ok(f"{count} indexes as declared")]


def check_room(seen: Sequence[RoomSeen]) -> list[Finding]:
    """Is there room on each disk that can be seen from here?"""
    return [_room(each) for each in seen if each.total > 0]


def _room(seen: RoomSeen) -> Finding:
    share = seen.free / seen.total
    text = f"{seen.what}: {share:.0%} free ({seen.free / 2**30:.1f} GiB)"
    do = "make room now: a full disk stops capture; what is sealed grows for ever, so give it more disk"
    if share < NEXT_TO_NONE:
        return failed(text, do, "neighbours.md#diskfilling")
    if share < LITTLE:
        return warning(text, do, "neighbours.md#diskfilling")
    return ok(text)
