"""Checking a log's head: how far its writer says it is signed, and how far it is published. Pure."""

from collections.abc import Iterator

import msgspec

from goodstrace.policy import Policy
from services.sealing.fsck.rows import CheckpointRow, Malformed
from services.sealing.values import Head, StoredCheckpoint


def problems(
    head: Head | Malformed | None,
    height: int,
    newest: StoredCheckpoint | None,
    shown: CheckpointRow | Malformed | None,
    policy: Policy | None,
) -> Iterator[tuple[str, str]]:
    """Say what is wrong with a head, as (field, problem).

    Args:
        head: as stored; None where there is none.
        height: of the last block that is published, -1 where no block is.
        newest: that block's checkpoint.
        shown: the checkpoint as stored of the size that the head says is published.
        policy: what a published checkpoint must satisfy, or None.
    """
    if isinstance(head, Malformed):
        yield "head", head.problem
        return
    if head is None:
        if height >= 0:
            yield "head", f"is missing, and blocks up to {height} are there"
        return
    if head.height != height:
        yield "head", f"names block {head.height}, the last one published is {height}"
    if newest is not None and not _grew_to(head.checkpoint, newest):
        yield "head", f"is not the checkpoint of the last block, {height}"
    published = head.published
    if published is None:
        return
    if published.size > head.checkpoint.size:
        yield "published", f"size {published.size} is beyond the head's, {head.checkpoint.size}"
    elif not isinstance(shown, CheckpointRow) or not _grew_to(published, shown.stored):
        yield "published", f"size {published.size} is not the checkpoint of that size"
    elif policy is not None and not policy.satisfied_by(published.note):
        yield "published", f"size {published.size} is published without the policy's quorum"


def right_head(
    head: Head | Malformed | None,
    height: int,
    newest: StoredCheckpoint,
    satisfying: StoredCheckpoint | None,
    *,
    keep: bool,
) -> Head:
    """Give the head as it should be; with `keep` what it says is published was found right and stays."""
    if keep and isinstance(head, Head):
        return Head(height, newest, head.published)
    return Head(height, newest, satisfying)


def _grew_to(before: StoredCheckpoint, after: StoredCheckpoint) -> bool:
    """Tell whether two are the same checkpoint, of which the second may have got cosignatures since."""
    return before == msgspec.structs.replace(after, note=before.note) and after.note.startswith(before.note)
