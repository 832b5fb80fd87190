"""Working on rejections: finding them, reading what was refused where it lies on Kafka, and sending it again. Knows no HTTP."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from services.collector import documents
from services.collector.errors import HinderedError
from services.collector.flow import EVENT_PART, PERSONAL_PART, SIGNATURE_PART
from services.collector.intake import Intake
from services.collector.preparing import Prepared, Request
from services.collector.rejection_store import Wanted
from services.collector.rejections import (
    Again,
    Rejection,
    content_part,
    hindrance,
    is_shown,
    rebuilt,
)
from services.runtime.access.current import principal
from services.runtime.access.naming import recorded_name
from services.runtime.call_errors import NotFoundError
from services.runtime.envelope import Record
from services.runtime.errors import EnvelopeError
from services.sealing.browse import Browse, Recorder

METHOD: Final = "GetRejectedContent"


class Store(Protocol):
    """Where rejections are kept; see `RejectionStore`."""

    async def find(self, record: str) -> Rejection | None:
        """Give a rejection by its record ID."""

    async def page(self, wanted: Wanted, before: str, limit: int) -> Sequence[Rejection]:
        """Give some, newest first."""

    async def resubmitted(self, record: str, again: Again) -> None:
        """Note that one was sent again."""


class Reader(Protocol):
    """Where the records lie; see `RejectedReader`."""

    async def read(self, partition: int, offset: int) -> Record:
        """Read the record at an offset."""


class Page(msgspec.Struct, frozen=True):
    """Some rejections, newest first; `following` is where the next page begins, empty at the end."""

    rejections: Sequence[Rejection]
    following: str


class RejectionDesk:
    """What the API does with rejections."""

    def __init__(
        self, store: Store, reader: Reader, intake: Intake, recorder: Recorder, now_ms: Callable[[], int]
    ) -> None:
        """Work on the rejections in `store`; what is sent again goes through `intake`, what is shown is recorded by `recorder`."""
        self._recorder = recorder
        self.limits = intake.limits
        self.hold = intake.hold
        self.gate = intake.gate
        self._store = store
        self._reader = reader
        self._intake = intake
        self._now_ms = now_ms

    async def page(self, wanted: Wanted, before: str, limit: int) -> Page:
        """List at most `limit` of them. Raises: UnavailableError."""
        found = await self._store.page(wanted, before, limit + 1)
        shown = found[:limit]
        return Page(shown, shown[-1].order if len(found) > limit else "")

    async def find(self, record: str, viewer: int | None = None) -> Rejection:
        """Give one by its record ID, hex, where the `viewer` may see it: its merchant; None sees all.

        Raises: NotFoundError, UnavailableError.
        """
        found = await self._store.find(record)
        if found is None or viewer not in (None, found.merchant):
            raise NotFoundError("there is no such rejection")
        return found

    async def content(self, record: str, viewer: int | None = None) -> bytes:
        """Give the exact bytes that were refused, once that is recorded: the same may have been sealed since.

        Raises: NotFoundError where there is no such rejection, or nothing of it may be shown; OffsetGapError where Kafka no
        longer has it; NotRecordedError, UnavailableError.
        """
        found = await self.find(record, viewer)
        if not is_shown(found):
            raise NotFoundError("its content is that of a sealed record, or was not kept")
        content = content_part(await self._read(found))[1]
        browse = Browse(
            user=recorded_name(principal(), ()),
            method=METHOD,
            keys=(),
            sizes={},
            purpose="",
            events=1,
            query=record,
        )
        await self._recorder.record(browse)
        return content

    async def resubmit(
        self, record: str, corrected: bytes | None, viewer: int | None = None
    ) -> tuple[Prepared, Again]:
        """Capture what was refused once more, for the same merchant, and note it: durable when it returns.

        Args:
            record: the rejection's record ID, hex.
            corrected: a document or event to send in its place; None: as it was, with the signature that it had.
            viewer: the merchant who asks; None may ask for all.
        Raises: NotFoundError; HinderedError; ForbiddenError where its merchant is suspended; DocumentError: it is refused again, and nothing has changed; OffsetGapError;
        RateLimitedError, OverloadedError, UnavailableError: try again, what was captured is then recognised as a duplicate.
        """
        found = await self.find(record, viewer)
        why = hindrance(found, corrected=corrected is not None)
        if why:
            raise HinderedError(why)
        caller = await self.gate.on_behalf_of(found.merchant)
        refused = await self._read(found)
        if corrected is None and any(part.name == PERSONAL_PART for part in refused.parts):
            raise HinderedError(
                "personal data was left out of what was kept: send it from where it came from"
            )
        body = self._body(refused, corrected)
        signatures = _signatures(refused) if corrected is None else ()
        prepared = await self._intake.take(Request(caller, body, signatures=signatures, beside=True))
        again = Again(
            capture=prepared.job.id,
            records=tuple(each.outcome.record.id.hex() for each in prepared.sent),
            time_ms=prepared.job.created_ms,
            corrected=corrected not in (None, content_part(refused)[1]),
        )
        await self._store.resubmitted(record, again)
        return prepared, again

    def _body(self, refused: Record, corrected: bytes | None) -> bytes:
        """Give what to capture: an event goes back under the @context of its document, a document is one of its own."""
        name, content = content_part(refused)
        if corrected is not None or name != EVENT_PART:
            content = content if corrected is None else corrected
            document = documents.read(content, self.limits)
            if document.place is not None:
                return content
            (content,) = document.events
        body = rebuilt(content, refused, self._now_ms())
        if body is None:
            raise HinderedError("the @context of its document was too long to be kept: send a document")
        return body

    async def _read(self, rejection: Rejection) -> Record:
        record = await self._reader.read(rejection.partition, rejection.offset)
        if record.id.hex() != rejection.id:
            raise EnvelopeError(f"goods.rejected has another record where {rejection.id} was")
        return record


def _signatures(refused: Record) -> tuple[str, ...]:
    return tuple(
        part.content.decode(errors="replace") for part in refused.parts if part.name == SIGNATURE_PART
    )
