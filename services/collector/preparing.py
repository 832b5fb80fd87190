"""From what was sent to what goes to Kafka: documents are checked, their events become records with their places. Pure.

Clock and randomness are passed in, as in `collect`.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from goodstrace.entry import ID_BYTES
from goodstrace.signatures import MAX_CHARACTERS, MEMBER
from services.collector import documents
from services.collector.collect import Rules, Sent, Stamp, collect, refuse_whole
from services.collector.documents import Document, Limits
from services.collector.errors import DocumentError, Fault
from services.collector.flow import MAX_COLLECTED_BYTES, Item, Reason, Rejected
from services.collector.jobs import Job
from services.collector.personal.table import built_in
from services.collector.producer import Placed
from services.collector.registry.gate import Caller, Gate
from services.runtime import envelope, topics
from services.runtime.envelope import Record
from services.runtime.partitioner import partition_of
from services.runtime.personal_values import PersonalKey
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
        caller: whose it is, as the gate let it in.
        body: a document, or one event; empty where lines are captured.
        behaviour: what one bad event does to the others, of BEHAVIOURS.
        traceparent: the W3C trace context as it was sent, whatever it is, or empty; from `Intake` on the one that its records get.
        bare: whether the body must be one event.
        capture_id: 16 bytes chosen before, or empty.
        signatures: sent beside the body, one for each of its events and empty for one that has none; empty: there are none.
        beside: whether a document, too, may have its signatures beside it; else only a bare event.
    """

    caller: Caller
    body: bytes
    behaviour: str = ROLLBACK
    traceparent: str = ""
    bare: bool = False
    capture_id: bytes = b""
    signatures: tuple[str, ...] = ()
    beside: bool = False

    @property
    def size_bytes(self) -> int:
        """What of it counts for the sender's rate, and is held in memory."""
        return len(self.body) + sum(map(len, self.signatures))


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
    """A capture ready for Kafka, and what `collect` made of each event; `lines` is empty but for a stream.

    `personal` are the keys of what was taken out of events: they are kept before anything goes to Kafka.
    """

    job: Job
    placed: list[Placed]
    refused: list[Reason]
    sent: list[Sent]
    lines: tuple[Taken, ...] = ()
    personal: tuple[PersonalKey, ...] = ()


class Preparer:
    """Makes captures ready: what is sent by whatever way goes through here. Any thread may call it."""

    def __init__(self, kafka: KafkaSettings, gate: Gate, limits: Limits, rules: Rules, ports: Ports) -> None:
        """Take the layout of the topics, who counts what callers send, what may be sent, clock and randomness."""
        self.gate = gate
        self.limits = limits
        self._kafka = kafka
        self._collected = kafka.topic(topics.GOODS_COLLECTED)
        self._rejected = kafka.topic(topics.GOODS_REJECTED)
        self._rules = rules
        self._ports = ports

    def document(self, request: Request, failed: Callable[[Exception], None] | None = None) -> Prepared:
        """Make one document, or bare event, ready; `failed` as in `collect`. Raises: DocumentError, RateLimitedError: nothing of it may be kept."""
        stamp = self._stamp(request)
        document = documents.read(request.body, self.limits)
        if request.bare and document.place is not None:
            raise DocumentError(Fault(document.place, "must be one event; documents go to /epcis/v2/capture"))
        if request.signatures:
            document = _signed(document, request)
        self.gate.take(request.caller, events=len(document.events), size_bytes=request.size_bytes)
        return self._prepared(stamp, request, self._collect(document, stamp, request, failed))

    def refusal(self, request: Request, error: DocumentError, detail: str) -> Prepared:
        """Make one refusal of what cannot be captured: with all its bytes, or none of them, see `unkept`."""
        stamp = self._stamp(request)
        kept = b"" if self.unkept(request.body) else request.body
        sent = refuse_whole(
            kept, stamp, reason_of_refusal(error), Fault(error.faults[0].pointer, detail), self._ports.random
        )
        return self._prepared(stamp, request, [sent])

    def unkept(self, body: bytes) -> str:
        """Say why a refusal cannot keep what was sent: Kafka would not take it, or nobody can take personal data out of it. Empty where it can."""
        if len(body) > MAX_COLLECTED_BYTES:
            return f"its content is not kept, since it is over {MAX_COLLECTED_BYTES} bytes"
        may_name = (self._rules.personal or built_in()).may_name(body)
        return "its content is not kept, since it may hold personal data" if may_name else ""

    def lines(self, request: Request, lines: Sequence[Line]) -> Prepared:
        """Make some lines of a stream ready as one capture. What is wrong with a line concerns that line only.

        Raises: RateLimitedError: none of them was taken.
        """
        stamp = self._stamp(request)
        read = [self._read(line) for line in lines]
        events = sum(len(each.events) for each in read if isinstance(each, Document))
        size = sum(len(line.content) for line in lines if line.content is not None)
        self.gate.take(request.caller, events=events, size_bytes=size)
        taken = [self._line(line, each, stamp, request) for line, each in zip(lines, read, strict=True)]
        sent = [each for of_line in taken for each in of_line.sent]
        numbered = iter(_numbered(sent))
        whole = tuple(
            msgspec.structs.replace(each, sent=tuple(next(numbered) for _ in each.sent)) for each in taken
        )
        return self._prepared(stamp, request, [each for of_line in whole for each in of_line.sent], whole)

    def _read(self, line: Line) -> Document | DocumentError:
        if line.content is None:
            return DocumentError(Fault("", "over the limit of a body"), too_large=True)
        try:
            return documents.read(line.content, self.limits)
        except DocumentError as error:
            return error

    def _line(self, line: Line, document: Document | DocumentError, stamp: Stamp, request: Request) -> Taken:
        if isinstance(document, DocumentError):
            return Taken(line, error=document)
        try:
            sent = self._collect(document, stamp, request)
        except DocumentError as error:
            return Taken(line, error=error)
        return Taken(line, tuple(sent), bare=document.place is None)

    def _collect(
        self,
        document: Document,
        stamp: Stamp,
        request: Request,
        failed: Callable[[Exception], None] | None = None,
    ) -> list[Sent]:
        sent = collect(document, stamp, self._rules, self._ports.random, failed)
        faults = [
            msgspec.structs.replace(each.fault, event=number)
            for number, each in enumerate(sent)
            if each.fault is not None
        ]
        unkeepable = any(len(event) > MAX_COLLECTED_BYTES for event in document.events)
        if faults and (request.behaviour == ROLLBACK or unkeepable):
            reasons = {reason for each in sent if (reason := reason_of(each)) is not None}
            raise DocumentError(
                *faults,
                too_large=Reason.TOO_LARGE in reasons,
                forbidden=reasons == {Reason.FORBIDDEN},
            )
        return sent

    def _stamp(self, request: Request) -> Stamp:
        capture_id = request.capture_id or self._ports.random(ID_BYTES)
        caller = request.caller
        return Stamp(
            capture_id,
            caller.merchant,
            self._ports.now_ms(),
            request.traceparent,
            caller.speech,
            caller.keys,
            caller.personal,
        )

    def _prepared(
        self, stamp: Stamp, request: Request, sent: Sequence[Sent], lines: tuple[Taken, ...] = ()
    ) -> Prepared:
        job = Job(stamp.capture_id.hex(), stamp.time_ms, len(sent), request.behaviour, stamp.merchant)
        reasons = [reason for each in sent if (reason := reason_of(each)) is not None]
        personal = tuple(each.personal for each in sent if each.personal is not None)
        return Prepared(job, [self._placed(each) for each in sent], reasons, list(sent), lines, personal)

    def _placed(self, sent: Sent) -> Placed:
        topic = self._collected if isinstance(sent.outcome, Item) else self._rejected
        partition = partition_of(sent.key, self._kafka.partitions)
        return Placed(topic, partition, envelope.encode(sent.outcome.record))  # of either the record is whole


def _signed(document: Document, request: Request) -> Document:
    if document.place is not None and not request.beside:
        raise DocumentError(Fault("", f"signatures over the events of a document go into it, as {MEMBER}"))
    if document.signatures:
        raise DocumentError(
            Fault("", f"its signatures are in the document ({MEMBER}), and beside it as well")
        )
    if len(request.signatures) != len(document.events):
        told = f"{len(request.signatures)} signatures for {len(document.events)} events"
        raise DocumentError(Fault("", f"{told}: send one for each, empty for an event that has none"))
    if any(len(each) > MAX_CHARACTERS for each in request.signatures):
        raise DocumentError(Fault("", f"a signature is over {MAX_CHARACTERS} characters"))
    return msgspec.structs.replace(document, signatures=tuple(each or None for each in request.signatures))


def reason_of(sent: Sent) -> Reason | None:
    """Say why `collect` refused an event, None where it did not."""
    if isinstance(sent.outcome, Rejected) and sent.outcome.record.rejection is not None:
        return Reason(sent.outcome.record.rejection.reason)
    return None


def reason_of_refusal(error: DocumentError) -> Reason:
    """Say why nothing of a document was taken."""
    if error.ours:
        return Reason.FAULT
    if error.too_large:
        return Reason.TOO_LARGE
    return Reason.FORBIDDEN if error.forbidden else Reason.INVALID


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
