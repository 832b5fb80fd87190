"""Verifying answers: from a protobuf message that nobody is trusted for to values that hold. Pure, no I/O.

What is shown: every entry is in its log under a signed checkpoint, every part is what its entry commits to, the facts are
those of the event, and the event is where the answer says. What is not shown until completeness proofs exist: that nothing
was left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from goodstrace import entry as entries
from goodstrace import facts as sealed_facts
from goodstrace import registration
from goodstrace.asked_user import with_name
from goodstrace.checkpoint import Checkpoint
from goodstrace.encrypted_parts import decrypt, is_encrypted
from goodstrace.entry import Entry
from goodstrace.errors import (
    AnswerError,
    EventContentError,
    NoteError,
    QuorumError,
    RollbackError,
    SignatureError,
    VerificationError,
)
from goodstrace.event_content import is_xml, read_event
from goodstrace.event_hash import EventHashError, event_hash
from goodstrace.facts import Facts
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import LogKeys
from goodstrace.merkle import leaf_hash, verify_consistency, verify_inclusion
from goodstrace.note import parse_note
from goodstrace.personal_part import PART as PERSONAL
from goodstrace.personal_part import decode as decode_personal
from goodstrace.personal_part import values
from goodstrace.policy import Policy
from goodstrace.signatures import PART, MerchantKeys


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint whose signature holds, with the full note it was read from."""

    log: str
    checkpoint: Checkpoint
    note: str


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """An entry that is in its log, with the disclosed parts, each of which is what the entry commits to.

    `withheld` names the parts that the entry commits to and that were not disclosed, or only encrypted; `salts` are those of the disclosed.
    `sealed` are the sealed bytes of those that came encrypted, whether or not with the key that opens them: `parts` are what people read.
    `inclusion_proof` is the one that was verified, under the checkpoint of the log in the same answer.
    """

    log: str
    index: int
    entry: Entry
    parts: Mapping[str, bytes]
    withheld: tuple[str, ...]
    salts: Mapping[str, bytes] = field(default_factory=dict)
    inclusion_proof: tuple[bytes, ...] = ()
    sealed: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def is_hidden(self) -> bool:
        """Whether something is not shown that answers show; personal data is for few, and is not counted."""
        return any(name != PERSONAL for name in self.withheld)

    def facts(self) -> Facts | None:
        """Give the facts of an event; None where they were withheld. Raises: EntryError."""
        return sealed_facts.decode(self.parts["facts"]) if "facts" in self.parts else None


@dataclass(frozen=True, slots=True)
class VerifiedEvent:
    """An event of an answer: sealed at `position` and at those of `also_at` that show facts, which have the same identity (`shown_at`).

    Of a place without facts it is proved that something is sealed there; that it is this event is the service's word alone.
    `content` is the event's exact bytes and `facts` what the stages found; both None where they were withheld. `signed_by` is the ID
    of the merchant's key, trusted by the client, that signed the event at one of `shown_at`, `signed_at`; None where there is none.
    `registration` is the merchant's registration by which the key is known, None where the client was given it by hand.
    """

    identity: str
    position: VerifiedEntry
    also_at: tuple[VerifiedEntry, ...]
    facts: Facts | None
    content: bytes | None
    signed_by: str | None = None
    signed_at: VerifiedEntry | None = None
    registration: VerifiedEntry | None = None

    @property
    def shown_at(self) -> tuple[VerifiedEntry, ...]:
        """Give `position`, and the places of `also_at` whose own facts show that they are of this event."""
        return shown_at(self.position, self.also_at)

    def document(self) -> dict[str, Any]:
        """Give the event in the JSON form of EPCIS 2.0; empty where it, or the namespaces that its XML needs, was withheld."""
        if self.content is None or (self.facts is None and is_xml(self.content)):
            return {}
        return read_event(self.content, self.facts.context if self.facts else None)

    def personal(self) -> dict[str, Any]:
        """Give the personal data that was taken out of the event, by its JSON pointer in the event as it was sent.

        Empty where there is none, or where it is not for us to read, or was erased. Raises: EntryError, EventContentError.
        """
        content = self.position.parts.get(PERSONAL)
        if content is None or self.content is None or self.facts is None:
            return {}
        return values(self.content, self.facts.context, decode_personal(content))


def shown_at(position: VerifiedEntry, also_at: Iterable[VerifiedEntry]) -> tuple[VerifiedEntry, ...]:
    """See VerifiedEvent.shown_at."""
    return (position, *(each for each in also_at if "facts" in each.parts))


def verify_checkpoints(
    messages: Iterable[log_pb2.Checkpoint], keys: LogKeys
) -> dict[str, VerifiedCheckpoint]:
    """Open the checkpoints of an answer with the trusted keys, at most one for each log.

    Raises: NoteError, CheckpointError, UnknownLogError, AnswerError.
    """
    opened: dict[str, VerifiedCheckpoint] = {}
    for message in messages:
        checkpoint = keys.open(message.log, message.note)
        if message.log in opened:
            raise AnswerError(f"the answer has two checkpoints of the log {message.log}")
        opened[message.log] = VerifiedCheckpoint(message.log, checkpoint, message.note)
    return opened


def verify_quorum(checkpoint: VerifiedCheckpoint, policy: Policy) -> None:
    """Check that witnesses have cosigned a checkpoint as a trust policy asks. Raises: QuorumError."""
    if policy.satisfied_by(checkpoint.note):
        return
    place = f"{checkpoint.log} at size {checkpoint.checkpoint.size}"
    try:
        cosigned = ", ".join(sorted(policy.cosigners(checkpoint.note))) or "no witness of the policy"
    except NoteError as error:
        raise QuorumError(f"{place}: {error}") from error
    raise QuorumError(
        f"{place}: not a checkpoint by the policy's quorum {policy.quorum!r}: cosigned by {cosigned}"
    )


def verify_entry(sealed: log_pb2.SealedEntry, checkpoints: Mapping[str, VerifiedCheckpoint]) -> VerifiedEntry:
    """Check an entry's inclusion under the checkpoint of its log, and its disclosed parts against it.

    Encrypted parts are decrypted by the keys that came with them. Raises: ProofError, EntryError, EncryptedPartError, AnswerError.
    """
    place = f"{sealed.log}[{sealed.index}]"
    under = checkpoints.get(sealed.log)
    if under is None:
        raise AnswerError(f"{place}: the answer has no checkpoint of its log")
    size, root = under.checkpoint.size, under.checkpoint.root
    try:
        entry = entries.decode(sealed.entry)
        verify_inclusion(leaf_hash(sealed.entry), sealed.index, size, list(sealed.inclusion_proof), root)
        for part in sealed.parts:
            entries.verify_part(entry, part.name, part.salt, part.content)
        opened = {part.name: open_part(entry.id, part) for part in sealed.parts}
    except VerificationError as error:
        raise type(error)(f"{place}: {error}") from error
    if len(opened) != len(sealed.parts):
        raise AnswerError(f"{place}: a part is shown twice")
    parts = {name: content for name, content in opened.items() if content is not None}
    withheld = tuple(part.name for part in entry.parts if part.name not in parts)
    salts = {part.name: part.salt for part in sealed.parts}
    return VerifiedEntry(
        sealed.log,
        sealed.index,
        entry,
        parts,
        withheld,
        salts,
        tuple(sealed.inclusion_proof),
        {part.name: part.content for part in sealed.parts if is_encrypted(part.content)},
    )


def open_part(record_id: str, part: log_pb2.DisclosedPart) -> bytes | None:
    """Give what a part says; None where it came encrypted and without its key. A user whom a look asks for is named where that key came.

    Args:
        record_id: of its record, hex.
        part: of which it was checked that the entry commits to it.
    Raises: EncryptedPartError.
    """
    if part.key:
        of = bytes.fromhex(record_id)
        content = decrypt(part.key, of, part.name, part.content)
        return with_name(content, part.asked_key, of) if part.asked_key else content
    return None if is_encrypted(part.content) else part.content


class ProvedEvent(Protocol):
    """An event as answers show it: TraceEvent, RecallEvent."""

    @property
    def identity(self) -> str:
        """Its identity, as the server says."""
        ...

    @property
    def sealed(self) -> log_pb2.SealedEntry:
        """Its record."""
        ...

    @property
    def also_at(self) -> Iterable[log_pb2.SealedEntry]:
        """The other records of this identity."""
        ...


def verify_event(
    message: ProvedEvent,
    checkpoints: Mapping[str, VerifiedCheckpoint],
    keys: MerchantKeys | None = None,
) -> VerifiedEvent:
    """Check an event (or a registration) of an answer at all its positions, and that its identity is what the sealed facts of each say.

    A position without facts is only checked to be sealed: whoever uses `also_at` takes such a one for no proof (VerifiedEvent.shown_at).
    Where the merchant's key is among `keys`, its signature is checked too.
    Raises: ProofError, EntryError, AnswerError, SignatureError.
    """
    position = verify_entry(message.sealed, checkpoints)
    also_at = tuple(verify_entry(each, checkpoints) for each in message.also_at)
    for each in (position, *also_at):
        place = f"{each.log}[{each.index}]"
        if each.entry.kind not in (entries.Kind.EVENT, entries.Kind.REGISTRATION):
            raise AnswerError(f"{place}: a {each.entry.kind} stands where an event should")
        facts = each.facts()
        if facts is None:
            continue
        if (facts.type == registration.TYPE) != (each.entry.kind is entries.Kind.REGISTRATION):
            raise AnswerError(f"{place}: the sealed facts are not those of a {each.entry.kind}")
        if sealed_facts.identity(each.entry.merchant, facts) != message.identity:
            raise AnswerError(f"{place}: the sealed facts are not those of the event {message.identity}")
        if "event" in each.parts and event_hash_of(each.parts["event"], facts) != facts.event_hash:
            raise AnswerError(f"{place}: the event hash in the sealed facts is not that of the sealed event")
        if registration.PART in each.parts and (
            registration.content_hash(each.parts[registration.PART]) != facts.event_hash
        ):
            raise AnswerError(f"{place}: the hash in the sealed facts is not that of the sealed registration")
    signers = [
        (_signed_by(each, keys) if keys is not None else None, each) for each in shown_at(position, also_at)
    ]
    signed_by, signed_at = next((found for found in signers if found[0] is not None), (None, None))
    facts, content = position.facts(), position.parts.get("event")
    return VerifiedEvent(message.identity, position, also_at, facts, content, signed_by, signed_at)


def _signed_by(entry: VerifiedEntry, keys: MerchantKeys) -> str | None:
    if PART not in entry.parts or "event" not in entry.parts:
        return None
    try:
        return keys.verify(entry.entry.merchant, entry.parts[PART], entry.parts["event"])
    except SignatureError as error:
        raise SignatureError(f"{entry.log}[{entry.index}]: {error}") from error


def event_hash_of(content: bytes, facts: Facts) -> str:
    """Compute the CBV 2.0 event hash of an event's exact bytes, in the context that its facts state.

    Raises: AnswerError where the bytes are neither JSON nor XML of an event that can be hashed.
    """
    try:
        event = read_event(content, facts.context)
    except EventContentError as error:
        raise AnswerError(f"a sealed event cannot be read: {error}") from error
    try:
        return event_hash(event, facts.context, ignore=facts.hash_ignores)
    except EventHashError as error:
        raise AnswerError(f"a sealed event cannot be hashed: {error}") from error


def remembered_checkpoint(log: str, note: str) -> VerifiedCheckpoint:
    """Take up a checkpoint that was verified when it was remembered.

    Its signature is not verified again: since then another key may be trusted in the place of the one that signed it.
    Raises: NoteError, CheckpointError where it is no checkpoint.
    """
    return VerifiedCheckpoint(log, Checkpoint.parse(parse_note(note).text), note)


def verify_growth(older: VerifiedCheckpoint, newer: VerifiedCheckpoint, proof: Iterable[bytes]) -> None:
    """Check that of two checkpoints of a log the newer contains the older.

    Raises: RollbackError where it does not: the two signed notes together are evidence against the log.
    """
    old, new = older.checkpoint, newer.checkpoint
    try:
        verify_consistency(old.size, old.root, new.size, new.root, list(proof))
    except VerificationError as error:
        raise RollbackError(
            f"the log {newer.log} of size {new.size} does not contain what it was at size {old.size}: {error}"
        ) from error
