"""What a message of `goods.ingress` becomes: records of its events, or one refusal that keeps it whole.

Without I/O; clock and randomness are those of the preparer.
"""

from typing import Final

import msgspec

from services.collector.errors import DocumentError
from services.collector.flow import MAX_DETAIL, Rejected
from services.collector.preparing import PROCEED, Prepared, Preparer, Request
from services.collector.registry.gate import Caller
from services.runtime import envelope

_SHOWN_FAULTS: Final = 10


class Arrival(msgspec.Struct, frozen=True):
    """A message: where it lies, whose it is, its value, which must be a document or a bare event, and the trace context for its records."""

    topic: str
    partition: int
    offset: int
    caller: Caller
    value: bytes
    traceparent: str = ""


def take(preparer: Preparer, arrival: Arrival) -> Prepared:
    """Make the records of a message. Nothing is raised: nobody waits for an answer, so what is wrong goes to `goods.rejected`.

    Events that are refused say in their detail from where they came, and the others of their document are captured
    (`proceed`). What is no document at all is refused as a whole, in its exact bytes where Kafka can take them, and
    else by its place on the ingress, where it stays.
    """
    source = f" ({arrival.topic} {arrival.partition} at {arrival.offset})"
    request = Request(arrival.caller, arrival.value, PROCEED, arrival.traceparent)
    try:
        prepared = preparer.document(request)
    except DocumentError as error:
        faults = "; ".join(
            f"{fault.pointer or '/'}: {fault.detail}" for fault in error.faults[:_SHOWN_FAULTS]
        )
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


def _from(rejected: Rejected, source: str) -> Rejected:
    """Say in a refusal's detail where the event came from."""
    refused = rejected.record.rejection
    assert refused is not None
    detail = refused.detail[: MAX_DETAIL - len(source)] + source
    return Rejected(
        msgspec.structs.replace(rejected.record, rejection=msgspec.structs.replace(refused, detail=detail))
    )
