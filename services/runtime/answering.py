"""Around each call that may look: receipts beside what it answers, and its looks' outcomes. The one place for gRPC and HTTP.

A look is answered once something of it was handed to the caller's connection. Whether it arrived nobody can know here, so in doubt it counts
as answered: a log of looks must never say that nothing was seen where something may have been.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goodstrace.log.v1 import log_pb2
from services.runtime.call_errors import NotAllowedError
from services.runtime.looks import Look, Looks, Outcome, Settled, noting
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError

RECEIPT_HEADER: Final = "Goodstrace-Browse-Receipt"
MAX_HEADERS: Final = 8
_FORBIDDEN: Final = (401, 403)
_FIRST_ERROR: Final = 400
_BY_POLICY: Final = (UnauthenticatedError, ForbiddenError, NotAllowedError)
_SHOWS_NOTHING: Final = frozenset(
    ("checkpoints", "index", "nodes", "positions", "receipt", "shared_proofs", "summary", "withheld_entries")
)
"""Fields with messages that show nothing of any record; `nodes` says something only where there are events."""


Sign = Callable[[Look], str]
"""Signs the receipt of a look: a JWS in compact form, "" where there is nothing to sign with."""


def unsigned(_look: Look) -> str:
    """Sign nothing."""
    return ""


class CallContext(Protocol):
    """What is used of a gRPC context."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback` called once the answer was handed to the connection, or the call ended in another way."""

    async def write(self, message: Any) -> None:
        """Send a message of a stream."""


class Answering:
    """What is done around the calls of one service. `sign` may be set before it serves."""

    def __init__(self, settled: Settled) -> None:
        """Tell outcomes to `settled`."""
        self._settled = settled
        self.sign: Sign = unsigned

    def unary(self, behaviour: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        """Wrap a call that is answered by one message."""

        async def call(request: Any, context: Any) -> Any:
            looks = Looks(self._settled)
            with noting(looks):
                try:
                    answer = await behaviour(request, context)
                except _BY_POLICY:
                    looks.settle(Outcome.WITHHELD)
                    raise
                if looks.open:
                    self._attach(answer, looks)
                    outcome = outcome_of(answer)
                    context.add_done_callback(lambda _: looks.settle(outcome))
            return answer

        return call

    def stream(self, behaviour: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        """Wrap a call that writes its answer, message by message, to its context."""

        async def call(request: Any, context: Any) -> Any:
            looks = Looks(self._settled)
            writing = _Writing(context, looks, self._attach)
            with noting(looks):
                try:
                    ended = await behaviour(request, writing)
                except _BY_POLICY:
                    looks.settle(Outcome.WITHHELD)
                    raise
                looks.settle(Outcome.WITHHELD if writing.is_withheld else Outcome.ANSWERED)
            return ended

        return call

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Wrap an ASGI application; receipts go out as headers."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            looks = Looks(self._settled)
            with noting(looks):
                await app(scope, receive, _Sending(looks, receive, send, self.sign).send)
                looks.settle(Outcome.FAILED)  # nothing where it was answered: then none is open

        return answer

    def _attach(self, answer: Any, looks: Looks) -> None:
        browse_id = getattr(answer, "browse_id", "")
        look = looks.find(browse_id) if browse_id else None
        if look is not None and "receipt" in answer.DESCRIPTOR.fields_by_name:
            answer.receipt.CopyFrom(receipt_of(look, self.sign(look)))


class _Writing:
    """A context whose messages get their receipts, and settle the looks that they show something of."""

    def __init__(self, context: CallContext, looks: Looks, attach: Callable[[Any, Looks], None]) -> None:
        self._context, self._looks, self._attach = context, looks, attach
        self._has_shown, self._withheld = False, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    @property
    def is_withheld(self) -> bool:
        """Whether the stream has told of nothing but what is withheld."""
        return self._withheld > 0 and not self._has_shown

    async def write(self, message: Any) -> None:
        """Send a message."""
        self._attach(message, self._looks)
        self._withheld = max(self._withheld, withheld_in(message))
        if not shows(message):
            await self._context.write(message)
            return
        self._has_shown = True
        try:
            await self._context.write(message)
        except asyncio.CancelledError:
            self._looks.settle(Outcome.ANSWERED)  # it may have been on its way already
            raise
        self._looks.settle(Outcome.ANSWERED)


class _Sending:
    """What an ASGI application sends, with the receipts of its looks as headers; settles them at its end."""

    def __init__(self, looks: Looks, receive: Receive, send: Send, sign: Sign) -> None:
        self._looks, self._receive, self._send, self._sign = looks, receive, send, sign
        self._outcome = Outcome.ANSWERED

    async def send(self, message: Message) -> None:
        """Send one message of the answer."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._looks.settle(self._outcome)

    async def _begin(self, message: Message) -> None:
        looks = self._looks.open
        if not looks:
            return
        if message["status"] in _FORBIDDEN:
            self._outcome = Outcome.WITHHELD
        elif message["status"] >= _FIRST_ERROR or await _has_gone(self._receive):
            self._outcome = Outcome.FAILED
        else:
            receipts = [header_of(receipt_of(look, self._sign(look))) for look in looks[:MAX_HEADERS]]
            name = RECEIPT_HEADER.lower().encode()
            message["headers"] = [*message.get("headers", ()), *((name, each.encode()) for each in receipts)]


async def _has_gone(receive: Receive) -> bool:
    """Say whether the caller is known to have closed the connection; what was not read of the request is passed over."""
    while True:
        asked = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        if not asked.done():
            asked.cancel()
            return False
        message = asked.result()
        if message["type"] == "http.disconnect":
            return True
        if not message.get("more_body", False) and not message.get("body", b""):
            return False


def receipt_of(look: Look, signed: str) -> log_pb2.BrowseReceipt:
    """Write the receipt of a look."""
    return log_pb2.BrowseReceipt(
        browse_id=look.record_id.hex(),
        leaf_hash=look.leaf_hash,
        log=look.log,
        time_ms=look.time_ms,
        signed=signed,
    )


def header_of(receipt: log_pb2.BrowseReceipt) -> str:
    """Write a receipt as a header: a dictionary of RFC 8941."""
    leaf = base64.b64encode(receipt.leaf_hash).decode()
    signed = f', signed="{receipt.signed}"' if receipt.signed else ""
    return f'id="{receipt.browse_id}", leaf=:{leaf}:, log="{receipt.log}", time={receipt.time_ms}{signed}'


def outcome_of(answer: Any) -> Outcome:
    """Say what an answer that is sent whole is to its look."""
    return Outcome.WITHHELD if withheld_in(answer) and not shows(answer) else Outcome.ANSWERED


def shows(message: Any) -> bool:
    """Say whether a message shows anything of records."""
    return any(
        field.message_type is not None and field.name not in _SHOWS_NOTHING
        for field, _ in message.ListFields()
    )


def withheld_in(message: Any) -> int:
    """Count what a message says to be withheld altogether."""
    fields = message.DESCRIPTOR.fields_by_name
    told = message.summary if "summary" in fields and message.HasField("summary") else message
    return int(getattr(told, "total_withheld", 0))
