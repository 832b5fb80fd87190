"""Capturing over gRPC: documents in a stream, a receipt for each once it is durable, sent again after a break by itself.

with CaptureStream("127.0.0.1:50053") as stream:
    for receipt in stream.send(documents):
        print(receipt.sequence, receipt.capture_id, receipt.problem.faults)
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, cast

import grpc

from goodstrace.call_failures import call_error
from goodstrace.closing import Closing
from goodstrace.collector.v1 import capture_pb2, capture_pb2_grpc
from goodstrace.connections import SYSTEM, Tls, channel
from goodstrace.errors import CallError
from goodstrace.token_sources import TokenSource, as_source

WINDOW: Final = 256
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
BEHAVIOURS: Final = {
    "rollback": capture_pb2.ERROR_BEHAVIOUR_ROLLBACK,
    "proceed": capture_pb2.ERROR_BEHAVIOUR_PROCEED,
}
_PASSING: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


class CaptureStream(Closing):
    """A client of CaptureService at `target`, such as "127.0.0.1:50053"."""

    def __init__(
        self,
        target: str,
        *,
        error_behaviour: str = "rollback",
        patience_s: float = 60,
        credentials: grpc.ChannelCredentials | None = None,
        token: TokenSource | str | None = None,
        tls: Tls = SYSTEM,
    ) -> None:
        """Prepare to send; nothing is sent yet.

        Args:
            target: of the collector: https://host:port, or host:port (goodstrace.connections says when that is TLS).
            error_behaviour: rollback or proceed, see docs/capture.md.
            patience_s: how long to try again while no receipt comes.
            credentials: gRPC's own, in the place of `tls`.
            token: of the merchant whose events these are: an API key, a token, or a source of tokens.
            tls: whose certificates are believed, and the client's own.
        Raises: CredentialsError where a token would go in clear text, or a file cannot be read.
        """
        options = [("grpc.max_receive_message_length", MAX_ANSWER_BYTES)]
        self._source = as_source(token)
        self._channel = channel(target, tls, source=self._source, options=options, credentials=credentials)
        self._stub = capture_pb2_grpc.CaptureServiceStub(self._channel)
        self._behaviour = BEHAVIOURS[error_behaviour]
        self._patience_s = patience_s

    def send(self, documents: Iterable[bytes]) -> Iterator[capture_pb2.Receipt]:
        """Capture documents or bare events, and give the receipt of each in their order; `sequence` counts them from 0.

        Documents are taken from the iterable by a thread, at most WINDOW ahead of their receipts. Raises: CallError where the
        collector cannot be reached for `patience_s`, or says that the call is wrong: all without a receipt may be durable or not, and
        is recognised as a duplicate when it is sent again.
        """
        sending = _Sending(iter(documents), self._behaviour)
        failures, heard, may_renew = 0, time.monotonic(), True
        while not sending.is_done():
            shown = self._source.token()
            call = self._stub.CaptureStream(sending.messages())
            try:
                for answer in call:
                    failures, heard, may_renew = 0, time.monotonic(), True
                    sending.settle(answer.receipt.sequence)
                    yield answer.receipt
            except grpc.RpcError as error:
                failures += 1
                fault = cast("grpc.Call", error)
                if fault.code() is grpc.StatusCode.UNAUTHENTICATED and may_renew and shown:
                    may_renew = False
                    if self._source.renewed(shown) != shown:
                        continue
                if fault.code() not in _PASSING or time.monotonic() - heard > self._patience_s:
                    raise call_error(error) from error
                time.sleep(_wait_s(failures))
            finally:
                sending.break_off()
                call.cancel()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class _Sending:
    """What is to be sent: the documents without a receipt, and those not taken yet. Each call reads on from the first of them."""

    def __init__(self, documents: Iterator[bytes], behaviour: capture_pb2.ErrorBehaviour.ValueType) -> None:
        self._documents = documents
        self._behaviour = behaviour
        self._taking = (
            threading.Lock()
        )  # one thread at a time asks for the next document, however long that takes
        self._changed = threading.Condition()
        self._pending: deque[tuple[int, bytes]] = deque()
        self._taken = 0
        self._ended = False
        self._failed: BaseException | None = None
        self._calls = 0

    def is_done(self) -> bool:
        """Say whether all is sent and has its receipt. Raises: what the iterable of documents raised."""
        with self._changed:
            if self._failed is not None and not self._pending:
                raise self._failed
            return self._ended and not self._pending

    def settle(self, sequence: int) -> None:
        """Forget a document that has its receipt."""
        with self._changed:
            if not self._pending or self._pending[0][0] != sequence:
                raise CallError("INTERNAL", f"a receipt for message {sequence}, which is not the next")
            self._pending.popleft()
            self._changed.notify_all()

    def break_off(self) -> None:
        """End the messages of the call that was."""
        with self._changed:
            self._calls += 1
            self._changed.notify_all()

    def messages(self) -> Iterator[capture_pb2.CaptureStreamRequest]:
        """Give the messages of one call; gRPC iterates in a thread of its own, and may go on when the call is over."""
        call, following = self._calls, None
        while (found := self._next(call, following)) is not None:
            sequence, content = found
            following = sequence + 1
            sending = capture_pb2.Sending(
                sequence=sequence, document=content, error_behaviour=self._behaviour
            )
            yield capture_pb2.CaptureStreamRequest(sending=sending)

    def _next(self, call: int, following: int | None) -> tuple[int, bytes] | None:
        """Wait for the document after the last one of this call; None where there is none, or the call is over."""
        while True:
            with self._changed:
                while call == self._calls and len(self._pending) >= WINDOW and self._sent(following):
                    self._changed.wait()
                if call != self._calls:
                    return None
                if not self._sent(following):
                    return self._pending[0 if following is None else following - self._pending[0][0]]
                if self._ended:
                    return None
            self._take(call, following)

    def _sent(self, following: int | None) -> bool:
        """Say whether all that was taken was sent in this call."""
        return not self._pending or (following is not None and following > self._pending[-1][0])

    def _take(self, call: int, following: int | None) -> None:
        """Take one more document, unless somebody did meanwhile."""
        with self._taking:
            with self._changed:
                if call != self._calls or self._ended or not self._sent(following):
                    return
            try:
                content = next(self._documents, None)
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked for receipts
                self._end(error)
                return
            if content is None:
                self._end(None)
                return
            with self._changed:
                self._pending.append((self._taken, content))
                self._taken += 1

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._failed, self._ended = error, True


def _wait_s(failures: int) -> float:
    """Wait longer after each failure, and not all at the same time."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret
