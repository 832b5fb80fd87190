"""Looks and their outcomes: what interceptor and middleware say of each way in which an answer can end, and the receipts they add."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from goodstrace.audit.v1 import audit_pb2, watch_pb2
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import (
    completeness_pb2,
    goods_pb2,
    recall_pb2,
    registrations_pb2,
    subscribe_pb2,
    trace_pb2,
)
from services.runtime.answering import RECEIPT_HEADER, Answering, header_of, receipt_of
from services.runtime.call_errors import InvalidRequestError, NotAllowedError
from services.runtime.looks import Look, Looks, Outcome, note, noting
from services.runtime.merchants.errors import UnauthenticatedError

MODULES = (
    audit_pb2,
    watch_pb2,
    trace_pb2,
    goods_pb2,
    recall_pb2,
    registrations_pb2,
    subscribe_pb2,
    completeness_pb2,
)
LOOK = Look(b"a" * 16, b"l" * 32, "browse/3", 1_700_000_000_000)
OTHER = Look(b"b" * 16, b"m" * 32, "browse/1", 1_700_000_000_001)
EVENT = trace_pb2.TraceEvent(identity="it")
HIDDEN = {"total_withheld": 2}


class Call:
    """A gRPC context that can be told to fail."""

    def __init__(self, fails: BaseException | None = None) -> None:
        self.done: list[Callable[[Any], None]] = []
        self.written: list[Any] = []
        self._fails = fails

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.done.append(callback)

    async def write(self, message: Any) -> None:
        if self._fails is not None:
            raise self._fails
        self.written.append(message)

    def end(self) -> None:
        for each in self.done:
            each(self)


class Told:
    """Takes outcomes down."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[bytes, Outcome]] = []
        self.answering = Answering(lambda look, outcome: self.outcomes.append((look, outcome)))

    @property
    def only(self) -> Outcome:
        [(look, outcome)] = self.outcomes
        assert look == LOOK.record_id
        return outcome

    async def unary(self, answer: Any, context: Call | None = None) -> Any:
        async def behaviour(_request: Any, _context: Any) -> Any:
            note(LOOK)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        call = context or Call()
        return await self.answering.unary(behaviour)(None, call)

    async def stream(self, behaviour: Callable[[Any, Any], Awaitable[None]], context: Call) -> None:
        await self.answering.stream(behaviour)(None, context)


def _trace(**fields: Any) -> trace_pb2.TraceResponse:
    return trace_pb2.TraceResponse(browse_id=LOOK.record_id.hex(), **fields)


async def test_an_answer_leaves_with_its_receipt_and_counts_once_it_was_handed_over() -> None:
    told, call = Told(), Call()
    told.answering.sign = lambda look: f"signed {look.log}"
    answer = await told.unary(_trace(events=[EVENT]), call)
    assert told.outcomes == []
    call.end()
    assert told.only is Outcome.ANSWERED
    receipt = answer.receipt
    assert (receipt.browse_id, receipt.leaf_hash, receipt.log, receipt.time_ms, receipt.signed) == (
        LOOK.record_id.hex(),
        LOOK.leaf_hash,
        "browse/3",
        LOOK.time_ms,
        "signed browse/3",
    )


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (_trace(), Outcome.ANSWERED),  # that there is nothing is an answer
        (_trace(nodes=[trace_pb2.TraceNode(key="k")], **HIDDEN), Outcome.WITHHELD),
        (_trace(events=[EVENT], **HIDDEN), Outcome.ANSWERED),
    ],
)
async def test_what_is_withheld_altogether_is_told_apart(answer: Any, outcome: Outcome) -> None:
    told, call = Told(), Call()
    await told.unary(answer, call)
    call.end()
    assert told.only is outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidRequestError("x", "y"), Outcome.FAILED),
        (RuntimeError("defect"), Outcome.FAILED),
        (TimeoutError(), Outcome.FAILED),
        (asyncio.CancelledError(), Outcome.FAILED),  # the caller has gone
        (UnauthenticatedError("gone"), Outcome.WITHHELD),
        (NotAllowedError("no"), Outcome.WITHHELD),
    ],
)
async def test_what_ends_in_an_error_has_failed_or_was_withheld(
    error: BaseException, outcome: Outcome
) -> None:
    told = Told()
    with pytest.raises(type(error)):
        await told.unary(error)
    assert told.only is outcome


async def test_each_message_of_a_stream_settles_the_looks_that_it_shows() -> None:
    told, call = Told(), Call()
    after: list[int] = []

    async def behaviour(_request: Any, context: Any) -> None:
        note(LOOK)
        await context.write(trace_pb2.StreamTraceResponse(key="k", browse_id=LOOK.record_id.hex()))
        after.append(len(told.outcomes))
        await context.write(trace_pb2.StreamTraceResponse(events=[EVENT]))
        after.append(len(told.outcomes))
        note(OTHER)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await told.stream(behaviour, call)
    assert after == [0, 1]
    assert told.outcomes == [(LOOK.record_id, Outcome.ANSWERED), (OTHER.record_id, Outcome.FAILED)]
    assert call.written[0].receipt.leaf_hash == LOOK.leaf_hash
    assert not call.written[1].HasField("receipt")


async def test_a_stream_that_tells_of_nothing_but_what_is_withheld() -> None:
    told = Told()

    async def behaviour(_request: Any, context: Any) -> None:
        note(LOOK)
        summary = trace_pb2.StreamTraceSummary(last=True, total_withheld=3)
        await context.write(trace_pb2.StreamTraceResponse(summary=summary))

    await told.stream(behaviour, Call())
    assert told.only is Outcome.WITHHELD


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (asyncio.CancelledError(), Outcome.ANSWERED),  # it may have been on its way: in doubt it was seen
        (RuntimeError("the call has ended"), Outcome.FAILED),
    ],
)
async def test_a_message_that_was_cut_off_counts_as_seen(error: BaseException, outcome: Outcome) -> None:
    told = Told()

    async def behaviour(_request: Any, context: Any) -> None:
        note(LOOK)
        await context.write(subscribe_pb2.SubscribeResponse(events=[subscribe_pb2.SubscribedEvent()]))

    with pytest.raises(type(error)):
        await told.stream(behaviour, Call(error))
    assert told.only is outcome


def _app(status: int, *, raises: bool = False) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        note(LOOK)
        await send({"type": "http.response.start", "status": status, "headers": []})
        if raises:
            raise RuntimeError
        await send({"type": "http.response.body", "body": b"x"})

    return app


async def _request(app: Any, told: Told, received: list[Message]) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        if received:
            return received.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await told.answering.middleware(app)({"type": "http"}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("status", "received", "outcome"),
    [
        (200, [], Outcome.ANSWERED),
        (200, [{"type": "http.request", "body": b""}], Outcome.ANSWERED),
        (200, [{"type": "http.disconnect"}], Outcome.FAILED),
        (404, [], Outcome.FAILED),
        (503, [], Outcome.FAILED),
        (401, [], Outcome.WITHHELD),
        (403, [], Outcome.WITHHELD),
    ],
)
async def test_pages_and_queries_have_outcomes_and_receipts_in_headers(
    status: int, received: list[Message], outcome: Outcome
) -> None:
    told = Told()
    sent = await _request(_app(status), told, list(received))
    assert told.only is outcome
    headers = [value.decode() for name, value in sent[0]["headers"]]
    assert headers == ([header_of(receipt_of(LOOK, ""))] if outcome is Outcome.ANSWERED else [])
    assert RECEIPT_HEADER == "Goodstrace-Browse-Receipt"


async def test_a_page_that_breaks_off_has_failed() -> None:
    told = Told()
    with pytest.raises(RuntimeError):
        await _request(_app(200, raises=True), told, [])
    assert told.only is Outcome.FAILED


def test_a_receipt_as_a_header_is_a_dictionary_of_structured_fields() -> None:
    assert header_of(receipt_of(LOOK, "a.b.c")) == (
        f'id="{LOOK.record_id.hex()}", leaf=:bGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGw=:, '
        'log="browse/3", time=1700000000000, signed="a.b.c"'
    )


def test_outside_of_a_call_a_look_has_no_outcome() -> None:
    note(LOOK)  # and no error
    told = Told()
    with noting(Looks(lambda look, outcome: told.outcomes.append((look, outcome)))) as looks:
        note(LOOK)
    assert told.outcomes == []
    assert looks.open == [LOOK]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.DESCRIPTOR.name)
def test_every_answer_with_a_browse_id_has_room_for_its_receipt(module: Any) -> None:
    receipt = log_pb2.BrowseReceipt.DESCRIPTOR
    for message in module.DESCRIPTOR.message_types_by_name.values():
        fields = message.fields_by_name
        if "browse_id" in fields and not message.name.endswith("Request"):
            assert fields["receipt"].message_type == receipt
