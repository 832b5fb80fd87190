"""Export of all looks of a user: what each says, and what proves that it is sealed."""

import base64
import json
from typing import Any, Final

from goodstrace.entry import TagKind, tag
from goodstrace.log.v1 import log_pb2
from goodstrace.verification import open_part
from services.audit.browse_index import BrowseIndex
from services.audit.index_values import Place, Row, Wanted
from services.audit.part_keys import PartKeys, record_id_of
from services.runtime.mongo import Database
from services.runtime.settings import LogSettings, load, load_secret
from services.runtime.vault import open_vault
from services.sealing import disclosure
from services.sealing.erasure.steps import Known
from services.sealing.reader import LogReader
from services.sealing.showing import position, sizes_of

MOST: Final = 50_000
_PAGE: Final = 200


async def export_looks(database: Database, known: Known) -> dict[str, Any]:
    """Give the looks of a user, newest first, at most MOST of them: then `more` is true.

    Each has the row of the index, its parts in clear, and `sealed`: the base64 of a protobuf `goodstrace.log.v1.SealedEntry` with proof and keys,
    which verifies under the `checkpoints`; null where it is not sealed yet. Raises: UnavailableError, VaultError.
    """
    secret = load_secret(load(LogSettings).index_secret_file)
    reader, index = LogReader(database, secret), BrowseIndex(known.vault)
    checkpoints = await disclosure.vector(reader, "browse", {}) or {}
    keys = PartKeys(open_vault(database), index)
    looks: list[dict[str, Any]] = []
    place: Place | None = None
    rows: list[Row] = []
    while len(looks) < MOST and (not looks or len(rows) == _PAGE):
        rows = await index.find(Wanted(subject=known.subject), place, _PAGE)
        if not rows:
            break
        place = rows[-1].place
        tags = [tag(secret, TagKind.RECORD, row.record_id.hex()) for row in rows]
        found = await reader.find(tags, sizes_of(checkpoints), 1)
        records = {record_id_of(each): each for those in found.values() for each in those}
        shown = await disclosure.disclose(reader, list(records.values()), sizes_of(checkpoints))
        await keys.add(shown, list(records.values()), known.subject)
        for row in rows:
            record = records.get(row.record_id)
            looks.append(_look(row, shown[position(record)] if record else None))
    return {
        "checkpoints": [{"log": each.log, "note": each.note} for each in checkpoints.values()],
        "looks": looks,
        "more": len(rows) == _PAGE,
    }


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
