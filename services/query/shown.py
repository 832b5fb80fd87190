"""Recording what is about to be shown, counting it and logging it: one way for all calls of the query service."""

import structlog

from services.query.metrics import QueryMetrics
from services.sealing.browse import Browse, Recorder


class Shown:
    """Records looks. Nothing may leave before `record` has returned (design.md, invariant 4)."""

    def __init__(self, recorder: Recorder, metrics: QueryMetrics, log: structlog.stdlib.BoundLogger) -> None:
        """Record by `recorder`, count in `metrics`, tell `log`."""
        self._recorder, self._metrics, self._log = recorder, metrics, log

    async def record(self, browse: Browse) -> str:
        """Record a look and give its ID. Raises: NotRecordedError."""
        browse_id = await self._recorder.record(browse)
        self._metrics.shown.inc(browse.events)
        self._log.info("shown", browse=browse_id, method=browse.method, events=browse.events)
        return browse_id
