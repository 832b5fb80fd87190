"""What waits in Kafka, for whom, and does it move? Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from services.doctor.values import Finding, failed, listed, ok, warning

MANY: Final = 10_000
"""So many records are some seconds of work."""
_RUNBOOK: Final = "pipeline.md#pipelinebehind"
Place = tuple[str, int]
"""A topic and its partition."""


class GroupSeen(msgspec.Struct, frozen=True):
    """A consumer group: how many members it has, where it is in each partition at two moments, and how many records wait for it there."""

    name: str
    members: int
    before: Mapping[Place, int]
    after: Mapping[Place, int]
    waiting: Mapping[Place, int]


def check_lag(
    groups: Sequence[GroupSeen],
    *,
    moved_by_others: Collection[str],
    expected: Sequence[str],
    others: Sequence[str] = (),
) -> list[Finding]:
    """Is each group there, and does it come nearer to the ends of what it reads?

    Args:
        groups: ours that have committed offsets in our topics.
        moved_by_others: groups of stages that another one's process moves within its transaction: they have no members.
        expected: groups of services that are always there once something was captured.
        others: groups on these brokers that are not ours, such as of other installations, or of whoever reads our topics: nobody here can say what they should do.
    """
    found = [
        _group(each, has_members=each.name not in moved_by_others)
        for each in sorted(groups, key=lambda each: each.name)
    ]
    known = {each.name for each in groups}
    found += [
        warning(
            f"the group {name} has never read anything",
            "start the service that it belongs to, or wait a minute",
            _RUNBOOK,
        )
        for name in expected
        if name not in known
    ]
    if not found:
        found.append(ok("nothing was captured yet"))
    if others:
        found.append(ok(f"{len(others)} groups of others are not judged: {listed(list(others))}"))
    return found


def _group(group: GroupSeen, *, has_members: bool) -> Finding:
    lag = sum(group.waiting.values())
    if has_members and not group.members:
        said, level = (f"{lag:,} records wait", failed) if lag else ("nothing waits", warning)
        return level(
            f"{group.name}: {said} and nobody reads", "start the service that it belongs to", _RUNBOOK
        )
    stuck = [place for place in group.waiting if group.before.get(place) == group.after[place]]
    if stuck:
        topic, partition = min(stuck)
        offset = group.after[topic, partition]
        return warning(
            f"{group.name}: {lag:,} records wait, and {topic}[{partition}] stands at offset {offset}",
            "look again in a minute; where the offset is the same, read the service's log of it",
            "recovery.md#poison-event",
        )
    text = f"{group.name}: {lag:,} records wait" if lag else f"{group.name}: nothing waits"
    return warning(f"{text}; it moves", "see what is slow", _RUNBOOK) if lag > MANY else ok(text)
