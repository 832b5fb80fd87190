"""Cutting how goods stand into pages: states and registration on the first one, then the events that prove them."""

from collections.abc import Mapping
from typing import Final

import msgspec

from goodstrace.entry import Position
from goodstrace.goods.registered import PART, read_registration
from goodstrace.goods.standing import registration_message, state_message
from goodstrace.grouping import grouped
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import goods_pb2
from services.query.standing import Standing
from services.query.whole_logs import Logs
from services.runtime.envelope import content_of
from services.sealing import disclosure
from services.sealing.showing import record_bytes
from services.sealing.values import SealedRecord

_OVERHEAD_BYTES: Final = 96  # an identity, tags and lengths


class Cut(msgspec.Struct, frozen=True):
    """One page without its records: `places` are those of its events; `next_offset` counts the events before the next page."""

    answer: goods_pb2.GetGoodsResponse
    places: tuple[Position, ...]
    next_offset: int | None


def cut(key: str, found: Standing, offset: int, page_size: int, page_bytes: int) -> Cut:
    """Cut the page that begins after `offset` events: at most `page_size` events and `page_bytes`, one event in any case."""
    answer = goods_pb2.GetGoodsResponse(key=key, total_events=len(found.places), truncated=found.truncated)
    left = page_bytes
    if not offset:
        answer.states.extend(
            state_message(each, kept, found.identities, found.givers) for each, kept in found.kept.items()
        )
        answer.delegations.extend(log_pb2.SealedEntry() for _ in found.deciding)
        left -= sum(found.costs[place] for place in found.deciding)
        if found.registration is not None:
            content, merchant = read_registration(content_of(found.registration.parts, PART) or b"")
            answer.registration.CopyFrom(registration_message(content, merchant))
            left -= record_bytes(found.registration, 2**63 - 1)
        left -= answer.ByteSize()
    places: list[Position] = []
    for identity, place in list(found.places.items())[offset : offset + page_size]:
        left -= found.costs[place] + _OVERHEAD_BYTES
        if left < 0 and places:
            break
        answer.events.add(identity=identity)
        places.append(place)
    end = offset + len(places)
    return Cut(answer, tuple(places), end if end < len(found.places) else None)


async def prove(page: Cut, found: Standing, reader: Logs, sizes: Mapping[str, int]) -> None:
    """Put the records with their proofs into a page. Raises: UnavailableError, CorruptError."""
    shown = await disclosure.disclose(reader, await _records(page, found, reader), sizes)
    for event, place in zip(page.answer.events, page.places, strict=True):
        event.sealed.CopyFrom(shown[place])
    if page.answer.HasField("registration") and found.registration is not None:
        sealed: log_pb2.SealedEntry = shown[found.registration.log, found.registration.index]
        page.answer.registration.sealed.CopyFrom(sealed)
    if page.answer.delegations:
        for giver, place in zip(page.answer.delegations, found.deciding, strict=True):
            giver.CopyFrom(shown[place])


async def _records(page: Cut, found: Standing, reader: Logs) -> list[SealedRecord]:
    by_log = grouped((*page.places, *(found.deciding if page.answer.delegations else ())))
    records = [record for log, indexes in by_log.items() for record in await reader.records(log, indexes)]
    if page.answer.HasField("registration") and found.registration is not None:
        records.append(found.registration)
    return records
