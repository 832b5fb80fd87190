"""What is told of looks beside their records, as it is counted. Pure."""

from goodstrace.record.v1 import record_pb2
from services.audit.figures.values import Look, Marks
from services.runtime.access.values import Role

MARKS = "marks"


def counted(told: record_pb2.WatchedBrowse, offset: int) -> Look | Marks:
    """Read one record of the topic as what is counted of it; `offset` is its place in its partition."""
    if told.kind == MARKS:
        return Marks(offset, told.time_ms, len(told.answered), len(told.failed), len(told.withheld))
    return Look(
        offset=offset,
        time_ms=told.time_ms,
        kind=told.kind,
        user=told.pseudonym,
        role=told.role or Role.ANYBODY,
        method=told.method,
        merchant=told.merchant,
        refused=told.refused,
        times=max(1, told.times),
        shown=told.events,
        keys=tuple(told.keys),
    )
