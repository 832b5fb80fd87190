"""Export of all looks of a user: what each says, and what proves that it is sealed."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from goodstrace.entry import TagKind, tag
from goodstrace.log.v1 import log_pb2
from goodstrace.verification import open_part
from services.audit.browse_index import BrowseIndex
from services.audit.index_values import UNKNOWN, Place, Row, Wanted
from services.audit.part_keys import PartKeys, record_id_of
from services.runtime.mongo import Database
from services.runtime.settings import LogSettings, load, load_secret
from services.runtime.vault import open_vault
from services.sealing import disclosure
from services.sealing.erasure.steps import Known
from services.sealing.reader import LogReader
from services.sealing.showing import position, sizes_of
from services.sealing.values import SealedRecord, StoredCheckpoint

_PAGE: Final = 200


async def export_looks(database: Database, known: Known) -> AsyncIterator[tuple[str, Any]]:
    """Give the looks of a user, newest first, a page of 200 in memory at a time; then those of before there was an index, which are in clear.

    Before them come the `checkpoint`s under which they verify. Each `look` has the row of the index, its parts in clear, and `sealed`: the base64 of a protobuf
    `goodstrace.log.v1.SealedEntry` with proof and keys; null where it is not sealed yet. Raises: UnavailableError, VaultError.
    """
    looks = _Looks(database, known)
    checkpoints = await disclosure.vector(looks.reader, "browse")
    for each in checkpoints.values():
        yield "checkpoint", {"log": each.log, "note": each.note}
    async for page in looks.indexed(checkpoints):
        for look in page:
            yield "look", look
    async for page in looks.in_clear(checkpoints):
        for look in page:
            yield "look", look


class _Looks:
    """Reads the looks of a user page by page."""

    def __init__(self, database: Database, known: Known) -> None:
        self._known, self._index = known, BrowseIndex(known.vault)
        self._secret = load_secret(load(LogSettings).index_secret_file)
        self.reader = LogReader(database, self._secret)
        self._keys = PartKeys(open_vault(database), self._index)

    async def indexed(
        self, checkpoints: Mapping[str, StoredCheckpoint]
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Give those of which the index has rows."""
        place: Place | None = None
        while rows := await self._index.find(Wanted(subject=self._known.subject), place, _PAGE):
            place = rows[-1].place
            tags = [tag(self._secret, TagKind.RECORD, row.record_id.hex()) for row in rows]
            found = await self.reader.find(tags, sizes_of(checkpoints), 1)
            records = {record_id_of(each): each for those in found.values() for each in those}
            shown = await self._shown(list(records.values()), checkpoints)
            yield [_look(row, shown.get(row.record_id)) for row in rows]

    async def in_clear(
        self, checkpoints: Mapping[str, StoredCheckpoint]
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Give those that are found by the user's tag: records of earlier versions."""
        own, before = tag(self._secret, TagKind.USER, self._known.name), None
        while records := await self.reader.find_newest(own, sizes_of(checkpoints), _PAGE, before):
            before = (records[-1].log, records[-1].index)
            shown = await self._shown(records, checkpoints)
            yield [_look(_old(each), shown[record_id_of(each)]) for each in records]

    async def _shown(
        self, records: list[SealedRecord], checkpoints: Mapping[str, StoredCheckpoint]
    ) -> dict[bytes, log_pb2.SealedEntry]:
        shown = await disclosure.disclose(self.reader, records, sizes_of(checkpoints))
        await self._keys.add(shown, records, self._known.subject)
        return {record_id_of(each): shown[position(each)] for each in records}


def _old(record: SealedRecord) -> Row:
    """Say of a record of an earlier version what the index says of others."""
    entry, what = json.loads(record.entry), {part.name: part.content for part in record.parts}.get("what")
    said = json.loads(what) if what else {}
    return Row(
        record_id=record_id_of(record),
        subject=None,
        merchant=0,
        time_ms=int(entry["time"]),
        role="",
        kind=said.get("kind", "look"),
        method=said.get("method", ""),
        outcome=UNKNOWN,
    )


def _look(row: Row, sealed: log_pb2.SealedEntry | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": row.record_id.hex(),
        "time_ms": row.time_ms,
        "method": row.method,
        "kind": row.kind,
        "outcome": row.outcome,
        "mark": row.mark,
        "sealed": None,
    }
    if sealed is not None:
        record_id = row.record_id.hex()
        clear = {part.name: open_part(record_id, part) for part in sealed.parts}
        told["parts"] = {name: json.loads(content) for name, content in clear.items() if content is not None}
        told["sealed"] = base64.b64encode(sealed.SerializeToString()).decode()
    return told
