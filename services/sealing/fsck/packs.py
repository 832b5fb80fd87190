"""Checking the packs of a block: whether all its records are there, are those sealed, and are found by their tags. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from services.sealing.fsck import records
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.row_sums import RowSums
from services.sealing.fsck.rows import Malformed
from services.sealing.values import Pack, StoredBlock


class Place(NamedTuple):
    """Where a block stands: its height, the index of its first entry, and its time, None where its header is malformed."""

    height: int
    first: int
    time: int | None


class PackCheck:
    """Checks packs into a verdict.

    `mends` are packs as their documents should be; `displaced` such as no block here names, holding what is not sealed here,
    that another block may name. Whoever feeds takes them away.
    """

    def __init__(self, verdict: Verdict, sums: RowSums) -> None:
        """Begin with nothing to mend; `sums` is told of what the index by tag must hold."""
        self._verdict = verdict
        self._sums = sums
        self.mends: list[Pack] = []
        self.displaced: list[Pack] = []

    def block(
        self, block: StoredBlock, place: Place, hashes: Sequence[bytes], packs: Sequence[Pack | Malformed]
    ) -> None:
        """Check a block's packs.

        Args:
            block: the block.
            place: where it stands in the log.
            hashes: its leaf hashes.
            packs: all that begin in its range or that it names, by first index.
        """
        height, first = place.height, place.first
        named = {pack.id: pack for pack in packs if pack.id in block.packs}
        index, end = first, first + len(hashes)
        whole, right = True, list[Pack]()
        for pack_id in block.packs:
            pack = named.get(pack_id)
            if not isinstance(pack, Pack):
                problem = pack.problem if pack else f"pack {pack_id} is missing"
                self._verdict.found("pack", problem, block=height, index=index)
                whole = False
                continue
            if not whole and first <= pack.first < end:
                index = pack.first  # behind one that is lost only the pack itself says where it begins
            right.append(self._pack(pack, place, index, hashes[index - first :]))
            index += len(pack.records)
        if whole and index != end:
            problem = f"packs hold {index - first} entries, not {len(hashes)}"
            self._verdict.found("pack", problem, block=height, index=index)
        self._sums.block(height, right if whole and index == end else None)
        for pack in packs:
            if pack.id not in named:
                self._orphan(pack, height, first, hashes)

    def _pack(self, pack: Pack, place: Place, index: int, hashes: Sequence[bytes]) -> Pack:
        """Check a pack; gives it as it should be."""
        height = place.height
        clean = True
        for number, field, problem in records.problems(pack.records, hashes):
            clean = False
            self._verdict.found(field, problem, block=height, index=index + number)
        right = msgspec.structs.replace(
            pack,
            log=self._verdict.log,
            height=height,
            first=index,
            time=pack.time if place.time is None else place.time,
        )
        if right == pack:
            return pack
        problem = f"pack {pack.id} says it is of {pack.log}, block {pack.height}, index {pack.first}, time {pack.time}"
        self._verdict.found("pack.row", problem, block=height, index=index)
        if clean:
            self.mends.append(right)
        return right

    def _orphan(self, pack: Pack | Malformed, height: int, first: int, hashes: Sequence[bytes]) -> None:
        """Check a pack that the block does not name: harmless where it holds nothing but what is sealed there."""
        if isinstance(pack, Malformed):
            self._verdict.found("stray", f"a pack that no block names: {pack.problem}", block=height)
            return
        if pack.first < first:
            return  # of a block that is lost
        sealed = hashes[pack.first - first :]
        harmless = len(sealed) >= len(pack.records) and not any(records.problems(pack.records, sealed))
        if harmless:
            self._verdict.orphans += 1
        elif pack.id.startswith(f"{self._verdict.log}#{height}."):
            problem = f"pack {pack.id}, which no block names, holds other records than are sealed there"
            self._verdict.found("stray", problem, block=height, index=pack.first)
        else:
            self.displaced.append(pack)
