"""Listing what is withheld from a caller: behind the events of an answer, a page at a time, each entry with its proofs."""

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from goodstrace.entry import Position, TagKind, tag
from goodstrace.grouping import grouped
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import goods_pb2, trace_pb2, withheld_pb2
from goodstrace.tag_paths import tag_path
from goodstrace.tracing.model import Name, NameKind, Query, SealedFacts, Trace
from goodstrace.tracing.names import names_asked, names_walked
from services.query.requests import PageState
from services.query.sight import VisibleLogs
from services.query.thinking import Thinking
from services.runtime.call_errors import InvalidRequestError
from services.sealing import disclosure
from services.sealing.showing import position
from services.sealing.values import SealedRecord

BATCH: Final = 16  # records read at a time: at the most a MiB and more each
_OVERHEAD_BYTES: Final = 16  # tag and length of an embedded message
Answer = trace_pb2.TraceResponse | trace_pb2.GetEventResponse | goods_pb2.GetGoodsResponse


class Held(msgspec.Struct, frozen=True):
    """What an answer withholds: the places in order, with the name by which each was found, and its tag."""

    places: tuple[Position, ...]
    found_by: dict[Position, tuple[bytes, Name]]

    def digest(self) -> str:
        """Name exactly this that is withheld: the pages of one answer must all withhold the same."""
        return hashlib.sha256(msgspec.json.encode(self.places)).hexdigest()[:32] if self.places else ""


def held(logs: VisibleLogs, names: Mapping[bytes, Name], asked: Collection[Name] | None = None) -> Held:
    """Gather what is withheld.

    Args:
        logs: through which it was met.
        names: by tag.
        asked: the names for which an answer has to ask; what was met by others alone, on a way that came to nothing, does not belong
            to it. None: all do.
    """
    found: dict[Position, tuple[bytes, Name]] = {}
    for place, tags in logs.withheld.items():
        mine = [(names[tag], tag) for tag in tags if tag in names]
        name, tag = min((each for each in mine if asked is None or each[0] in asked), default=(None, b""))
        if name is not None:
            found[place] = (tag, name)
    return Held(tuple(sorted(found)), found)


async def asked_by(
    query: Query, trace: Trace, logs: VisibleLogs, thinking: Thinking
) -> frozenset[Name] | None:
    """Give the names for which a trace asks. None where that does not count."""
    if trace.truncated or logs.is_cut or not logs.withheld:
        return None
    return await names_of(query, trace, thinking)


async def names_of(query: Query, trace: Trace, thinking: Thinking) -> frozenset[Name]:
    """Give the names for which a trace asks, by the events of its answer: a client comes to the same."""
    return await thinking.run(names_asked, query, _sealed(trace), thinking.check)


async def names_so_far(query: Query, trace: Trace, thinking: Thinking) -> frozenset[Name]:
    """Give names for which a trace up to a level asks, and each deeper one, too: in one walk, so that each level can be told."""
    return await thinking.run(names_walked, query, _sealed(trace), thinking.check)


def _sealed(trace: Trace) -> list[SealedFacts]:
    return [
        SealedFacts(*each.positions[0], each.merchant, each.record_ms, each.facts, each.registration)
        for each in trace.events
    ]


def key_names(secret: bytes, keys: Iterable[str]) -> dict[bytes, Name]:
    """Give the names of keys by their tags."""
    return {tag(secret, TagKind.KEY, key): (NameKind.KEY, key) for key in keys}


class PageEnd(msgspec.Struct, frozen=True):
    """Where a page is in its answer.

    state: with which it began, None for the first. items: how many there are before what is withheld. following: the offset of the next
    page, None where this one goes up to their end.
    """

    state: PageState | None
    sizes: dict[str, int]
    page_size: int
    items: int
    following: int | None


async def end(answer: Answer, logs: VisibleLogs, what: Held, page: PageEnd, room: int) -> PageState | None:
    """Put what is withheld behind everything else on a page; give the state of the next page, None at the end.

    Raises: InvalidRequestError where the page before withheld something else; UnavailableError, CorruptError.
    """
    digest, following = what.digest(), page.following
    if page.state is not None and page.state.withheld != digest:
        raise InvalidRequestError("what the caller may see has changed: ask for the first page", "page_token")
    answer.total_withheld = len(what.places)
    if following is None and what.places:
        listed = await fill(
            answer,
            logs,
            what,
            page.sizes,
            offset=max(0, (page.state.offset if page.state else 0) - page.items),
            most=page.page_size - len(answer.events),
            room=room,
        )
        following = None if listed is None else page.items + listed
    return None if following is None else PageState(page.sizes, following, digest, logs.eyes.merchant)


async def fill(
    answer: Answer,
    logs: VisibleLogs,
    what: Held,
    sizes: Mapping[str, int],
    *,
    offset: int,
    most: int,
    room: int,
) -> int | None:
    """Put what is withheld into an answer, as far as it fits; one entry in any case where the answer shows nothing else.

    Args:
        answer: with everything else that is on the page.
        logs: reads the entries.
        what: is withheld.
        sizes: of the checkpoints that the proofs lead to.
        offset: how many entries earlier pages had.
        most: how many may be on this page.
        room: how many bytes the whole page may have.
    Returns: how many entries this and the earlier pages have; None where these are all.
    Raises: UnavailableError, CorruptError.
    """
    left, end = room - answer.ByteSize(), offset
    while end < len(what.places) and end - offset < most:
        some = what.places[end : min(end + BATCH, offset + most)]
        for message in await entries(logs, what, sizes, some):
            left -= size_of(message)
            if left < 0 and (end > offset or len(answer.events)):
                return end
            answer.withheld_entries.append(message)
            end += 1
    return end if end < len(what.places) else None


def size_of(entry: withheld_pb2.WithheldEntry) -> int:
    """Tell how many bytes an entry takes in a message, at the most."""
    return entry.ByteSize() + _OVERHEAD_BYTES


async def entries(
    logs: VisibleLogs, what: Held, sizes: Mapping[str, int], places: Sequence[Position]
) -> list[withheld_pb2.WithheldEntry]:
    """Show some of what is withheld, with proofs: BATCH places at the most. Raises: UnavailableError, CorruptError, EntryError."""
    records = [
        each for log, some in grouped(places).items() for each in await logs.withheld_records(log, some)
    ]
    shown = await disclosure.disclose(logs, records, sizes)
    return await asyncio.to_thread(_proved, records, shown, what)


def _proved(
    records: Sequence[SealedRecord], shown: Mapping[Position, log_pb2.SealedEntry], what: Held
) -> list[withheld_pb2.WithheldEntry]:
    return [
        withheld_pb2.WithheldEntry(
            sealed=shown[position(record)], found_by=found_by(record, *what.found_by[position(record)])
        )
        for record in sorted(records, key=position)
    ]


def found_by(record: SealedRecord, tag: bytes, name: Name) -> withheld_pb2.FoundBy:
    """Prove that a record is tagged with the name by which it was found. Raises: EntryError where it is not."""
    index, path = tag_path(record.tags, tag)
    return withheld_pb2.FoundBy(kind=name[0].value, name=name[1], tag=tag, index=index, path=path)
