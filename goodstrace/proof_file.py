"""Proofs that travel: the inclusion of an entry under a checkpoint with its cosignatures, as one text file.

The file is a C2SP tlog-proof. The entry's bytes, which are the leaf, stand in its `extra` line: nothing authenticates that
line, but another leaf would not verify. Pure, no I/O. Source: c2sp.org/tlog-proof; RFC 6962 section 2.1.1.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace.checkpoint import Checkpoint, open_checkpoint
from goodstrace.entry import Entry
from goodstrace.errors import EntryError, NoteError, ProofError, QuorumError, UnknownLogError
from goodstrace.log_keys import LogKeys, log_of
from goodstrace.merkle import HASH_SIZE, MAX_SIZE, leaf_hash, verify_inclusion
from goodstrace.note import MAX_NOTE_BYTES, parse_note
from goodstrace.policy import Policy

HEADER: Final = "c2sp.org/tlog-proof@v1"
SUFFIX: Final = ".tlog-proof"
MAX_EXTRA_BYTES: Final = 64 * 1024
MAX_HASHES: Final = 63
"""No path in a tree of 2**63-1 leaves is longer."""
MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES
MAX_PARTS_BYTES: Final = 64 * 1024 * 1024

_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A tlog-proof as it was parsed: nothing in it is to be believed until `verify` returned.

    Attributes:
        index: of the entry in the log, 0..MAX_SIZE-1.
        hashes: the inclusion proof, at most MAX_HASHES of 32 bytes, from the leaf's sibling up.
        checkpoint: the signed note, with cosignatures.
        extra: opaque, at most MAX_EXTRA_BYTES; here the entry's exact bytes; None where there is no such line.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def encode(self) -> str:
        """Return the file's text. Raises: ProofError where `parse` would not give the same back."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += map(_base64, self.hashes)
        text = "\n".join([*lines, "", self.checkpoint])
        if parse(text) != self:
            raise ProofError("a tlog-proof cannot say this")
        return text


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """What a proof shows: the entry is in the log at `index`, under a checkpoint that these witnesses have seen.

    Attributes:
        log: the log's name; its origin is `checkpoint.origin`.
        entry: the entry itself; `entry_bytes` are its exact bytes.
        cosigned: when each witness of the policy cosigned, Unix seconds by the policy's name: times that they claim.
        by_retired_key: whether the log's key that signed the checkpoint is retired. Whoever has it can sign an invented log of that size or less,
            and nothing in the file tells the two apart: it is for the witnesses of a policy, or for who saw the log then, to say that this was it.
        unknown_signatures: how many signature lines are by keys that are not known here; they say nothing.
    """

    log: str
    index: int
    entry: Entry
    entry_bytes: bytes
    checkpoint: Checkpoint
    cosigned: Mapping[str, int]
    unknown_signatures: int
    by_retired_key: bool = False


class DisclosedPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part that is handed on beside a proof: the exact bytes, and the salt of its commitment, 32 bytes."""

    content: bytes
    name: str
    salt: bytes


_PARTS_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_PARTS_DECODER: Final = msgspec.json.Decoder(list[DisclosedPart])


def parse(text: str | bytes) -> ProofFile:
    """Read a proof file without verifying anything in it.

    Raises: ProofError, if it is over MAX_PROOF_BYTES or not exactly in the specified form; NoteError, if its checkpoint is
        no signed note; nothing else, whatever the bytes.
    """
    head, checkpoint = _split(_decoded(text))
    lines = head.split("\n")
    if lines.pop(0) != HEADER:
        raise ProofError(f"not a tlog-proof: the first line is not {HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _from_base64(lines.pop(0).removeprefix("extra "))
        if len(extra) > MAX_EXTRA_BYTES:
            raise ProofError(f"the extra data is over {MAX_EXTRA_BYTES} bytes")
    number = lines.pop(0) if lines else ""
    if not number.startswith("index ") or not _NUMBER.match(number.removeprefix("index ")):
        raise ProofError("the line `index` with a decimal number is missing")
    index = int(number.removeprefix("index "))
    hashes = tuple(_from_base64(line) for line in lines)
    if index >= MAX_SIZE or len(hashes) > MAX_HASHES or any(len(each) != HASH_SIZE for each in hashes):
        raise ProofError("the index, the number of hashes or the size of one is out of its limits")
    parse_note(checkpoint)
    return ProofFile(index, hashes, checkpoint, extra)


def verify(
    proof: ProofFile, keys: LogKeys | None, policy: Policy | None = None, entry_bytes: bytes | None = None
) -> VerifiedProof:
    """Verify a proof with nothing but trusted keys.

    Args:
        proof: the parsed file.
        keys: log keys that are trusted; may be None where the policy names the log.
        policy: whose quorum of witnesses must have cosigned; its log lines are trusted as keys are.
        entry_bytes: the entry proved, where the file does not hold it.
    Raises: ProofError, where the inclusion does not hold or there is no entry; EntryError; NoteError; CheckpointError;
        QuorumError; UnknownLogError, where neither keys nor policy know the log.
    """
    leaf = entry_bytes if entry_bytes is not None else proof.extra
    if leaf is None:
        raise ProofError("the proof file does not hold the entry: give the entry's bytes beside it")
    checkpoint = _opened(proof.checkpoint, keys, policy)
    verify_inclusion(leaf_hash(leaf), proof.index, checkpoint.size, list(proof.hashes), checkpoint.root)
    cosigned = _cosigned(proof.checkpoint, policy) if policy else {}
    if policy and not policy.is_satisfied(cosigned):
        names = ", ".join(sorted(cosigned)) or "none"
        raise QuorumError(f"the checkpoint lacks the policy's quorum {policy.quorum!r}: cosigned by {names}")
    return VerifiedProof(
        log=_log_name(checkpoint.origin),
        index=proof.index,
        entry=entries.decode(leaf),
        entry_bytes=leaf,
        checkpoint=checkpoint,
        cosigned=cosigned,
        unknown_signatures=len(parse_note(proof.checkpoint).signatures) - 1 - len(cosigned),
        by_retired_key=_is_retired(checkpoint, keys),
    )


def encode_parts(parts: Mapping[str, tuple[bytes, bytes]]) -> bytes:
    """Encode disclosed parts, (salt, content) by name, as the file that is handed on beside a proof: a JSON list."""
    return _PARTS_ENCODER.encode(
        [DisclosedPart(content, name, salt) for name, (salt, content) in sorted(parts.items())]
    )


def verify_parts(verified: VerifiedProof, data: bytes) -> dict[str, bytes]:
    """Check disclosed parts against the entry that was proved; give the contents by name.

    Raises: EntryError, also where the file is malformed or over MAX_PARTS_BYTES.
    """
    if len(data) > MAX_PARTS_BYTES:
        raise EntryError(f"the file of parts is over {MAX_PARTS_BYTES} bytes")
    try:
        parts = _PARTS_DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise EntryError(f"not a file of parts: {error}") from error
    for part in parts:
        entries.verify_part(verified.entry, part.name, part.salt, part.content)
    found = {part.name: part.content for part in parts}
    if len(found) != len(parts) or _PARTS_ENCODER.encode(parts) != data:
        raise EntryError("the file of parts is not in its canonical form")
    return found


def _opened(note: str, keys: LogKeys | None, policy: Policy | None) -> Checkpoint:
    """Open the checkpoint with each trusted source that knows its log, at least one."""
    stated = Checkpoint.parse(parse_note(note).text)
    log = _log_name(stated.origin)
    known = False
    if keys is not None and log in keys.logs():
        keys.open(log, note)
        known = True
    named = [each.verifier for each in policy.logs if each.verifier.name == stated.origin] if policy else []
    if named:
        open_checkpoint(note, named)
        known = True
    if not known:
        raise UnknownLogError(f"no trusted key for the log {stated.origin!r}")
    return stated


def _is_retired(checkpoint: Checkpoint, keys: LogKeys | None) -> bool:
    log = _log_name(checkpoint.origin)
    return keys is not None and log in keys.logs() and keys.is_retired(log, checkpoint.size)


def _cosigned(note: str, policy: Policy) -> dict[str, int]:
    parsed = parse_note(note)
    found = {}
    for witness in policy.witnesses:
        for signature in parsed.signatures:
            if (signature.name, signature.key_id) == (witness.verifier.name, witness.verifier.key_id):
                found[witness.name] = witness.verifier.verify(signature, parsed.text)
    return found


def _log_name(origin: str) -> str:
    """Give the log's name within its origin; for logs of others the origin itself."""
    try:
        return log_of(origin)
    except NoteError:
        return origin


def _split(text: str) -> tuple[str, str]:
    head, empty, checkpoint = text.partition("\n\n")
    if not empty:
        raise ProofError("not a tlog-proof: there is no empty line before a checkpoint")
    return head, checkpoint


def _decoded(text: str | bytes) -> str:
    try:
        encoded = text if isinstance(text, bytes) else text.encode()
        if len(encoded) > MAX_PROOF_BYTES:
            raise ProofError(f"the file is over {MAX_PROOF_BYTES} bytes")
        return encoded.decode()
    except UnicodeError as error:
        raise ProofError("the file is not UTF-8") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProofError("the base64 is malformed") from error
    if _base64(data) != text:
        raise ProofError("the base64 is not in canonical form")
    return data
