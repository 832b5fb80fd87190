"""The public face of goods: what anybody is told who scans them. No look is recorded, and Kafka is not needed.

Shown are the product's registered name and who registered it, notices of safety and recall, and how many events are sealed. A recall is told whatever
the visibility of the event that says so: whoever holds the goods must know. Of the events themselves nothing is told, not even where they are
sealed: entries name merchants and times, and whose goods passed through whose hands is not for everybody. What the browser verifies is the record of
the registration, which is public, under the checkpoint of its log.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace.entry import Kind, TagKind, tag
from goodstrace.goods.standing import registered_under
from goodstrace.goods.state import ALERTS
from goodstrace.identifiers import Grade, grade
from goodstrace.log.v1 import log_pb2
from services.query.standing import Standing, Standings
from services.query.web.registered import Register, Thing
from services.sealing import disclosure, showing
from services.sealing.reader import LogReader
from services.sealing.values import StoredCheckpoint

MOST_COUNTED: Final = 500
_NOTICE_ATTRIBUTES: Final = ("safety", "recall", "warning", "allergen")
_COUNTED: Final = (Grade.ITEM, Grade.LOT, Grade.CLASS, Grade.CONTAINER, Grade.ASSET, Grade.OTHER)
_RECALLED: Final = "recalled"


class Notice(msgspec.Struct, frozen=True):
    """A notice: `word` names it in the catalogue's family `notice` ("" where it is only the text); `of` is the key that it is about."""

    word: str
    text: str
    of: str
    since_us: int = 0


class Face(msgspec.Struct, frozen=True):
    """What anybody may know of goods.

    events: how many are sealed that name the key, `more` where there are at least so many. sealed: the registration's record with its proof.
    checkpoints: of the logs that were looked into, by name.
    """

    key: str
    grade: str
    goods: Thing | None
    maker: str
    notices: tuple[Notice, ...]
    events: int
    more: bool
    sealed: tuple[log_pb2.SealedEntry, ...]
    checkpoints: Mapping[str, StoredCheckpoint]

    @property
    def is_recalled(self) -> bool:
        """Whether a notice says that the goods are recalled."""
        return any(each.word == _RECALLED for each in self.notices)


class Faces:
    """Finds public faces."""

    def __init__(self, reader: LogReader, secret: bytes, max_events: int) -> None:
        """Look in `reader`'s logs; at most `max_events` records are looked at to tell how goods stand."""
        self._reader, self._secret = reader, secret
        self._register = Register(reader, secret)
        self._standings = Standings(reader, secret, max_events)

    async def find(self, key: str) -> Face:
        """Find the face of a canonical key. Raises: UnavailableError, CorruptError, EntryError."""
        checkpoints = await self._reader.newest("goods/")
        sizes = showing.sizes_of(checkpoints)
        found = await self._standings.find(key, sizes)
        states = {each: found.state(each) for each in found.kept}
        own = registered_under(key, states.get(key))
        goods = await self._register.thing(own, sizes)
        makers = await self._register.merchants([goods.merchant] if goods else [], sizes)
        count = await self._count(key, sizes)
        notices = (*_standing_notices(own, found), *(_registered_notices(goods) if goods else ()))
        return Face(
            key=key,
            grade=str(grade(key)),
            goods=goods,
            maker=makers.get(goods.merchant, "") if goods else "",
            notices=notices,
            events=min(count, MOST_COUNTED),
            more=count > MOST_COUNTED,
            sealed=await self._proved(goods, sizes),
            checkpoints=checkpoints,
        )

    async def _count(self, key: str, sizes: Mapping[str, int]) -> int:
        """Count the events by the key's tag, up to one over the most; those at places and with parties are not told (docs/visibility.md)."""
        if grade(key) not in _COUNTED:
            return 0
        wanted = tag(self._secret, TagKind.KEY, key)
        records = (await self._reader.find([wanted], sizes, MOST_COUNTED + 1))[wanted]
        return sum(entries.decode(each.entry).kind is Kind.EVENT for each in records)

    async def _proved(self, goods: Thing | None, sizes: Mapping[str, int]) -> tuple[log_pb2.SealedEntry, ...]:
        if goods is None:
            return ()
        shown = await disclosure.disclose(self._reader, [goods.record], sizes)
        return tuple(shown.values())


def _standing_notices(own: list[str], found: Standing) -> list[Notice]:
    """Tell what warns of goods, their lot and their class: dispositions, while they hold."""
    notices = []
    for key in own:
        if key not in found.kept:
            continue
        notices += [
            Notice(name, "", key, said.since.time_us)
            for name, said in sorted(found.state(key).flags.items())
            if name in ALERTS
        ]
    return notices


def _registered_notices(goods: Thing) -> list[Notice]:
    return [
        Notice("", text, goods.key)
        for name, text in sorted(goods.attributes.items())
        if name.lower().startswith(_NOTICE_ATTRIBUTES)
    ]
