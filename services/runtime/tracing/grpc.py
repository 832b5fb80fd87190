"""Spans of gRPC calls, for the interceptor that stands around each of them."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final

import grpc

from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute

_TRACEPARENT: Final = "traceparent"
_FAULTS: Final = (
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
)
"""Codes that are the server's fault, by the conventions: others are no errors of its span."""


def call(
    operation: str, metadata: Iterable[tuple[Any, Any]] | None, *, takes_stream: bool
) -> AbstractContextManager[spans.Span]:
    """Open the span of a call, "/package.Service/Method". Where the caller sends a stream, what is done for each of its messages is a trace of its own."""
    return _call(operation, metadata, takes_stream=takes_stream) if spans.is_on() else spans.NOTHING


@contextmanager
def _call(
    operation: str, metadata: Iterable[tuple[Any, Any]] | None, *, takes_stream: bool
) -> Iterator[spans.Span]:
    method = operation.removeprefix("/")
    attributes = {Attribute.RPC_SYSTEM: "grpc", Attribute.RPC_METHOD: method}
    found = [value for key, value in metadata or () if key == _TRACEPARENT and isinstance(value, str)]
    traceparent = found[0] if len(found) == 1 else ""
    with ExitStack() as stack:
        opened = stack.enter_context(spans.of_caller(method, spans.Kind.SERVER, attributes, traceparent))
        if takes_stream:
            stack.enter_context(spans.apart())
        yield opened


def ended(opened: spans.Span, code: grpc.StatusCode) -> None:
    """Say how a call ended."""
    if opened.context is None:
        return
    opened.say(Attribute.RPC_STATUS, code.name)
    if code in _FAULTS:
        opened.fail(code.name)
