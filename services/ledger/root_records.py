"""The records of a round: which logs grew, and what the root log's entries say of each. No I/O, no clock, no randomness."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from goodstrace import block as blocks
from goodstrace import key_changes
from goodstrace.block import BlockHeader
from goodstrace.checkpoint import Checkpoint
from goodstrace.entry import Kind, TagKind
from goodstrace.errors import BlockError, EntryError, VerificationError
from goodstrace.facts import PIPELINE_VERSION
from goodstrace.key_changes import KeyChange
from goodstrace.note import parse_note
from goodstrace.root import CHECKPOINT_PART, TAG_KEY, PinnedHead, decode, encode, tag_text
from services.runtime import envelope
from services.runtime.envelope import Part, Record
from services.runtime.errors import EnvelopeError
from services.sealing.entries import with_entry
from services.sealing.errors import CorruptError
from services.sealing.pins import PinnedBlock
from services.sealing.values import Head, StoredCheckpoint


def grown(heads: Mapping[str, Head], pinned: Mapping[str, int]) -> list[Head]:
    """List the heads of the logs that are longer than what was pinned of them (nothing, where none was), by name."""
    return [head for log, head in sorted(heads.items()) if head.checkpoint.size > pinned.get(log, 0)]


def without(heads: Collection[Head], logs: Collection[str]) -> list[Head]:
    """Leave out the heads of these logs."""
    return [head for head in heads if head.checkpoint.log not in logs]


def checked_header(head: Head, header: bytes) -> BlockHeader:
    """Decode the header of a head's block. Raises: CorruptError where it is not that of the checkpoint."""
    stored = head.checkpoint
    try:
        decoded = blocks.decode(header)
    except BlockError as error:
        raise CorruptError(f"{stored.log}: block {head.height}: {error}") from error
    said = (decoded.log, decoded.height, decoded.size, decoded.root)
    if said != (stored.log, head.height, stored.size, stored.root.hex()):
        raise CorruptError(
            f"{stored.log}: block {head.height} does not end with the checkpoint {stored.size}"
        )
    return decoded


def pinned(values: Iterable[bytes]) -> Iterator[PinnedBlock]:
    """Give what records of the topic pin; those that pin nothing are left out: the sealer stops at them."""
    for value in values:
        try:
            said = decode(envelope.decode(value).part(CHECKPOINT_PART).content)
            signed = Checkpoint.parse(parse_note(said.note).text)
        except (EnvelopeError, VerificationError):
            continue
        stored = StoredCheckpoint(said.log, signed.size, signed.root, said.note)
        yield PinnedBlock(Head(said.height, stored), said.block)


def unsealed(changes: Sequence[KeyChange], pinned_size: int) -> bytes:
    """Give the content of the part that seals the changes of a log's key; empty where the root log has them all.

    Args:
        changes: of the log, oldest first.
        pinned_size: of what was pinned of the log last; -1 where that is not known, and then they are sealed again.
    """
    if not changes or changes[-1].size < pinned_size:
        return b""
    return b"\n".join(map(key_changes.statement, changes))


def checkpoint_record(
    head: Head, header: bytes, *, record_id: bytes, salt: bytes, time_ms: int, beside: Sequence[Part] = ()
) -> Record:
    """Build the record that pins a log's head, with its entry.

    Args:
        head: how far the log is published.
        header: the exact bytes of the header of block `head.height`.
        record_id: 16 random bytes.
        salt: 32 random bytes; what they hide is public, but every part has its own.
        time_ms: Unix milliseconds.
        beside: further parts, each with a salt of its own.
    Raises: CorruptError where the checkpoint is out of the limits of what can be pinned.
    """
    stored = head.checkpoint
    try:
        content = encode(PinnedHead(blocks.header_hash(header), head.height, stored.log, stored.note))
    except EntryError as error:
        raise CorruptError(f"{stored.log}: {error}") from error
    record = Record(
        id=record_id,
        kind=Kind.CHECKPOINT,
        time_ms=time_ms,
        pipeline_version=PIPELINE_VERSION,
        parts=(Part(CHECKPOINT_PART, salt, content), *beside),
    )
    return with_entry(record, TAG_KEY, {TagKind.CHECKPOINT: (tag_text(stored.log, stored.size),)})
