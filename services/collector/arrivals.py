"""What a message of `goods.ingress` becomes: records of its events, or one refusal that keeps it whole.

Without I/O; clock and randomness are those of the preparer.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from services.collector.errors import DocumentError, Fault
from services.collector.flow import MAX_DETAIL, Rejected
from services.collector.preparing import PROCEED, Prepared, Preparer, Request
from services.collector.registry.gate import Caller
from services.runtime import envelope
from services.runtime.errors import ServiceError

_SHOWN_FAULTS: Final = 10


class Arrival(msgspec.Struct, frozen=True):
    """A message: where it lies, whose it is, its value, which must be a document or a bare event, and the trace context for its records."""

    topic: str
    partition: int
    offset: int
    caller: Caller
    value: bytes
    traceparent: str = ""


def _untold(_error: Exception) -> None:
    pass


def take(preparer: Preparer, arrival: Arrival, failed: Callable[[Exception], None] = _untold) -> Prepared:
    """Make the records of a message. Nothing is raised: nobody waits for an answer, so what is wrong goes to `goods.rejected`.

    So does an event over which the program fails, or a message where it fails before there are events: else it would end the process at
    each start. `failed` is told of the first ten of a message.

    Events that are refused say in their detail from where they came, and the others of their document are captured
    (`proceed`). What is no document at all is refused as a whole, in its exact bytes where Kafka can take them, and
    else by its place on the ingress, where it stays.
    """
    source = f" ({arrival.topic} {arrival.partition} at {arrival.offset})"
    request = Request(arrival.caller, arrival.value, PROCEED, arrival.traceparent)
    try:
        prepared = _document(preparer, request, failed)
    except DocumentError as error:
        faults = "; ".join(
            f"{fault.pointer or '/'}: {fault.detail}" for fault in error.faults[:_SHOWN_FAULTS]
        )
        unkept = preparer.unkept(request.body)
        source = f"; {unkept}{source}" if unkept else source
        detail = faults[: MAX_DETAIL - len(source)] + source
        return preparer.refusal(request, error, detail)
    if not prepared.refused:
        return prepared
    placed = [
        msgspec.structs.replace(place, value=envelope.encode(_from(each.outcome, source).record))
        if isinstance(each.outcome, Rejected)
        else place
        for each, place in zip(prepared.sent, prepared.placed, strict=True)
    ]
    return msgspec.structs.replace(prepared, placed=placed)


def _document(preparer: Preparer, request: Request, failed: Callable[[Exception], None]) -> Prepared:
    untold = _SHOWN_FAULTS

    def over_an_event(error: Exception) -> None:
        nonlocal untold
        if untold:
            untold -= 1
            failed(error)

    try:
        return preparer.document(request, over_an_event)
    except (DocumentError, ServiceError, MemoryError):  # told as it is, or no fault of the message
        raise
    except Exception as error:
        failed(error)
        told = f"collecting failed over it ({type(error).__name__}): the collector's log says more"
        raise DocumentError(Fault("", told), ours=True) from error


def _from(rejected: Rejected, source: str) -> Rejected:
    """Say in a refusal's detail where the event came from."""
    refused = rejected.record.rejection
    assert refused is not None
    detail = refused.detail[: MAX_DETAIL - len(source)] + source
    return Rejected(
        msgspec.structs.replace(rejected.record, rejection=msgspec.structs.replace(refused, detail=detail))
    )
