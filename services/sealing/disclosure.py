"""Showing sealed records: each with its parts, salts and inclusion proof, as the services' answers hold them."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from goodstrace.entry import Position
from goodstrace.grouping import grouped
from goodstrace.log.v1 import log_pb2
from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.runtime.together import gathered
from services.sealing.reader import LogReader
from services.sealing.showing import PartKey, position
from services.sealing.values import SealedRecord, StoredCheckpoint

_NEWEST: Final[Mapping[str, int]] = {}


async def vector(
    reader: LogReader,
    kind: str,
    as_of: Mapping[str, int] = _NEWEST,
    page: Mapping[str, int] | None = None,
) -> dict[str, StoredCheckpoint]:
    """Find the checkpoints an answer is made from, by log.

    Args:
        reader: of the logs.
        kind: of the logs, "goods" or "browse": all of that kind.
        as_of: the sizes that the caller named, by log; of logs that are not in it, the newest. A log of another kind must not be in it, since
            its records must not be found by these look-ups.
        page: the sizes of the pages before, which are those of this one, too; None on the first page.
    Raises: NotFoundError where `as_of` is not of signed checkpoints, InvalidRequestError where `page` is not; UnavailableError.
    """
    if page is not None:
        found = await exactly(reader, kind, page)
        if found is None:
            raise InvalidRequestError("its checkpoints are not those of these logs", "page_token")
        return found
    named = await exactly(reader, kind, as_of)
    if named is None:
        raise NotFoundError(f"a size named is not that of a checkpoint of a {kind} log", "as_of")
    newest = await reader.newest(f"{kind}/")
    return dict(sorted((newest | named).items()))


async def exactly(
    reader: LogReader, kind: str, sizes: Mapping[str, int]
) -> dict[str, StoredCheckpoint] | None:
    """Find the checkpoints of exactly these sizes, by log; None where one of them was never signed, or is of a log of another kind."""
    if not all(log.startswith(f"{kind}/") for log in sizes):
        return None
    found = await asyncio.gather(*(reader.checkpoint(log, size) for log, size in sizes.items()))
    checkpoints = {stored.log: stored for stored in found if stored is not None}
    return checkpoints if len(checkpoints) == len(sizes) else None


class Proving(Protocol):
    """Where inclusion proofs are made; `LogReader` is the real one."""

    async def inclusion_proofs(self, log: str, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        """Make the inclusion proofs of entries in the log at `size`, in the order asked."""
        ...

    async def multiproof(self, log: str, indexes: Iterable[int], size: int) -> list[bytes]:
        """Make the proof that entries are in the log at `size`, each hash once."""
        ...

    async def part_keys(self, records: Sequence[SealedRecord]) -> Mapping[Position, PartKey]:
        """Give what opens encrypted parts that the caller may read, by the record's position."""
        ...


async def disclose_together(
    reader: Proving,
    records: Sequence[SealedRecord],
    sizes: Mapping[str, int],
    bare: Collection[Position] = (),
) -> tuple[dict[Position, log_pb2.SealedEntry], list[log_pb2.SharedProof]]:
    """Show records as `disclose` does, but with one proof for all those of a log, each hash in it once.

    Raises: UnavailableError, CorruptError.
    """
    indexes = grouped(map(position, records))
    hashes = await gathered([reader.multiproof(log, of_log, sizes[log]) for log, of_log in indexes.items()])
    keys = await reader.part_keys(records)
    return (
        {
            position(record): _message(
                record, (), keys.get(position(record)), with_parts=position(record) not in bare
            )
            for record in records
        },
        [log_pb2.SharedProof(log=log, hashes=found) for log, found in zip(indexes, hashes, strict=True)],
    )


async def disclose(
    reader: Proving,
    records: Sequence[SealedRecord],
    sizes: Mapping[str, int],
    bare: Collection[Position] = (),
) -> dict[Position, log_pb2.SealedEntry]:
    """Show records with their inclusion proofs in the trees of `sizes`, by position; `bare` ones without their parts.

    Raises: UnavailableError, CorruptError.
    """
    by_log = grouped((record.log, record) for record in records)
    proofs = await gathered(
        [
            reader.inclusion_proofs(log, [record.index for record in found], sizes[log])
            for log, found in by_log.items()
        ]
    )
    keys = await reader.part_keys(records)
    return {
        position(record): _message(
            record, proof, keys.get(position(record)), with_parts=position(record) not in bare
        )
        for found, of_log in zip(by_log.values(), proofs, strict=True)
        for record, proof in zip(found, of_log, strict=True)
    }


def _message(
    record: SealedRecord, proof: Sequence[bytes], opens: PartKey | None, *, with_parts: bool
) -> log_pb2.SealedEntry:
    parts = record.parts if with_parts else ()
    return log_pb2.SealedEntry(
        log=record.log,
        index=record.index,
        entry=record.entry,
        parts=[
            log_pb2.DisclosedPart(
                name=part.name,
                salt=part.salt,
                content=part.content,
                key=opens.key if opens is not None and opens.name == part.name else b"",
            )
            for part in parts
        ],
        inclusion_proof=proof,
    )
