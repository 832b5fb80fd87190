"""From what was sent to what goes to Kafka: documents are checked, their events become records with their places. Pure.

Clock and randomness are passed in, as in `collect`.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from goodstrace.entry import ID_BYTES
from services.collector import documents
from services.collector.collect import Rules, Sent, Stamp, collect, refuse_whole
from services.collector.documents import Limits
from services.collector.errors import DocumentError, Fault
from services.collector.flow import MAX_COLLECTED_BYTES, Item, Reason, Rejected, to_wire
from services.collector.jobs import Job
from services.collector.producer import Placed
from services.runtime import envelope, topics
from services.runtime.partitioner import partition_of
from services.runtime.settings import KafkaSettings

ROLLBACK: Final = "rollback"
PROCEED: Final = "proceed"
BEHAVIOURS: Final = (ROLLBACK, PROCEED)


class Ports(msgspec.Struct, frozen=True):
    """The outside that `collect` needs: the time in Unix milliseconds, and random bytes."""

    now_ms: Callable[[], int]
    random: Callable[[int], bytes]


class Request(msgspec.Struct, frozen=True):
    """One capture as it was asked for; `merchant` None stands for the one of the settings."""

    body: bytes
    behaviour: str = ROLLBACK
    traceparent: str = ""
    bare: bool = False
    merchant: int | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A capture ready for Kafka: its job, what `collect` made of each event, and where each value belongs."""

    job: Job
    placed: list[Placed]
    refused: list[Reason]
    sent: list[Sent]


class Preparer:
    """Makes captures ready: what is sent by whatever way goes through here. Any thread may call it."""

    def __init__(
        self, kafka: KafkaSettings, merchant: int, limits: Limits, rules: Rules, ports: Ports
    ) -> None:
        """Take the layout of the topics, whose captures are that name nobody, what may be sent, clock and randomness."""
        self.limits = limits
        self._kafka = kafka
        self._merchant = merchant
        self._rules = rules
        self._ports = ports

    def document(self, request: Request) -> Prepared:
        """Make one document, or bare event, ready. Raises: DocumentError: nothing of it may be kept."""
        document = documents.read(request.body, self.limits)
        if request.bare and document.place is not None:
            raise DocumentError(Fault("/type", "must be one event; documents go to /epcis/v2/capture"))
        stamp = self._stamp(request)
        sent = collect(document, stamp, self._rules, self._ports.random)
        faults = [each.fault for each in sent if each.fault is not None]
        unkeepable = any(len(event) > MAX_COLLECTED_BYTES for event in document.events)
        if faults and (request.behaviour == ROLLBACK or unkeepable):
            too_large = any(reason_of(each) is Reason.TOO_LARGE for each in sent)
            raise DocumentError(*faults, too_large=too_large)
        return self._prepared(stamp, request, sent)

    def refusal(self, request: Request, error: DocumentError, detail: str) -> Prepared:
        """Make one refusal of what cannot be captured: with all its bytes, or none of them where Kafka would not take them."""
        stamp = self._stamp(request)
        reason = Reason.TOO_LARGE if error.too_large else Reason.INVALID
        kept = request.body if len(request.body) <= MAX_COLLECTED_BYTES else b""
        sent = refuse_whole(kept, stamp, reason, Fault(error.faults[0].pointer, detail), self._ports.random)
        return self._prepared(stamp, request, [sent])

    def _stamp(self, request: Request) -> Stamp:
        merchant = self._merchant if request.merchant is None else request.merchant
        return Stamp(self._ports.random(ID_BYTES), merchant, self._ports.now_ms(), request.traceparent)

    def _prepared(self, stamp: Stamp, request: Request, sent: list[Sent]) -> Prepared:
        job = Job(stamp.capture_id.hex(), stamp.time_ms, len(sent), request.behaviour)
        reasons = [reason for each in sent if (reason := reason_of(each)) is not None]
        return Prepared(job, [self._placed(each) for each in sent], reasons, sent)

    def _placed(self, sent: Sent) -> Placed:
        partition = partition_of(sent.key, self._kafka.partitions)
        if isinstance(sent.outcome, Item):
            return Placed(self._kafka.topic(topics.GOODS_COLLECTED), partition, to_wire(sent.outcome))
        value = envelope.encode(sent.outcome.record)
        return Placed(self._kafka.topic(topics.GOODS_REJECTED), partition, value)


def reason_of(sent: Sent) -> Reason | None:
    """Say why `collect` refused an event, None where it did not."""
    if isinstance(sent.outcome, Rejected) and sent.outcome.record.rejection is not None:
        return Reason(sent.outcome.record.rejection.reason)
    return None
