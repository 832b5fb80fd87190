"""Who looks, and what of the logs they may see: the one place where content is withheld.

A record whose content the caller may not see is handed on without its parts, as one whose parts are not there any more: whatever reads
through `VisibleLogs` cannot show what it was never given. Where who may see what cannot be told, nothing is shown (UnavailableError).
"""

import asyncio
import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace import facts as sealed_facts
from goodstrace.claims import is_within, scope_claims
from goodstrace.entry import Entry, Kind, Position, tag
from goodstrace.facts import Facts
from goodstrace.tracing.names import TAG_KINDS
from goodstrace.visibility import ANYBODY, EVERYTHING, Lent, Viewer, VisibilityPolicy, sees, told_names
from services.query.personal_sight import Opens, PersonalSource
from services.query.whole_logs import WholeLogs, is_much, untold
from services.runtime.access.values import Principal, Role
from services.runtime.envelope import content_of
from services.runtime.merchants.directory import Directory, Standing
from services.runtime.merchants.errors import SuspendedError, UnauthenticatedError
from services.runtime.merchants.values import Status
from services.sealing.showing import PartKey, position
from services.sealing.values import SealedRecord

READ: Final = 256  # records read at a time to find more that may be told
FACTS: Final = "facts"
Judged = tuple[Entry, Facts | None]


class Sight:
    """Says what callers see; made once for a process."""

    def __init__(self, directory: Directory | None, personal: PersonalSource | None = None) -> None:
        """Ask `directory` what merchants' policies are; None: nothing is enforced, everybody sees everything.

        `personal` opens what was taken out of events, for their own merchant and for auditors; None: it stays closed to all.
        """
        self._directory, self._personal = directory, personal

    async def logs(
        self,
        logs: WholeLogs,
        who: Principal,
        secret: bytes,
        most_withheld: int,
        most_untold_s: float = math.inf,
    ) -> "VisibleLogs":
        """Give `logs` as somebody may see them, for one answer; see `eyes` and `VisibleLogs`. Raises: as `eyes`."""
        return VisibleLogs(logs, await self.eyes(who), secret, most_withheld, most_untold_s)

    async def eyes(self, who: Principal) -> "Eyes":
        """Say what somebody sees: auditors and the platform everything, merchants as such, all others what is public.

        Raises: UnauthenticatedError and ForbiddenError where the merchant is gone or suspended; UnavailableError where that cannot be told.
        """
        opens = Opens(self._personal, who.merchant, everything=who.is_any(Role.AUDITOR))
        if self._directory is None or who.is_any(Role.AUDITOR, Role.PLATFORM):
            return Eyes(EVERYTHING, None, opens)
        if not who.merchant:
            return Eyes(ANYBODY, self._directory, opens)
        standing = await self._directory.standing(who.merchant)
        if standing is None:
            raise UnauthenticatedError("there is no such merchant")
        if standing.merchant.status is not Status.ACTIVE:
            raise SuspendedError(who.name, who.merchant)
        return Eyes(viewer_of(who.merchant, standing), self._directory, opens)


class Eyes:
    """What one caller may see, as it is now: a policy is asked for once, so that one answer is of one mind."""

    def __init__(self, viewer: Viewer, directory: Directory | None, opens: Opens | None = None) -> None:
        """See as `viewer`, by the policies in `directory`; None: only for a viewer who sees all. `opens`: personal data, None: none."""
        self._viewer, self._directory = viewer, directory
        self._opens = opens
        self._policies: dict[int, VisibilityPolicy] = {}

    @property
    def merchant(self) -> int:
        """The number of the merchant who looks; 0 where it is none."""
        return self._viewer.merchant

    async def part_keys(self, records: Sequence[SealedRecord]) -> dict[Position, PartKey]:
        """Give what opens encrypted parts that may be read. Raises: UnavailableError."""
        return await self._opens.keys(records) if self._opens is not None else {}

    @property
    def sees_all(self) -> bool:
        """Whether nothing is withheld."""
        return self._viewer.sees_all

    @property
    def viewer(self) -> Viewer:
        """Who looks."""
        return self._viewer

    @property
    def policies(self) -> Mapping[int, VisibilityPolicy]:
        """The policies that were asked for so far, by merchant."""
        return self._policies

    async def see_as(self, others: "Eyes") -> bool:
        """Tell whether these eyes see what others saw: the same caller's, and of all policies that those asked for none has changed.

        Raises: UnavailableError.
        """
        if self._viewer != others.viewer:
            return False
        if self.sees_all:
            return True
        await self._ask(others.policies)
        return all(self._policies[number] == policy for number, policy in others.policies.items())

    async def see(self, judged: Sequence[Judged]) -> list[bool]:
        """Tell of each record whether its content may be seen. Raises: UnavailableError."""
        if self.sees_all:
            return [True] * len(judged)
        await self._ask_for(judged)
        return self._seen(judged)

    async def hidden(self, records: Sequence[SealedRecord]) -> dict[Position, Facts | None]:
        """Find the records whose content may not be seen, with their facts. Raises: UnavailableError, EntryError."""
        if self.sees_all or not records:
            return {}
        if is_much(records):
            read = await asyncio.to_thread(judged, records)
            await self._ask_for(read)
            seen = await asyncio.to_thread(self._seen, read)
        else:
            read = judged(records)
            seen = await self.see(read)
        return {
            position(record): facts
            for record, (_, facts), visible in zip(records, read, seen, strict=True)
            if not visible
        }

    def _seen(self, judged: Sequence[Judged]) -> list[bool]:
        """Tell of each record whether its content may be seen, by the policies that were asked for."""
        return [may_see(self._viewer, self._policies, entry, facts) for entry, facts in judged]

    async def _ask_for(self, judged: Sequence[Judged]) -> None:
        """Ask for the policies by which records are judged. Raises: UnavailableError."""
        await self._ask({entry.merchant for entry, _ in judged if entry.kind is Kind.EVENT})

    async def _ask(self, merchants: Iterable[int]) -> None:
        """Ask for the policies in force that were not asked for yet; who is not registered has said nothing."""
        assert self._directory is not None
        numbers = sorted(set(merchants) - self._policies.keys())
        found = await asyncio.gather(*map(self._directory.merchant, numbers))
        for number, merchant in zip(numbers, found, strict=True):
            self._policies[number] = merchant.visibility if merchant else VisibilityPolicy()


class VisibleLogs:
    """The logs as one caller may see them, for one answer: implements `whole_logs.Logs`.

    Attributes:
        eyes: the caller's.
        withheld: the places of what was read and is withheld, each with the tags by which it was found and which may be told
            (`goodstrace.visibility.told_names`); what was found by others alone is not among them.
        is_cut: so much is withheld, or so much has one tag, or reading what may not be told took so long, that more may not have been
            looked at.
    """

    def __init__(
        self,
        logs: WholeLogs,
        eyes: Eyes,
        secret: bytes,
        most_withheld: int,
        most_untold_s: float = math.inf,
    ) -> None:
        """Look at `logs`; once over `most_withheld` records are withheld nothing more is found by tag.

        Nor is anything behind records of which nothing may be told once reads that gave no others took over `most_untold_s` in all.
        """
        self._logs, self._secret, self._most = logs, secret, most_withheld
        self._most_untold_s, self._untold_s = most_untold_s, 0.0
        self.eyes = eyes
        self.withheld: dict[Position, set[bytes]] = {}
        self.is_cut = False

    @property
    def told(self) -> int:
        """How many records were met of which it is told that they are withheld."""
        return sum(map(bool, self.withheld.values()))

    def forget(self) -> None:
        """Forget what is withheld: it was told, or will not be. `is_cut` stays, the limit counts anew."""
        self.withheld = {}

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        """Find records by tag: up to `limit` of which it may be told that they have it, whatever else has it."""
        if len(self.withheld) > self._most:
            self.is_cut = True
            return {each: [] for each in tags}
        found = await self._logs.find(tags, sizes, limit)
        if self.eyes.sees_all:
            return found
        distinct = {position(record): record for records in found.values() for record in records}
        hidden = await self.eyes.hidden(list(distinct.values()))
        if not hidden:
            return found
        told = await asyncio.to_thread(self._note, found, hidden)
        result = {}
        for each, records in found.items():
            left = _tellable(each, records, told)
            if len(records) >= limit and len(left) < len(records):
                left += await self._more(each, sizes, limit - len(left), position(records[-1]), told)
            self.is_cut = self.is_cut or (
                len(left) >= limit and any(position(record) in told for record in left)
            )
            result[each] = _stripped(left, told)
        return result

    async def _more(
        self,
        tag: bytes,
        sizes: Mapping[str, int],
        limit: int,
        after: Position,
        told: dict[Position, set[bytes]],
    ) -> list[SealedRecord]:
        """Find up to `limit` records of a tag that may be told, behind a place by log and index; adds to `told` those of them that are withheld.

        How many may not be told is not bounded, since a bound would tell that there are so many: only time ends it, and nothing is kept of them.
        """
        more: list[SealedRecord] = []
        for log in sorted(each for each in sizes if each >= after[0]):
            first = after[1] + 1 if log == after[0] else 0
            while len(more) < limit:
                if self._is_late():
                    return more
                begun_s = time.monotonic()
                records = await self._logs.find_from(log, [tag], first, sizes[log], READ)
                hidden = await self.eyes.hidden(records)
                told_here = await asyncio.to_thread(self._note, {tag: records}, hidden)
                tellable = _tellable(tag, records, told_here)
                told.update(
                    (place, told_here[place]) for place in map(position, tellable) if place in told_here
                )
                more += tellable
                if not tellable:
                    self._untold_s += time.monotonic() - begun_s
                if len(records) < READ:
                    break
                first = records[-1].index + 1
        return more[:limit]

    async def find_newest(
        self, tag: bytes, sizes: Mapping[str, int], limit: int, before: Position | None = None
    ) -> list[SealedRecord]:
        """Find records by one tag, newest first."""
        if self._is_late():
            return []
        begun_s = time.monotonic()
        found = await self._logs.find_newest(tag, sizes, limit, before)
        hidden = await self.eyes.hidden(found)
        if not hidden:
            return found
        told = await asyncio.to_thread(self._note, {tag: found}, hidden)
        if not _tellable(tag, found, told):
            self._untold_s += time.monotonic() - begun_s
        return [
            untold(each) if tag not in told.get(position(each), (tag,)) else each
            for each in _stripped(found, hidden)
        ]

    def _is_late(self) -> bool:
        """Tell whether no more time is left for what may not be told; then the answer is cut."""
        is_late = self._untold_s > self._most_untold_s
        self.is_cut = self.is_cut or is_late
        return is_late

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        """Give the records at these indexes."""
        found = await self._logs.records(log, indexes)
        hidden = await self.eyes.hidden(found)
        for place in hidden:
            self.withheld.setdefault(place, set())
        return _stripped(found, hidden)

    async def sealed_ms(self, log: str, index: int) -> int:
        """Tell when an entry was sealed: its block says it to everybody."""
        return await self._logs.sealed_ms(log, index)

    async def multiproof(self, log: str, indexes: Iterable[int], size: int) -> list[bytes]:
        """Make one proof of several entries: it shows nothing of any record."""
        return await self._logs.multiproof(log, indexes, size)

    async def inclusion_proofs(self, log: str, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        """Make inclusion proofs: they show nothing of any record."""
        return await self._logs.inclusion_proofs(log, indexes, size)

    async def part_keys(self, records: Sequence[SealedRecord]) -> dict[Position, PartKey]:
        """Give what opens encrypted parts that the caller may read."""
        return await self.eyes.part_keys(records)

    async def withheld_records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        """Give records of what is withheld, without parts."""
        return [bare(each) for each in await self._logs.records(log, indexes)]

    def go_on_from(self, before: "VisibleLogs") -> None:
        """Take over what of the logs was met as withheld before, by the same caller, for another page of the same answer."""
        self.withheld, self.is_cut = dict(before.withheld), before.is_cut

    def _note(
        self, found: Mapping[bytes, Sequence[SealedRecord]], hidden: Mapping[Position, Facts | None]
    ) -> dict[Position, set[bytes]]:
        """Note what is withheld by the tags that may be told, and give these by place; over the limit no more is noted."""
        told = {place: told_tags(self._secret, facts) for place, facts in hidden.items()}
        met = [
            (place, tag_found)
            for tag_found, records in found.items()
            for place in map(position, records)
            if tag_found in told.get(place, ())
        ]
        if met and len(self.withheld) > self._most:
            self.is_cut = True
            return told
        for place, tag_found in met:
            self.withheld.setdefault(place, set()).add(tag_found)
        return told


def told_tags(secret: bytes, facts: Facts | None) -> set[bytes]:
    """Give the tags by which it may be told that an event is sealed; none where its facts are not there any more."""
    if facts is None:
        return set()
    return {tag(secret, TAG_KINDS[kind], text) for kind, text in told_names(facts)}


def _tellable(
    tag: bytes, records: Iterable[SealedRecord], told: Mapping[Position, set[bytes]]
) -> list[SealedRecord]:
    """Leave out the records of which it may not be told that they have a tag; `told` holds all that are withheld."""
    return [each for each in records if tag in told.get(position(each), (tag,))]


def _stripped(records: Sequence[SealedRecord], hidden: Collection[Position]) -> list[SealedRecord]:
    return [bare(each) if position(each) in hidden else each for each in records]


def viewer_of(number: int, standing: Standing) -> Viewer:
    """Say who a merchant is to the events of others."""
    own = standing.claims[0]
    lent = (
        Lent(each.to, scope_claims(each.scope), each.until_ms)
        for each in standing.merchant.delegations
        if is_within(each.scope, own)
    )
    return Viewer(number, standing.claims, tuple(lent))


def may_see(
    viewer: Viewer, policies: Mapping[int, VisibilityPolicy], entry: Entry, facts: Facts | None
) -> bool:
    """Tell whether the content of a record may be seen: registrations by all, events by policy, what else there is by its merchant."""
    if entry.kind is Kind.REGISTRATION:
        return True
    if entry.kind is not Kind.EVENT:
        facts = None
    policy = policies.get(entry.merchant, VisibilityPolicy())
    return sees(viewer, policy, entry.merchant, facts, entry.time)


def bare(record: SealedRecord) -> SealedRecord:
    """Give a record without its parts: what is left is public."""
    return msgspec.structs.replace(record, parts=())


def judged(records: Iterable[SealedRecord]) -> list[Judged]:
    """Read what records are judged by: their entries, and of events that show them their facts. Raises: EntryError."""
    found = []
    for record in records:
        entry = entries.decode(record.entry)
        facts = content_of(record.parts, FACTS)
        is_event = entry.kind is Kind.EVENT and facts is not None
        found.append((entry, sealed_facts.decode(facts) if is_event and facts else None))
    return found
