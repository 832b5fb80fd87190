"""The calls of the client whose answers come in pieces: traces level after level, recalls, and events as they are published."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import grpc

from goodstrace.answer_checks import check_as_of
from goodstrace.answers import Trace
from goodstrace.call_failures import call_error
from goodstrace.event_filter import event_filter
from goodstrace.identifiers import canonical_key
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import recall_pb2, subscribe_pb2, trace_pb2, trace_pb2_grpc
from goodstrace.recalls import RecallPiece, RecallVerifier
from goodstrace.signatures import MerchantKeys
from goodstrace.streams import TraceAssembly
from goodstrace.subscription import NOW, Ports, Subscribed, follow, request_of
from goodstrace.tracing.filtering import EventFilter
from goodstrace.trusted_checkpoints import Held, TrustedCheckpoints
from goodstrace.verification import VerifiedCheckpoint

DEFAULT_DEPTH: Final = 10
DIRECTIONS: Final[Mapping[str, trace_pb2.Direction.ValueType]] = {
    "both": trace_pb2.DIRECTION_BOTH,
    "upstream": trace_pb2.DIRECTION_UPSTREAM,
    "downstream": trace_pb2.DIRECTION_DOWNSTREAM,
    "history": trace_pb2.DIRECTION_HISTORY,
}
_ALL_EVENTS: Final = EventFilter()


class StreamCalls(ABC):
    """What `Client` has of these calls; see there."""

    _query: trace_pb2_grpc.TraceServiceStub
    _metadata: tuple[tuple[str, str], ...]
    _purpose: str
    _stream_timeout_s: float
    _merchants: MerchantKeys | None
    _trusted: TrustedCheckpoints

    @abstractmethod
    def _received(self, answer: Any) -> None: ...

    def stream_trace(
        self,
        key: str,
        *,
        direction: str = "both",
        max_depth: int = DEFAULT_DEPTH,
        as_of: Mapping[str, int] | None = None,
        only: EventFilter = _ALL_EVENTS,
    ) -> Iterator[Trace]:
        """Trace goods level after level: the trace up to each level once all of it is verified, the whole one last.

        Arguments are those of `trace`; the deadline is that of streams. That each entry that is withheld was found by a name that the trace
        asks for is checked with the last level: a level that others follow is cut short, so that its names cannot be told.
        """
        request = trace_pb2.StreamTraceRequest(
            trace=trace_pb2.TraceRequest(
                key=key,
                direction=DIRECTIONS[direction],
                max_depth=max_depth,
                purpose=self._purpose,
                as_of=log_sizes(as_of),
                from_us=only.from_us,
                until_us=only.until_us,
                steps=sorted(only.steps),
            )
        )
        assembly = TraceAssembly(
            canonical_key(key),
            direction,
            only,
            max_depth=max_depth,
            opened=self._opener(as_of),
            merchant_keys=self._merchants,
        )
        yield from assembly.traces(self._pieces(self._query.StreamTrace, request))

    def recall(
        self, key: str, *, max_depth: int = 0, as_of: Mapping[str, int] | None = None
    ) -> Iterator[RecallPiece]:
        """Recall goods: all that is downstream of them, piece after piece, each verified before it is given.

        It is whole only where a piece with a `summary` came; stop early to cancel. Memory does not grow with what is shown, but by
        some 32 bytes for each key, event, name of a key in an event, and entry that is withheld.

        Args:
            key: the goods, in any spelling.
            max_depth: levels at the most, 1..100; 0 for 100.
            as_of: log sizes to answer as of, by log name.
        """
        request = recall_pb2.RecallRequest(
            key=key, max_depth=max_depth, purpose=self._purpose, as_of=log_sizes(as_of)
        )
        verifier = RecallVerifier(
            canonical_key(key), opened=self._opener(as_of), merchant_keys=self._merchants
        )
        yield from verifier.pieces(self._pieces(self._query.Recall, request))

    def _pieces(self, method: Callable[..., Any], request: Any) -> Iterator[Any]:
        """Give the messages of a stream; who stops taking them cancels the call."""
        call = method(request, timeout=self._stream_timeout_s, metadata=self._metadata)
        try:
            for message in call:
                self._received(message)
                yield message
        except grpc.RpcError as error:
            raise call_error(error) from error
        finally:
            call.cancel()

    def _opener(
        self, as_of: Mapping[str, int] | None
    ) -> Callable[[Sequence[log_pb2.Checkpoint]], Mapping[str, VerifiedCheckpoint]]:
        """Verify the checkpoints of a stream that is about to be asked for."""
        held = self._trusted.held(as_of or {})

        def opened(messages: Sequence[log_pb2.Checkpoint]) -> Mapping[str, VerifiedCheckpoint]:
            checkpoints = self._trusted.opened([messages], held)
            check_as_of(as_of or {}, checkpoints)
            return checkpoints

        return opened

    def subscribe(
        self,
        *,
        keys: Iterable[str] = (),
        merchants: Iterable[int] = (),
        steps: Iterable[str] = (),
        prefixes: Iterable[str] = (),
        start: str = NOW,
        page_size: int = 0,
        heartbeat_s: int = 0,
        patience_s: float = 300,
    ) -> Generator[Subscribed, None, None]:
        """Follow events as they are published, without end; each is verified. See docs/subscriptions.md.

        Args:
            keys: events that name one of them, in any spelling.
            merchants: events that one of them captured.
            steps: events of one of these steps.
            prefixes: events that name something of one of these GS1 companies. What is not given is not asked.
            start: "now", "beginning", or the `cursor` of the last message that was dealt with.
            page_size: events a message, 1..1000; 0 leaves it to the service.
            heartbeat_s: a message comes at least so often, 1..300; 0 leaves it to the service.
            patience_s: how long to call a service again that is away; what comes goes on from the last cursor.
        Raises: FilterError at once.
        """
        asked = event_filter(keys, merchants, steps, prefixes)
        request = request_of(
            asked, start, purpose=self._purpose, page_size=page_size, heartbeat_s=heartbeat_s
        )
        held: Held = {}

        def begin(request: subscribe_pb2.SubscribeRequest, timeout_s: float) -> Any:
            nonlocal held
            held = self._trusted.held()
            return self._query.Subscribe(request, timeout=timeout_s, metadata=self._metadata)

        def opened(pages: Sequence[Sequence[log_pb2.Checkpoint]]) -> Mapping[str, VerifiedCheckpoint]:
            return self._trusted.opened(pages, held)

        return follow(request, asked, Ports(begin, opened, self._merchants, self._received), patience_s)


def log_sizes(as_of: Mapping[str, int] | None) -> list[log_pb2.LogSize]:
    """Give sizes by log as requests hold them."""
    return [log_pb2.LogSize(log=log, size=size) for log, size in sorted((as_of or {}).items())]
