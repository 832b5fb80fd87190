"""Health and reflection, which anybody may call without signing in: their streams have a number and an end, so that they leave room for the calls of the service."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

MAX_OPEN_STREAMS: Final = 32
OPEN_STREAM_S: Final = 120.0
"""As long as a connection: whoever watches connects anew then anyway, and watches on there."""
_METHODS: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.")
_TO_STREAM: Final[dict[str, Callable[..., Any]]] = {
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}
_Answers = Awaitable[object] | AsyncIterator[object]


class OpenCalls:
    """Bounds the calls of one server that nobody is asked for."""

    def __init__(self, max_streams: int = MAX_OPEN_STREAMS, stream_s: float = OPEN_STREAM_S) -> None:
        """Allow `max_streams` streams at a time, each for `stream_s` seconds."""
        self._max_streams, self._stream_s = max_streams, stream_s
        self._streams = 0

    @staticmethod
    def covers(method: str) -> bool:
        """Say whether a method, by its full name, is one of them."""
        return method.startswith(_METHODS)

    def bounded(self, handler: Any) -> Any:
        """Wrap a handler of these; single calls, such as Health/Check, are answered at once and pass as they are."""
        for kind, made in _TO_STREAM.items():
            behaviour = getattr(handler, kind, None)
            if behaviour is not None:
                return made(
                    self._bounded(behaviour),
                    request_deserializer=handler.request_deserializer,
                    response_serializer=handler.response_serializer,
                )
        return handler

    def _bounded(self, behaviour: Callable[[Any, Any], _Answers]) -> Callable[[Any, Any], Awaitable[None]]:
        async def call(request: Any, context: Any) -> None:
            if self._streams >= self._max_streams:
                await context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams of health and reflection: try again"
                )
            self._streams += 1
            try:
                async with asyncio.timeout(self._stream_s):
                    await _written(behaviour(request, context), context)
            except TimeoutError:
                await context.abort(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    f"a stream of this kind ends after {self._stream_s:g} s: begin anew",
                )
            finally:
                self._streams -= 1

        return call


async def _written(answers: _Answers, context: Any) -> None:
    """Let a behaviour write its answers itself, or write those that it yields."""
    if inspect.isawaitable(answers):
        await answers
        return
    async for each in answers:
        await context.write(each)
