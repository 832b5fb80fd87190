"""Capture of a stream of lines: each answered once it is durable, so that a broken stream leaves no doubt.

Lines are captured in groups: those that came while the group before was on its way to Kafka. The answer to a line leaves after the
transaction with its events is committed. Nothing is kept of a stream but a bounded number of bytes, so it may go on for ever.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.collector.collect import Sent
from services.collector.flow import Item, Reason
from services.collector.headers import STREAM_TYPE
from services.collector.intake import Intake
from services.collector.lines import LineFeed
from services.collector.preparing import Prepared, Request, Taken, reason_of
from services.collector.problems import SECURITY, TOO_LARGE, VALIDATION, Problem, of_error
from services.runtime.access.current import still
from services.runtime.epcis_negotiation import ANSWERED
from services.runtime.tracing import spans

_KINDS: Final[dict[Reason | None, tuple[str, int]]] = {
    Reason.TOO_LARGE: (TOO_LARGE, 413),
    Reason.FORBIDDEN: (SECURITY, 403),
}
_ENCODE: Final = msgspec.json.Encoder().encode

Count = Callable[[int], None]
"""Told how many lines were answered."""


async def answers(
    intake: Intake, wanted: Request, chunks: AsyncIterator[bytes], count: Count
) -> AsyncGenerator[bytes, None]:
    """Capture the lines of a body, and give the answers to each group of them, as NDJSON.

    Args:
        intake: captures.
        wanted: what holds for all lines, with the caller as it stood when the stream began. Who calls is asked for anew with each group, so that
            a key that is revoked is none within a stream either.
        chunks: the body as it comes.
        count: counts lines.
    Raises: what ended the reading or the capturing, if it did so before anything was answered. Later it becomes the last line: a
    problem, with the number of the last line that was answered.
    """
    largest = min(intake.limits.body, wanted.caller.body_bytes)
    feed = LineFeed(chunks, largest, intake.hold)
    reading = asyncio.create_task(feed.run())
    answered = 0
    try:
        while lines := await feed.take():
            caller = await intake.gate.admit(await still())
            request = msgspec.structs.replace(wanted, caller=caller)
            with spans.apart():
                prepared = await intake.capture_lines(request, lines)
            count(len(lines))
            yield b"".join(_answer(prepared))
            answered = lines[-1].number
    except Exception as error:
        problem = of_error(error)
        if problem is None or not answered:
            raise
        yield _line({"problem": problem.told(), "linesAnswered": answered})
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        feed.release()


class StreamedAnswer(Response):
    """An answer that is sent while the request is still being read: unlike Starlette's it leaves the request alone."""

    media_type = STREAM_TYPE

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None], timeout_s: float) -> None:
        """Send `first`, then what comes; each must be taken within `timeout_s` seconds."""
        super().__init__(headers=dict(ANSWERED))
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send. A client that has gone, or that does not read, ends it: the connection is closed without the answer's end."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with aclosing(self._rest) as rest:
                await self._send(send, self._first)
                async for lines in rest:
                    await self._send(send, lines)
        except (ClientDisconnect, TimeoutError):
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, lines: bytes) -> None:
        async with asyncio.timeout(self._timeout_s):
            await send({"type": "http.response.body", "body": lines, "more_body": True})


def _answer(prepared: Prepared) -> Iterator[bytes]:
    for taken in prepared.lines:
        yield _line({"line": taken.line.number, **_verdict(prepared.job.id, taken)})


def _verdict(capture: str, taken: Taken) -> dict[str, Any]:
    if taken.error is not None:
        problem = of_error(taken.error)
        assert problem is not None
        return {"problem": problem.told()}
    told = [_event(each) for each in taken.sent]
    if taken.bare:
        return {"captureID": capture, **told[0]}
    return {"captureID": capture, "events": told}


def _event(sent: Sent) -> dict[str, Any]:
    """Give the receipt of an event, or the problem with which it was kept in `goods.rejected`."""
    outcome = sent.outcome
    told: dict[str, Any] = {"recordID": outcome.record.id.hex()}
    if isinstance(outcome, Item):
        return {**told, "eventID": outcome.facts.event_id, "eventHash": outcome.facts.event_hash}
    fault = sent.fault
    assert fault is not None
    kind, status = _KINDS.get(reason_of(sent), (VALIDATION, 400))
    detail = f"{fault.pointer or 'the event'}: {fault.detail}"
    return {**told, "problem": Problem(status, kind, detail, faults=(fault,)).told()}


def _line(told: dict[str, Any]) -> bytes:
    return _ENCODE(told) + b"\n"
