"""Following a subscription: every event verified, gone on with after a break from the last cursor."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc

from goodstrace.call_failures import call_error
from goodstrace.errors import AnswerError, CallError
from goodstrace.event_filter import EventFilter
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import subscribe_pb2, trace_pb2
from goodstrace.receipts import Receipt, receipt_in
from goodstrace.signatures import MerchantKeys
from goodstrace.tracing.model import NameKind
from goodstrace.verification import VerifiedCheckpoint, VerifiedEvent, verify_event
from goodstrace.withheld import Withheld, verify_found_by

if TYPE_CHECKING:
    Call: TypeAlias = "grpc.CallIterator[subscribe_pb2.SubscribeResponse]"

NOW: Final = "now"
BEGINNING: Final = "beginning"
RENEWED_S: Final = 600.0
"""After so long a stream is asked for anew, so that a connection that died unnoticed is noticed."""
_PASSING: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED")
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
_DOUBLINGS: Final = 6

Checkpoints = Mapping[str, VerifiedCheckpoint]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """One message of a subscription, verified: `events` by log and index, which may be none. Those without facts and content are withheld.

    cursor: where to go on once the events were dealt with; `positions` is what it says, by log the index of the next entry.
    caught_up: nothing more was published then.
    """

    events: tuple[VerifiedEvent, ...]
    cursor: str
    positions: Mapping[str, int]
    checkpoints: Checkpoints
    caught_up: bool
    browse_id: str
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """What a subscription needs of its client.

    open: begins the stream, with a deadline in seconds. checkpoints: verifies those of one message. merchants: whose
    signatures are checked. received: told of each message as it comes.
    """

    open: Callable[[subscribe_pb2.SubscribeRequest, float], Call]
    checkpoints: Callable[[Sequence[Sequence[log_pb2.Checkpoint]]], Checkpoints]
    merchants: MerchantKeys | None
    received: Callable[[subscribe_pb2.SubscribeResponse], None] = lambda _: None


def follow(
    request: subscribe_pb2.SubscribeRequest, asked: EventFilter, ports: Ports, patience_s: float
) -> Generator[Subscribed, None, None]:
    """Yield the messages of a subscription without end.

    Args:
        request: where to begin; its cursor is kept up to date, so it says where to go on.
        asked: the filter in the request, which each event must match.
        ports: the client's.
        patience_s: for how long a service that is away is called again; 0 for not at all.
    Raises: CallError, and what verifying raises: AnswerError, ProofError, EntryError and the like.
    """
    positions: Mapping[str, int] = {}
    failures, heard = 0, time.monotonic()
    while True:
        call = ports.open(request, RENEWED_S)
        try:
            for number, message in enumerate(call):
                ports.received(message)
                subscribed = verified(message, asked, positions, ports)
                failures = 0 if number else failures  # the first one comes where nothing else works, too
                heard = time.monotonic()
                positions, request.cursor = subscribed.positions, subscribed.cursor
                yield subscribed
        except (grpc.RpcError, CallError) as error:
            fault = error if isinstance(error, CallError) else call_error(error)
            is_renewed = fault.code == "DEADLINE_EXCEEDED" and not failures
            if fault.code not in _PASSING or time.monotonic() - heard >= patience_s + RENEWED_S * is_renewed:
                raise fault from error
        finally:
            call.cancel()  # type: ignore[no-untyped-call]
        failures += 1
        time.sleep(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(failures, _DOUBLINGS)))


def verified(
    message: subscribe_pb2.SubscribeResponse, asked: EventFilter, before: Mapping[str, int], ports: Ports
) -> Subscribed:
    """Check a message: each event is sealed where it says, is one that was asked for, and comes once and in its place.

    Args:
        message: as it came.
        asked: what was asked for.
        before: the positions of the message before, empty for the first one.
        ports: the client's.
    """
    checkpoints = ports.checkpoints([message.checkpoints])
    after = {each.log: each.size for each in message.positions}
    if len(after) != len(message.positions) or not message.cursor:
        raise AnswerError("a message of a subscription has no cursor, or names one log twice")
    if any(after.get(log, 0) < index for log, index in before.items()):
        raise AnswerError("a subscription goes back behind its cursor")
    events, next_of = [], dict(before)
    for each in message.events:
        traced = trace_pb2.TraceEvent(identity=each.identity, sealed=each.sealed)
        event = verify_event(traced, checkpoints, ports.merchants)
        at = event.position
        if not next_of.get(at.log, 0) <= at.index < after.get(at.log, 0):
            raise AnswerError(
                f"{at.log}[{at.index}] comes twice in a subscription, or beyond what its cursor says"
            )
        if not asked.matches(at.entry.merchant, event.facts):
            raise AnswerError(f"{at.log}[{at.index}] is not an event that was subscribed to")
        if each.HasField("found_by"):
            _check_key(verify_found_by(each.sealed, each.found_by, checkpoints), asked)
        next_of[at.log] = at.index + 1
        events.append(event)
    return Subscribed(
        tuple(events),
        message.cursor,
        after,
        checkpoints,
        message.caught_up,
        message.browse_id,
        receipt_in(message),
    )


def _check_key(withheld: Withheld, asked: EventFilter) -> None:
    if withheld.kind is not NameKind.KEY or withheld.name not in asked.keys:
        log, index = withheld.place
        raise AnswerError(f"{log}[{index}] was found by {withheld.name}, which was not subscribed to")


def request_of(
    asked: EventFilter, start: str, *, purpose: str, page_size: int, heartbeat_s: int
) -> subscribe_pb2.SubscribeRequest:
    """Write a request; `start` is NOW, BEGINNING or a cursor."""
    return subscribe_pb2.SubscribeRequest(
        keys=asked.keys,
        merchants=asked.merchants,
        steps=asked.steps,
        prefixes=asked.prefixes,
        cursor="" if start in (NOW, BEGINNING) else start,
        start=subscribe_pb2.SUBSCRIBE_START_BEGINNING
        if start == BEGINNING
        else subscribe_pb2.SUBSCRIBE_START_UNSPECIFIED,
        purpose=purpose,
        page_size=page_size,
        heartbeat_s=heartbeat_s,
    )
