"""`GetRegistrations`: what was registered under a key, proved, and shown once the look is recorded."""

from collections.abc import Mapping
from typing import Final

import msgspec

from goodstrace.entry import Position, TagKind, tag
from goodstrace.identifiers import canonical_key
from goodstrace.query.v1.registrations_pb2 import GetRegistrationsRequest, GetRegistrationsResponse
from goodstrace.registration import of_parts
from services.query.shown import Shown
from services.runtime.call_limits import MAX_KEY_CHARS, MAX_PURPOSE_CHARS, check_text, checked_page_size
from services.runtime.page_tokens import PageTokens, TokenKey
from services.sealing import disclosure, showing
from services.sealing.browse import Browse
from services.sealing.reader import LogReader
from services.sealing.values import SealedRecord

METHOD: Final = "GetRegistrations"
DEFAULT_PAGE_SIZE: Final = 200
_LOGS: Final = "goods"


class RegistrationPage(msgspec.Struct, frozen=True):
    """Where an answer goes on: the checkpoints' sizes by log, and the last record that was shown."""

    sizes: dict[str, int]
    before: Position


class Registrations:
    """Answers the call."""

    def __init__(
        self, reader: LogReader, shown: Shown, *, secret: bytes, page_key: TokenKey, page_bytes: int
    ) -> None:
        """Answer from `reader`'s logs, at most `page_bytes` at a time unless one record alone is over."""
        self._reader = reader
        self._shown = shown
        self._secret = secret
        self._page_bytes = page_bytes
        self._tokens = PageTokens(page_key, RegistrationPage)

    async def answer(self, user: str, request: GetRegistrationsRequest) -> GetRegistrationsResponse:
        """Find, prove, record, and give; see registrations.proto. Raises: InvalidRequestError, UnavailableError, CorruptError."""
        check_text(request.key, "key", MAX_KEY_CHARS, least=1)
        check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
        page_size = checked_page_size(request.page_size, DEFAULT_PAGE_SIZE)
        key = canonical_key(request.key)
        query = msgspec.json.encode((METHOD, key))
        state = await self._tokens.open(query, request.page_token) if request.page_token else None
        checkpoints = await disclosure.vector(self._reader, _LOGS, page=state.sizes if state else None)
        sizes = showing.sizes_of(checkpoints)
        found = await self._reader.find_newest(
            tag(self._secret, TagKind.REGISTRATION, key),
            sizes,
            page_size + 1,
            state.before if state else None,
        )
        records = self._cut(found[:page_size], sizes)
        shown = await disclosure.disclose(self._reader, records, sizes)
        answer = GetRegistrationsResponse(
            registrations=[shown[showing.position(each)] for each in records if _is_of(each, key)],
            checkpoints=map(showing.checkpoint_message, checkpoints.values()),
        )
        if len(records) < len(found):
            following = RegistrationPage(sizes, showing.position(records[-1]))
            answer.next_page_token = await self._tokens.seal(query, following)
        browse = Browse(
            user=user,
            method=METHOD,
            keys=(key,),
            sizes=sizes,
            purpose=request.purpose,
            events=len(answer.registrations),
        )
        answer.browse_id = await self._shown.record(browse)
        return answer

    def _cut(self, records: list[SealedRecord], sizes: Mapping[str, int]) -> list[SealedRecord]:
        """Take what fits into a page, at least one."""
        taken, left = 0, self._page_bytes
        for record in records:
            left -= showing.record_bytes(record, sizes[record.log])
            if left < 0 and taken:
                break
            taken += 1
        return records[:taken]


def _is_of(record: SealedRecord, key: str) -> bool:
    """Tell whether a record is a registration of the key: items are found by the lot that they are registered as of, too."""
    told = of_parts({part.name: part.content for part in record.parts})
    return told is None or told.key == key
