"""Proving that an entry is tagged: a tag's place under the root that the entry commits to. Pure; values only.

Source: RFC 6962 section 2.1.1, over the sorted, distinct tags as leaves (docs/decisions/0001-sealed-formats.md).
"""

from collections.abc import Sequence

from goodstrace.entry import TAG_BYTES, Entry
from goodstrace.errors import AnswerError, EntryError, ProofError
from goodstrace.merkle import inclusion_path, leaf_hash, leaf_hashes, root_of, verify_inclusion


def tag_path(tags: Sequence[bytes], tag: bytes) -> tuple[int, list[bytes]]:
    """Prove that a tag is among an entry's.

    Args:
        tags: all of the entry's, sorted and distinct, 16 bytes each.
        tag: one of them.
    Returns: its index, and the hashes from its sibling up, 32 bytes each.
    Raises: EntryError where it is none of them.
    """
    try:
        index = tags.index(tag)
    except ValueError as error:
        raise EntryError("the record does not have this tag") from error
    hashes = leaf_hashes(tags)
    return index, [root_of(hashes[start:end]) for start, end in inclusion_path(index, len(tags))]


def verify_tag(entry: Entry, tag: bytes, index: int, path: Sequence[bytes]) -> None:
    """Check that an entry is tagged with a tag. Raises: AnswerError where that does not follow."""
    if len(tag) != TAG_BYTES:
        raise AnswerError(f"a tag of {TAG_BYTES} bytes is wanted, and it has {len(tag)}")
    try:
        verify_inclusion(leaf_hash(tag), index, entry.tags.n, path, bytes.fromhex(entry.tags.root))
    except ProofError as error:
        raise AnswerError(f"the tag given is none of those of the entry {entry.id}: {error}") from error
