"""CaptureService over gRPC: messages are taken in as they come, several at a time, and answered in their order.

Back-pressure is waiting: where a call has enough under way, or the process holds all it may, nothing more is read, and gRPC's flow
control holds the sender back.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Final, Protocol

import grpc

from goodstrace.collector.v1 import capture_pb2 as wire
from goodstrace.collector.v1 import capture_pb2_grpc
from services.collector import capture_messages
from services.collector.errors import DocumentError, OverloadedError
from services.collector.intake import Intake
from services.collector.preparing import Request
from services.runtime.access.current import principal, still
from services.runtime.calls import COMMON_FAILURES, STOPPING, Failure, Failures
from services.runtime.errors import ServiceError
from services.runtime.grpc import Context
from services.runtime.merchants.errors import RateLimitedError

WINDOW_MESSAGES: Final = 256
WINDOW_BYTES: Final = 16 * 1024 * 1024
_MESSAGE_BYTES: Final = 512  # what an empty message takes with its task


class StoppingError(ServiceError):
    """The service stops: what was answered is durable, all else is to be sent to another one."""

    category = "stopped"


_STOPPING: Final = Failure(
    grpc.StatusCode.UNAVAILABLE, STOPPING, "the service stops: connect again, and send what has no receipt"
)
FAILURES: Final[Failures] = {
    **COMMON_FAILURES,
    StoppingError: _STOPPING,
    OverloadedError: _STOPPING,
    RateLimitedError: Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
}
"""Captures here wait for room, so that OverloadedError comes from an intake that takes nothing more."""


class _Message(Protocol):
    """A request of either call."""

    @property
    def sending(self) -> wire.Sending:
        """What is captured."""


class _Call:
    """The messages of one call that are under way, bounded in number and bytes."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._under_way: asyncio.Queue[asyncio.Task[wire.Receipt] | None] = asyncio.Queue(WINDOW_MESSAGES)
        self._held_bytes = 0
        self._freed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[wire.Receipt]] = set()
        self._stopped = False

    async def receipts(self, messages: AsyncIterator[_Message]) -> AsyncGenerator[wire.Receipt, None]:
        """Give the receipts in the order of the messages.

        Raises: UnauthenticatedError, ForbiddenError, RateLimitedError, InvalidRequestError, after the receipts of the messages before; StoppingError likewise; UnavailableError: the message
        at hand and all after it may be durable or not.
        """
        self._reader = asyncio.create_task(self._read(messages))
        try:
            while (task := await self._under_way.get()) is not None:
                yield await task
            if self._stopped:
                raise StoppingError("asked to stop")
            await self._reader
        finally:
            await self._end(self._reader)

    def stop(self) -> None:
        """Read no more; what was read is finished."""
        self._stopped = True
        if self._reader is not None:
            self._reader.cancel()

    async def _end(self, reader: asyncio.Task[None]) -> None:
        """Give up what is under way; the queue is emptied so that the reader can come to its end."""
        reader.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        while not self._under_way.empty():
            self._under_way.get_nowait()
        await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, messages: AsyncIterator[_Message]) -> None:
        last = -1
        try:
            if self._stopped:
                return
            gate = self._intake.gate
            await gate.admit(principal())  # who may not call is told so at once
            async for message in messages:
                caller = await gate.admit(await still())  # anew: a revoked key is none within a call either
                request = capture_messages.request_of(message.sending, last, caller)
                last = message.sending.sequence
                size = request.size_bytes + _MESSAGE_BYTES * (1 + len(request.signatures))
                await self._hold(size)
                await self._under_way.put(self._begin(last, request, size))
        finally:
            await self._under_way.put(None)

    async def _hold(self, size: int) -> None:
        while self._held_bytes and self._held_bytes + size > WINDOW_BYTES:
            self._freed.clear()
            await self._freed.wait()
        await self._intake.hold_when_free(size)
        self._held_bytes += size

    def _begin(self, sequence: int, request: Request, size: int) -> asyncio.Task[wire.Receipt]:
        """Begin to take a message; its room is given back when it ends, also where it is cancelled before it began."""
        task = asyncio.create_task(self._take(sequence, request))
        self._tasks.add(task)

        def ended(task: asyncio.Task[wire.Receipt]) -> None:
            self._tasks.discard(task)
            self._held_bytes -= size
            self._intake.hold(-size)
            self._freed.set()
            if not task.cancelled():
                task.exception()  # that of a message behind the one that failed is nobody's to hear

        task.add_done_callback(ended)
        return task

    async def _take(self, sequence: int, request: Request) -> wire.Receipt:
        try:
            capture_messages.check_size(request)
            return capture_messages.receipt(sequence, await self._intake.take(request, patient=True))
        except DocumentError as error:
            return capture_messages.refusal(sequence, error)


class CaptureServicer(capture_pb2_grpc.CaptureServiceServicer):
    """Answers CaptureService's calls; errors leave as exceptions, for the interceptor's table."""

    def __init__(self, intake: Intake) -> None:
        """Capture through `intake`."""
        self._intake = intake
        self._calls: set[_Call] = set()
        self._stopped = False

    def stop(self) -> None:
        """End all calls once what they have read is durable."""
        self._stopped = True
        for call in self._calls:
            call.stop()

    async def Capture(  # noqa: N802 - the name in the proto
        self,
        request_iterator: AsyncIterator[wire.CaptureRequest],
        _context: Context,
    ) -> wire.CaptureResponse:
        """Capture messages and say at the end what became of them."""
        summary = capture_messages.Summary()
        with self._call() as call:
            async with contextlib.aclosing(call.receipts(request_iterator)) as receipts:
                async for receipt in receipts:
                    summary.add(receipt)
        return summary.response()

    async def CaptureStream(  # type: ignore[override]  # noqa: N802 - the name in the proto; the stubs know generators only
        self, request_iterator: AsyncIterator[wire.CaptureStreamRequest], context: Context
    ) -> None:
        """Capture messages and answer each once it is durable."""
        with self._call() as call:
            async with contextlib.aclosing(call.receipts(request_iterator)) as receipts:
                async for receipt in receipts:
                    await context.write(wire.CaptureStreamResponse(receipt=receipt))

    @contextlib.contextmanager
    def _call(self) -> Iterator[_Call]:
        call = _Call(self._intake)
        self._calls.add(call)
        if self._stopped:
            call.stop()
        try:
            yield call
        finally:
            self._calls.discard(call)
