"""Proof bundles: many entries with their proofs and parts in one file that is checked with nothing but trusted keys. Pure, no I/O.

A bundle is one JSON object with sorted keys: `format`, `key` (what was asked for), `checkpoints` (signed notes by log) and `entries`, each
with its exact bytes, index, inclusion proof under its log's checkpoint, and the parts that are shown. What holds of each entry is what
holds of a proof file (`goodstrace.proof_file`) and its parts. docs/web.md describes it; tests/vectors/proof_bundles.json has examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace import proof_file
from goodstrace.errors import ProofError, VerificationError
from goodstrace.log_keys import LogKeys
from goodstrace.policy import Policy
from goodstrace.proof_file import MAX_HASHES, MAX_PARTS_BYTES, DisclosedPart, ProofFile, VerifiedProof

FORMAT: Final = "goodstrace/proof-bundle@v1"
SUFFIX: Final = ".goodstrace-proof"
MAX_BUNDLE_BYTES: Final = MAX_PARTS_BYTES
MAX_ENTRIES: Final = 2000
_BEGINNING: Final = b'{"checkpoints":'


class BundledCheckpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The checkpoint of a log: the full text of its signed note."""

    log: str
    note: str


class BundledEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry's exact bytes, where it is, its inclusion proof (at most 63 hashes of 32 bytes), and the parts shown."""

    entry: bytes
    index: int
    log: str
    parts: tuple[DisclosedPart, ...]
    proof: tuple[bytes, ...]


class ProofBundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle as it was parsed: nothing in it is to be believed until `verify` returned."""

    checkpoints: tuple[BundledCheckpoint, ...]
    entries: tuple[BundledEntry, ...]
    format: str
    key: str

    def encode(self) -> bytes:
        """Give the file's bytes."""
        return _ENCODER.encode(self)


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """An entry that is in its log, and its parts, each of which is what the entry commits to; others are withheld or erased."""

    proof: VerifiedProof
    parts: Mapping[str, bytes]


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(ProofBundle)


def is_bundle(data: bytes) -> bool:
    """Say whether a file is meant to be a bundle: by how it begins."""
    return data.startswith(_BEGINNING)


def parse(data: bytes) -> ProofBundle:
    """Read a bundle without verifying anything in it. Raises: ProofError where it is over its limits or not in its one form."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise ProofError(f"the bundle is over {MAX_BUNDLE_BYTES} bytes")
    try:
        bundle = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProofError(f"not a proof bundle: {error}") from error
    if bundle.format != FORMAT:
        raise ProofError(f"not a proof bundle of a format that is known: its format is not {FORMAT}")
    if len(bundle.entries) > MAX_ENTRIES or any(len(each.proof) > MAX_HASHES for each in bundle.entries):
        raise ProofError(f"a bundle has at most {MAX_ENTRIES} entries, with at most {MAX_HASHES} hashes each")
    if len({each.log for each in bundle.checkpoints}) != len(bundle.checkpoints):
        raise ProofError("the bundle has two checkpoints of a log")
    if len({(each.log, each.index) for each in bundle.entries}) != len(bundle.entries):
        raise ProofError("the bundle has an entry twice")
    if bundle.encode() != data:
        raise ProofError("the bundle is not in its canonical form")
    return bundle


def verify(bundle: ProofBundle, keys: LogKeys | None, policy: Policy | None = None) -> list[VerifiedEntry]:
    """Verify every entry and part of a bundle, in its order.

    Args:
        bundle: the parsed file.
        keys: log keys that are trusted; may be None where the policy names the logs.
        policy: whose quorum of witnesses must have cosigned every checkpoint that an entry needs.
    Raises: as `proof_file.verify`, the place (`log[index]`) before what is wrong. A bundle without entries verifies nothing: ProofError.
    """
    if not bundle.entries:
        raise ProofError("the bundle holds no entry")
    notes = {each.log: each.note for each in bundle.checkpoints}
    return [_verified(each, notes, keys, policy) for each in bundle.entries]


def _verified(
    entry: BundledEntry, notes: Mapping[str, str], keys: LogKeys | None, policy: Policy | None
) -> VerifiedEntry:
    place = f"{entry.log}[{entry.index}]"
    note = notes.get(entry.log)
    if note is None:
        raise ProofError(f"{place}: the bundle has no checkpoint of its log")
    try:
        proof = proof_file.verify(ProofFile(entry.index, entry.proof, note, entry.entry), keys, policy)
        if proof.log != entry.log:
            raise ProofError(f"the checkpoint is that of {proof.log}")
        for part in entry.parts:
            entries.verify_part(proof.entry, part.name, part.salt, part.content)
    except VerificationError as error:
        raise type(error)(f"{place}: {error}") from error
    parts = {part.name: part.content for part in entry.parts}
    if len(parts) != len(entry.parts):
        raise ProofError(f"{place}: a part is shown twice")
    return VerifiedEntry(proof, parts)
