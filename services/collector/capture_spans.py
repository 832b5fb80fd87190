"""Spans of captures: of what *collect* makes of one, and of handing it to Kafka.

The records of a capture name its span *collect*: what is done for them later is below that.
"""

from contextlib import AbstractContextManager
from typing import Final

import msgspec

from services.collector.preparing import Prepared, Request
from services.runtime import topics
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute, messaging
from services.runtime.tracing.spans import Kind, Span

_COLLECT: Final = messaging("collect", "create", topics.GOODS_COLLECTED)
_SEND: Final = messaging("send", "send", topics.GOODS_COLLECTED)
_ARRIVED: Final = messaging("collect", "process", topics.GOODS_INGRESS)


def collecting(traceparent: str) -> AbstractContextManager[Span]:
    """Open the span of a capture that was sent with a `traceparent`."""
    return spans.of_caller(f"collect {topics.GOODS_COLLECTED}", Kind.PRODUCER, _COLLECT, traceparent)


def arriving(traceparent: str) -> AbstractContextManager[Span]:
    """Open the span of a message of the ingress."""
    return spans.of_caller(f"collect {topics.GOODS_INGRESS}", Kind.CONSUMER, _ARRIVED, traceparent)


def stamped(request: Request, opened: Span) -> Request:
    """Have the records of a capture name its span."""
    traceparent = spans.handed_on(opened, request.traceparent)
    if traceparent == request.traceparent:
        return request
    return msgspec.structs.replace(request, traceparent=traceparent)


def say(opened: Span, prepared: Prepared) -> None:
    """Say what was made: the capture, how many events, how many of them refused; of a single one its record."""
    if opened.context is None:
        return
    opened.say(Attribute.CAPTURE, prepared.job.id)
    opened.say(Attribute.EVENTS, prepared.job.events)
    opened.say(Attribute.REFUSED, len(prepared.refused))
    if len(prepared.sent) == 1:
        opened.say(Attribute.RECORD, prepared.sent[0].outcome.record.id.hex())


def sending() -> AbstractContextManager[Span]:
    """Open the span of waiting until a capture is durable."""
    return spans.span(f"send {topics.GOODS_COLLECTED}", Kind.PRODUCER, _SEND)
