"""Who is given the key of personal data: the event's own merchant and auditors; it opens the part, and nobody counts it as withheld."""

from collections.abc import Collection
from typing import Any

import msgspec
import pytest

from goodstrace import entry as entries
from goodstrace.checkpoint import Checkpoint
from goodstrace.encrypted_parts import is_encrypted
from goodstrace.facts import decode
from goodstrace.merkle import leaf_hash
from goodstrace.personal_part import PART
from goodstrace.verification import VerifiedCheckpoint, VerifiedEvent, verify_entry
from services.query.personal_sight import Opens
from services.query.sight import Eyes, Sight, VisibleLogs
from services.runtime.access.values import EVERYBODY, Principal, Role
from services.sealing.disclosure import disclose, disclose_together
from services.sealing.values import SealedRecord
from tests.unit.collector_builders import (
    SECRET,
    collected,
    document,
    object_event,
    processed,
    wires,
)

EVENT = object_event(**{"ex:consumerName": "Ann Roe", "ex:colour": "blue"})


class _Keys:
    def __init__(self, keys: dict[bytes, bytes]) -> None:
        self.keys, self.asked = keys, 0

    async def of_records(self, record_ids: Collection[bytes]) -> dict[bytes, bytes]:
        self.asked += 1
        return {each: self.keys[each] for each in record_ids if each in self.keys}


class _Logs:
    async def inclusion_proofs(self, _log: str, indexes: Collection[int], _size: int) -> list[list[bytes]]:
        return [[] for _ in indexes]

    async def multiproof(self, _log: str, _indexes: Collection[int], _size: int) -> list[bytes]:
        return []


def _world() -> tuple[SealedRecord, _Keys]:
    (sent,) = collected(document(EVENT), merchant=7)
    (item,) = processed(wires([sent]))
    assert sent.personal is not None
    record = SealedRecord("goods/0", 0, item.record.entry, item.record.parts, item.record.tags)
    return record, _Keys({item.record.id: sent.personal.key})


AUDITOR = Principal(name="ida", roles=frozenset({Role.AUDITOR}))
SEERS = [AUDITOR, Principal(name="m", merchant=7, roles=frozenset({Role.MERCHANT})), EVERYBODY]
OTHERS = [
    Principal(name="n", merchant=8, roles=frozenset({Role.MERCHANT})),
    Principal(name="p", roles=frozenset({Role.PLATFORM})),
    Principal(name="s", roles=frozenset({Role.SHOPPER})),
    Principal(name="o", roles=frozenset({Role.OPERATOR})),
]


async def _shown(who: Principal, keys: Any, record: SealedRecord, *, together: bool = False) -> VerifiedEvent:
    eyes = await Sight(None, keys).eyes(who)
    logs = VisibleLogs(_Logs(), eyes, SECRET, 10)  # type: ignore[arg-type]
    if together:
        messages, _ = await disclose_together(logs, [record], {"goods/0": 1})
    else:
        messages = await disclose(logs, [record], {"goods/0": 1})
    checkpoint = VerifiedCheckpoint("goods/0", Checkpoint("goods/0", 1, leaf_hash(record.entry)), "")
    found = verify_entry(messages["goods/0", 0], {"goods/0": checkpoint})
    return VerifiedEvent("", found, (), decode(found.parts["facts"]), found.parts["event"])


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("who", SEERS, ids=lambda who: who.name)
async def test_who_may_read_it_gets_the_key_and_the_client_opens_it(who: Principal, together: bool) -> None:
    record, keys = _world()
    event = await _shown(who, keys, record, together=together)
    assert event.personal() == {"/ex:consumerName": "Ann Roe"}
    assert event.document()["ex:colour"] == "blue"
    assert not event.position.withheld


@pytest.mark.parametrize("who", OTHERS, ids=lambda who: who.name)
async def test_all_others_get_ciphertext_and_a_sound_answer(who: Principal) -> None:
    record, keys = _world()
    event = await _shown(who, keys, record)
    assert event.personal() == {}
    assert event.position.withheld == (PART,)
    assert not event.position.is_hidden
    assert is_encrypted(event.position.sealed[PART])


async def test_after_its_key_was_destroyed_nobody_reads_it_and_the_proof_holds() -> None:
    record, keys = _world()
    keys.keys.clear()
    event = await _shown(AUDITOR, keys, record)
    assert event.personal() == {}
    assert event.position.withheld == (PART,)


async def test_nobody_is_asked_where_there_is_nothing_to_open() -> None:
    record, keys = _world()
    bare = msgspec.structs.replace(record, parts=())
    assert await Opens(keys, 7, everything=False).keys([bare]) == {}
    assert await Opens(None, 7, everything=True).keys([record]) == {}
    assert keys.asked == 0
    assert await Eyes((await Sight(None).eyes(AUDITOR))._viewer, None).part_keys([record]) == {}
    assert entries.decode(record.entry).merchant == 7
