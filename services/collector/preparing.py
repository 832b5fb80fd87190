"""From what was sent to what goes to Kafka: documents are checked, their events become records with their places. Pure.

Clock and randomness are passed in, as in `collect`.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from goodstrace.entry import ID_BYTES
from services.collector import documents
from services.collector.collect import Rules, Sent, Stamp, collect, refuse_whole
from services.collector.documents import Document, Limits
from services.collector.errors import DocumentError, Fault
from services.collector.flow import MAX_COLLECTED_BYTES, Item, Reason, Rejected, to_wire
from services.collector.jobs import Job
from services.collector.producer import Placed
from services.runtime import envelope, topics
from services.runtime.envelope import Record
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
    """One capture as it was asked for.

    Attributes:
        body: a document, or one event; empty where lines are captured.
        behaviour: what one bad event does to the others, of BEHAVIOURS.
        traceparent: the W3C trace context, or empty.
        bare: whether the body must be one event.
        capture_id: 16 bytes chosen before, or empty.
        merchant: whose it is; None for the one of the settings.
    """

    body: bytes
    behaviour: str = ROLLBACK
    traceparent: str = ""
    bare: bool = False
    capture_id: bytes = b""
    merchant: int | None = None


class Line(msgspec.Struct, frozen=True):
    """One line of a stream: its number, from 1, and its bytes; None where it was too long to be read."""

    number: int
    content: bytes | None


class Taken(msgspec.Struct, frozen=True):
    """What became of a line: what was made of its events, or why none of them was taken. `bare`: it is one event."""

    line: Line
    sent: tuple[Sent, ...] = ()
    bare: bool = True
    error: DocumentError | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A capture ready for Kafka, and what `collect` made of each event; `lines` is empty but for a stream."""

    job: Job
    placed: list[Placed]
    refused: list[Reason]
    sent: list[Sent]
    lines: tuple[Taken, ...] = ()


class Preparer:
    """Makes captures ready: what is sent by whatever way goes through here. Any thread may call it."""

    def __init__(
        self, kafka: KafkaSettings, merchant: int, limits: Limits, rules: Rules, ports: Ports
    ) -> None:
        """Take the layout of the topics, whose captures are that name nobody, what may be sent, clock and randomness."""
        self.merchant = merchant
        self.limits = limits
        self._kafka = kafka
        self._rules = rules
        self._ports = ports

    def document(self, request: Request) -> Prepared:
        """Make one document, or bare event, ready. Raises: DocumentError: nothing of it may be kept."""
        stamp = self._stamp(request)
        document = documents.read(request.body, self.limits)
        if request.bare and document.place is not None:
            raise DocumentError(Fault(document.place, "must be one event; documents go to /epcis/v2/capture"))
        return self._prepared(stamp, request, self._collect(document, stamp, request))

    def refusal(self, request: Request, error: DocumentError, detail: str) -> Prepared:
        """Make one refusal of what cannot be captured: with all its bytes, or none of them where Kafka would not take them."""
        stamp = self._stamp(request)
        reason = Reason.TOO_LARGE if error.too_large else Reason.INVALID
        kept = request.body if len(request.body) <= MAX_COLLECTED_BYTES else b""
        sent = refuse_whole(kept, stamp, reason, Fault(error.faults[0].pointer, detail), self._ports.random)
        return self._prepared(stamp, request, [sent])

    def lines(self, request: Request, lines: Sequence[Line]) -> Prepared:
        """Make some lines of a stream ready as one capture. What is wrong with a line concerns that line only."""
        stamp = self._stamp(request)
        taken = [self._line(line, stamp, request) for line in lines]
        sent = [each for of_line in taken for each in of_line.sent]
        numbered = iter(_numbered(sent))
        whole = tuple(
            msgspec.structs.replace(each, sent=tuple(next(numbered) for _ in each.sent)) for each in taken
        )
        return self._prepared(stamp, request, [each for of_line in whole for each in of_line.sent], whole)

    def _line(self, line: Line, stamp: Stamp, request: Request) -> Taken:
        if line.content is None:
            fault = Fault("", f"over {self.limits.body} bytes")
            return Taken(line, error=DocumentError(fault, too_large=True))
        try:
            document = documents.read(line.content, self.limits)
            sent = self._collect(document, stamp, request)
        except DocumentError as error:
            return Taken(line, error=error)
        return Taken(line, tuple(sent), bare=document.place is None)

    def _collect(self, document: Document, stamp: Stamp, request: Request) -> list[Sent]:
        sent = collect(document, stamp, self._rules, self._ports.random)
        faults = [
            msgspec.structs.replace(each.fault, event=number)
            for number, each in enumerate(sent)
            if each.fault is not None
        ]
        unkeepable = any(len(event) > MAX_COLLECTED_BYTES for event in document.events)
        if faults and (request.behaviour == ROLLBACK or unkeepable):
            too_large = any(reason_of(each) is Reason.TOO_LARGE for each in sent)
            raise DocumentError(*faults, too_large=too_large)
        return sent

    def _stamp(self, request: Request) -> Stamp:
        capture_id = request.capture_id or self._ports.random(ID_BYTES)
        merchant = self.merchant if request.merchant is None else request.merchant
        return Stamp(capture_id, merchant, self._ports.now_ms(), request.traceparent)

    def _prepared(
        self, stamp: Stamp, request: Request, sent: Sequence[Sent], lines: tuple[Taken, ...] = ()
    ) -> Prepared:
        job = Job(stamp.capture_id.hex(), stamp.time_ms, len(sent), request.behaviour, stamp.merchant)
        reasons = [reason for each in sent if (reason := reason_of(each)) is not None]
        return Prepared(job, [self._placed(each) for each in sent], reasons, list(sent), lines)

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


def _numbered(sent: Sequence[Sent]) -> list[Sent]:
    """Number the events of several documents through, as those of one capture."""
    made = []
    for sequence, each in enumerate(sent):
        record = _in_capture(each.outcome.record, sequence, len(sent))
        outcome: Item | Rejected = (
            msgspec.structs.replace(each.outcome, record=record)
            if isinstance(each.outcome, Item)
            else Rejected(record)
        )
        made.append(msgspec.structs.replace(each, outcome=outcome))
    return made


def _in_capture(record: Record, sequence: int, size: int) -> Record:
    return msgspec.structs.replace(record, sequence=sequence, capture_size=size)
