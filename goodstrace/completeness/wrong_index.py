"""A proof that the log `index` is wrong: an entry that it covers has a tag, and its runs do not say so. Checked without any service.

It holds four things that the platform itself has signed or committed to: the entry, in its log under a signed checkpoint; the tag, in
the entry's own list of tags; the index leaf, in its log under a signed checkpoint, which covers the entry; and the rows that the
tag has in all runs of that leaf, the entry's not among them. It travels as one file of canonical JSON. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace.completeness import leaf as leaves
from goodstrace.completeness.leaf import INDEX_PART, IndexLeaf
from goodstrace.completeness.proof import RunPages, TagRows
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, EntryError, ProofError
from goodstrace.log_keys import INDEX_LOG, LogKeys
from goodstrace.merkle import inclusion_path, leaf_hash, leaf_hashes, root_of, verify_inclusion
from goodstrace.proof_file import ProofFile, VerifiedProof, parse, verify

KIND: Final = "goodstrace wrong index v1"
SUFFIX: Final = ".wrong-index"
MAX_FILE_BYTES: Final = 16 * 2**20


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pages of a run with their range proof; see goodstrace.completeness.proof.RunPages."""

    first_page: int
    hashes: tuple[bytes, ...]
    pages: bytes


class WrongIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file; nothing in it is to be believed until `verify_wrong_index` returned. Byte strings are base64.

    Attributes:
        entry: a C2SP tlog-proof of the entry, with the entry's bytes in its line `extra`.
        index: the same of the entry of the log `index`.
        leaf: the part `index` of that entry; `leaf_salt` its salt.
        pieces: the pages around the tag's rows in each run that has rows, in order.
        tag: 16 bytes; the `tag_number`-th of the entry's sorted tags, as `tag_path` proves: an RFC 6962 inclusion proof.
        kind: KIND.
    """

    entry: str
    index: str
    leaf: bytes
    leaf_salt: bytes
    pieces: tuple[Piece, ...]
    tag: bytes
    tag_number: int
    tag_path: tuple[bytes, ...]
    kind: str = KIND


@dataclass(frozen=True, slots=True)
class VerifiedWrongIndex:
    """What was shown: `entry` is in its log and has `tag`; the leaf at `index` covers it, and the runs of the leaf have no such row."""

    entry: VerifiedProof
    index: VerifiedProof
    leaf: IndexLeaf
    tag: bytes


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(WrongIndex)


def make(
    entry: ProofFile,
    index: ProofFile,
    leaf: tuple[bytes, bytes],
    tags: Sequence[bytes],
    left_out: tuple[bytes, Sequence[RunPages]],
) -> WrongIndex:
    """Put a proof together.

    Args:
        entry: with the entry's bytes.
        index: with the bytes of the entry of the log `index`.
        leaf: salt and content of that one's part.
        tags: all tags of the entry, sorted.
        left_out: the tag that the index leaves out, and the pages that show its rows.
    """
    tag, pieces = left_out
    number, hashes = list(tags).index(tag), leaf_hashes(tags)
    path = [root_of(hashes[slice(*subtree)]) for subtree in inclusion_path(number, len(tags))]
    return WrongIndex(
        entry=entry.encode(),
        index=index.encode(),
        leaf=leaf[1],
        leaf_salt=leaf[0],
        pieces=tuple(Piece(each.first_page, each.hashes, each.pages) for each in pieces),
        tag=tag,
        tag_number=number,
        tag_path=tuple(path),
    )


def encode(proof: WrongIndex) -> bytes:
    """Give the file's bytes: JSON with sorted keys, one line."""
    return _ENCODER.encode(proof) + b"\n"


def is_wrong_index(data: bytes) -> bool:
    """Tell a file of this kind from a tlog-proof."""
    return data[:1] == b"{"


def decode(data: bytes) -> WrongIndex:
    """Read a file without verifying anything in it. Raises: ProofError, whatever the bytes."""
    if len(data) > MAX_FILE_BYTES:
        raise ProofError(f"the file is over {MAX_FILE_BYTES} bytes")
    try:
        proof = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProofError(f"not a proof of a wrong index: {error}") from error
    if proof.kind != KIND or encode(proof) != data:
        raise ProofError("not a proof of a wrong index in its canonical form")
    return proof


def verify_wrong_index(proof: WrongIndex, keys: LogKeys) -> VerifiedWrongIndex:
    """Check that a proof shows what it is said to show, with nothing but the logs' keys.

    Raises: ProofError, EntryError, NoteError, CheckpointError, UnknownLogError; AnswerError where the index is not wrong.
    """
    entry, index = verify(parse(proof.entry), keys), verify(parse(proof.index), keys)
    _check_one_platform(entry, index)
    verify_inclusion(
        leaf_hash(proof.tag),
        proof.tag_number,
        entry.entry.tags.n,
        list(proof.tag_path),
        bytes.fromhex(entry.entry.tags.root),
    )
    entries.verify_part(index.entry, INDEX_PART, proof.leaf_salt, proof.leaf)
    leaf = leaves.decode(proof.leaf)
    if leaf.sizes().get(entry.log, 0) <= entry.index:
        raise AnswerError(f"{entry.log}[{entry.index}] is not covered by the index leaf")
    rows = TagRows(leaf, proof.tag)
    for each in proof.pieces:
        rows.add(RunPages(each.first_page, each.pages, each.hashes))
    if not rows.is_whole:
        raise ProofError("the proof of the tag's rows is not whole")
    if (entry.log, entry.index) in rows.positions():
        raise AnswerError(f"the index is right: it has {entry.log}[{entry.index}]")
    return VerifiedWrongIndex(entry, index, leaf, proof.tag)


def _check_one_platform(entry: VerifiedProof, index: VerifiedProof) -> None:
    if index.log != INDEX_LOG or index.entry.kind != Kind.INDEX:
        raise EntryError("the second proof is not one of the log `index`")
    platform = index.checkpoint.origin.removesuffix(f"/{INDEX_LOG}")
    if entry.checkpoint.origin != f"{platform}/{entry.log}":
        raise AnswerError("the two logs are not of one platform")
