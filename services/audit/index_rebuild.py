"""Making the index of looks again from the browse logs and the vault.

Nothing in a log says whose a look is: each user's key is tried on it, those first whose looks were found last. That takes users times looks at worst, ten
microseconds each; rows that are there already tell whose they are and are only checked.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from goodstrace import entry as entries
from goodstrace.encrypted_parts import decrypt, is_encrypted, record_key
from goodstrace.entry import Kind
from services.audit.browse_index import BrowseIndex
from services.audit.index_values import GRANTED, Row
from services.audit.part_keys import opens
from services.runtime.envelope import Committed
from services.runtime.vault import Vault
from services.sealing.browse import LOGS
from services.sealing.mark_records import is_mark, outcomes_of
from services.sealing.reader import LogReader
from services.sealing.values import SealedRecord

_AT_ONCE: Final = 500


class Rebuilt(msgspec.Struct):
    """What was done. rows: looks taken in. marks: looks of which it was found what became of them. unread: looks that no key opens, as after their user was erased. clear: looks from before there was an index, which are found by their tags."""

    rows: int = 0
    marks: int = 0
    unread: int = 0
    clear: int = 0


class Owners:
    """Finds the user whose key opens a look. Pure: holds all users' keys."""

    def __init__(self, users: Mapping[bytes, bytes]) -> None:
        """Try these keys, by the hashes of their subjects."""
        self._users = OrderedDict(users)

    def find(self, record: Committed, known: bytes | None = None) -> tuple[bytes, dict[str, bytes]] | None:
        """Give the subject and the clear parts of a look, None where no key opens it; `known` is tried first."""
        encrypted = {part.name: part.content for part in record.parts if is_encrypted(part.content)}
        name, content = next(iter(encrypted.items()))
        for subject in self._in_order(known):
            user_key = self._users[subject]
            if opens(record_key(user_key, record.id, name), content):
                self._users.move_to_end(subject)
                return subject, {
                    each: decrypt(record_key(user_key, record.id, each), record.id, each, text)
                    for each, text in encrypted.items()
                }
        return None

    def _in_order(self, known: bytes | None) -> Iterator[bytes]:
        if known is not None and known in self._users:
            yield known
        yield from reversed(self._users)


async def rebuild(
    reader: LogReader, vault: Vault, index: BrowseIndex, progress: Callable[[str, int, int], None]
) -> Rebuilt:
    """Take all published looks into the index; may be repeated, and services may run beside it.

    Args:
        reader: of the logs.
        vault: has the users' keys.
        index: is added to.
        progress: told of each log how many of how many entries were read.
    Raises: UnavailableError, CorruptError, VaultError.
    """
    owners, done = Owners(dict(await vault.users())), Rebuilt()
    for log, newest in (await reader.newest(LOGS)).items():
        for first in range(0, newest.size, _AT_ONCE):
            end = min(newest.size, first + _AT_ONCE)
            records = [_committed(each) for each in await reader.records(log, range(first, end))]
            await _take(records, owners, index, done)
            progress(log, end, newest.size)
    return done


async def _take(records: list[Committed], owners: Owners, index: BrowseIndex, done: Rebuilt) -> None:
    rows: list[Row] = []
    marks: dict[bytes, str] = {}
    known = await index.rows([each.id for each in records])
    for record in records:
        if is_mark(record):
            marks |= {look: outcome.value for look, outcome in outcomes_of(record).items()}
        elif not any(is_encrypted(part.content) for part in record.parts):
            done.clear += 1
        elif found := owners.find(record, known[record.id].subject if record.id in known else None):
            rows.append(row_from(record, *found))
        else:
            done.unread += 1
    await index.put(rows, marks)
    done.rows += len(rows)
    done.marks += len(marks)


def row_from(record: Committed, subject: bytes, opened: Mapping[str, bytes]) -> Row:
    """Make a row from a look and its clear parts, the same as from what was told of it. Pure."""
    said: dict[str, dict[str, Any]] = {
        part.name: json.loads(opened.get(part.name, part.content)) for part in record.parts
    }
    who, what = said["who"], said["what"]
    return Row(
        record_id=record.id,
        subject=subject,
        merchant=who.get("merchant", 0),
        time_ms=record.time_ms,
        role=who.get("role", ""),
        kind=what.get("kind", "look"),
        method=what["method"],
        outcome=said["outcome"].get("refused", GRANTED),
    )


def _committed(sealed: SealedRecord) -> Committed:
    entry = entries.decode(sealed.entry)
    return Committed(
        id=bytes.fromhex(entry.id), kind=Kind(entry.kind), time_ms=entry.time, parts=sealed.parts
    )
