"""Making a report of a month."""

from typing import Final

from goodstrace.transparency.counting import Counting
from goodstrace.transparency.values import VERSION, Month, Report
from services.audit.report.operator_figures import operator_figures
from services.audit.report.spans import SLACK_MS, Spans
from services.runtime.mongo import Database
from services.sealing.bundles import EntryReader
from services.sealing.mongo import MongoBlockStore
from services.sealing.reader import LogReader

PREFIX: Final = "browse/"


async def make_report(database: Database, month: Month, now_ms: int) -> Report:
    """Make the report of a month as it is known now. Raises: UnavailableError, CorruptError."""
    reader = LogReader(database)
    spans = Spans(MongoBlockStore(database), reader, EntryReader(database, reader))
    counting, erasures = Counting(month), {}
    found = []
    for log in sorted(await reader.newest(PREFIX)):
        span = await spans.of(log, month)
        if span is not None:
            found.append(span)
            erasures[log] = await spans.count(span, counting, month)
    public = counting.figures()
    return Report(
        version=VERSION,
        month=month.name,
        made_ms=now_ms,
        complete=now_ms >= month.end_ms + SLACK_MS,
        spans=tuple(found),
        public=public,
        operator=await operator_figures(database, reader, month, public, dict(erasures)),
    )
