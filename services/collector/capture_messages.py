"""The messages of CaptureService and what they stand for: requests in, receipts out. Pure. Source: capture.proto."""

from typing import Final

from goodstrace.collector.v1 import capture_pb2 as wire
from services.collector.collect import Sent
from services.collector.errors import DocumentError
from services.collector.errors import Fault as Found
from services.collector.flow import MAX_DETAIL, Item
from services.collector.preparing import PROCEED, ROLLBACK, Prepared, Request, reason_of_refusal
from services.collector.registry.gate import Caller
from services.runtime.call_errors import InvalidRequestError

MAX_CONTENT_BYTES: Final = 4 * 1024 * 1024
MAX_FAULTS: Final = 100
MAX_FAULTY: Final = 100
_BEHAVIOURS: Final = {
    wire.ERROR_BEHAVIOUR_UNSPECIFIED: ROLLBACK,
    wire.ERROR_BEHAVIOUR_ROLLBACK: ROLLBACK,
    wire.ERROR_BEHAVIOUR_PROCEED: PROCEED,
}


def request_of(sending: wire.Sending, after: int, caller: Caller) -> Request:
    """Read a message of a caller that follows the one with the number `after` (-1: it is the first).

    Raises: InvalidRequestError: the call ends, since sender and service do not mean the same any more.
    """
    if sending.sequence <= after:
        raise InvalidRequestError(f"must be higher than {after}", "sending.sequence")
    kind = sending.WhichOneof("content")
    if kind is None:
        raise InvalidRequestError("one of event and document, please", "sending.content")
    behaviour = _BEHAVIOURS.get(sending.error_behaviour)
    if behaviour is None:
        raise InvalidRequestError("is none of those there are", "sending.error_behaviour")
    bare = kind == "event"
    return Request(
        caller,
        sending.event if bare else sending.document,
        behaviour,
        sending.traceparent,
        bare,
        signatures=tuple(sending.signatures),
        beside=True,
    )


def check_size(request: Request) -> None:
    """Check a message's size. Raises: DocumentError."""
    largest = min(MAX_CONTENT_BYTES, request.caller.body_bytes)
    if request.size_bytes > largest:
        raise DocumentError(Found("", f"over {largest} bytes"), too_large=True)


def receipt(sequence: int, prepared: Prepared) -> wire.Receipt:
    """Give the receipt of a message that is durable."""
    events = [_event(each) for each in prepared.sent]
    return wire.Receipt(sequence=sequence, capture_id=prepared.job.id, events=events)


def refusal(sequence: int, error: DocumentError) -> wire.Receipt:
    """Give the receipt of a message of which nothing was kept."""
    faults = [_fault(each) for each in error.faults[:MAX_FAULTS]]
    return wire.Receipt(
        sequence=sequence, problem=wire.Problem(reason=reason_of_refusal(error).value, faults=faults)
    )


def _event(sent: Sent) -> wire.EventReceipt:
    record_id = sent.outcome.record.id.hex()
    if isinstance(sent.outcome, Item):
        facts = sent.outcome.facts
        return wire.EventReceipt(
            record_id=record_id,
            event_id=facts.event_id,
            event_hash=facts.event_hash,
            verdict=wire.VERDICT_ACCEPTED,
        )
    fault = _fault(sent.fault) if sent.fault else None
    return wire.EventReceipt(record_id=record_id, verdict=wire.VERDICT_REJECTED, fault=fault)


def _fault(found: Found) -> wire.Fault:
    return wire.Fault(pointer=found.pointer[:MAX_DETAIL], detail=found.detail[:MAX_DETAIL])


class Summary:
    """Gathers the receipts of one Capture call; bounded, however many there are."""

    def __init__(self) -> None:
        """Begin with none."""
        self._response = wire.CaptureResponse()

    def add(self, each: wire.Receipt) -> None:
        """Count a receipt; of those with faults the first 100 are kept, each with its first 100 rejected events."""
        faulty = [event for event in each.events if event.verdict == wire.VERDICT_REJECTED]
        rejected = len(faulty)
        refused = each.HasField("problem")
        response = self._response
        response.messages += 1
        response.events_rejected += rejected
        response.events_accepted += len(each.events) - rejected
        response.messages_refused += refused
        if (rejected or refused) and len(response.faulty) < MAX_FAULTY:
            kept = wire.Receipt(
                sequence=each.sequence, capture_id=each.capture_id, events=faulty[:MAX_FAULTS]
            )
            if refused:
                kept.problem.CopyFrom(each.problem)
            response.faulty.append(kept)

    def response(self) -> wire.CaptureResponse:
        """Give what was gathered."""
        return self._response
