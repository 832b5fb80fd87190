"""The span of a transaction that several captures share: of a trace of its own, linked to theirs."""

import time
from collections.abc import Sequence
from typing import Final

from services.runtime import topics
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute, messaging
from services.runtime.tracing.context import TraceContext
from services.runtime.tracing.spans import MAX_LINKS, Kind

_COMMIT: Final = messaging("commit", "send", topics.GOODS_COLLECTED)


def committed(
    contexts: Sequence[TraceContext | None], records: int, began_s: float, failed: str = ""
) -> None:
    """Tell of a transaction with several captures, which began at `began_s` of `time.perf_counter`; nothing where none of them is traced."""
    if not spans.is_on():
        return
    traced = [each for each in contexts if each is not None]
    if not traced:
        return
    ended_ns = time.time_ns()
    began_ns = ended_ns - round((time.perf_counter() - began_s) * 1e9)
    attributes = {**_COMMIT, Attribute.MESSAGES: records, Attribute.LEFT_OUT: max(0, len(traced) - MAX_LINKS)}
    spans.tell(
        spans.Finished(
            f"commit {topics.GOODS_COLLECTED}",
            began_ns,
            ended_ns,
            Kind.PRODUCER,
            links=traced[:MAX_LINKS],
            attributes=attributes,
            failed=failed,
        )
    )
