"""What `fsck --repair` writes: derived documents as the sealed ones give them. Nothing that is sealed is ever written."""

from collections.abc import Iterator, Sequence

import msgspec

from services.sealing import documents
from services.sealing.documents import Document
from services.sealing.fsck.faults import Standing, Verdict
from services.sealing.fsck.rows import TileName, tile_document
from services.sealing.fsck.scan import LogDocuments
from services.sealing.indexes import CHECKPOINTS, HEADS, PACKS, TILES
from services.sealing.values import Head, Pack, StoredCheckpoint


class Mend(msgspec.Struct, frozen=True):
    """A document to put in the place of what is there; without a document, what is there is removed."""

    collection: str
    id: str
    document: Document | None


def tile(log: str, name: TileName, data: bytes) -> Mend:
    """Write a tile."""
    document = tile_document(log, name, data)
    return Mend(TILES, document["_id"], document)


def stray_tile(key: str) -> Mend:
    """Remove a tile that has no place in the tree."""
    return Mend(TILES, key, None)


def pack(right: Pack) -> Mend:
    """Write a pack whose records are those sealed, with its own index tags and place."""
    return Mend(PACKS, right.id, documents.pack_document(right))


def checkpoint(right: StoredCheckpoint) -> Mend:
    """Write what a checkpoint's document repeats of its note, which stays."""
    document = documents.checkpoint_document(right)
    return Mend(CHECKPOINTS, document["_id"], document)


def head(right: Head) -> Mend:
    """Write a log's head from its newest checkpoint."""
    return Mend(HEADS, right.checkpoint.log, documents.head_document(right))


async def write(store: LogDocuments, mends: Sequence[Mend]) -> None:
    """Write what is to be made again. Raises: UnavailableError; what was written stays, and all of it may be repeated."""
    for mend in mends:
        await store.put(mend.collection, mend.id, mend.document)


def refusals(verdicts: Sequence[Verdict]) -> Iterator[tuple[Verdict, str]]:
    """Say which logs must not be repaired, and why: what is derived would be derived from what is not what was sealed."""
    for verdict in verdicts:
        wrong = {**verdict.of(Standing.SEALED), **verdict.of(Standing.TRUST)}
        if wrong:
            kinds = ", ".join(f"{count} x {field}" for field, count in sorted(wrong.items()))
            yield verdict, f"what is sealed, or trusted, is at fault: {kinds}"


def plan(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Say what would be made again."""
    for verdict in verdicts:
        for field, count in sorted(verdict.of(Standing.DERIVED).items()):
            yield f"{verdict.log}: {count} x {field}"
