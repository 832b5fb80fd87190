"""Changes of a log's key: statements, signed by the old and the new key, that blocks from a height on are signed by the new.

A statement is RFC 8785 JSON of strings and integers only, as entries and block headers are. Each change begins with the
key that the one before ended with, so whoever trusts any one key of a log can follow it to all the others. Pure, no I/O.
`tests/vectors/key_changes.json` holds published examples.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

import msgspec

from goodstrace.block import GENESIS_HASH, MAX_INTEGER, header_hash
from goodstrace.block import decode as decode_header
from goodstrace.checkpoint import Checkpoint
from goodstrace.errors import BlockError, KeyChangeError, NoteError
from goodstrace.note import SigningKey, Verifier

# The first byte sets it apart from the domains of block headers (3, 4) and from notes, which have no control characters.
SIGNATURE_DOMAIN: Final = b"\x05goodstrace key change v1\x00"
MAX_CHANGES: Final = 256
MAX_STATEMENT_BYTES: Final = 8192
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}\Z")
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


class KeyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change of key.

    Attributes:
        height: of the first block that the new key signs; all checkpoints over `size` are the new key's too.
        log, origin: the log's name and its keys' name.
        new, old: the public keys as vkeys, both named after the origin.
        new_signature, old_signature: hex of 64 bytes each, over SIGNATURE_DOMAIN and the statement without both of them.
        previous: hash of the header before `height`, as the block of that height has it (64 zeros at height 0).
        size: of the log before that block; checkpoints up to it are the old key's.
        time: Unix milliseconds, as the first block signed by the new key has it.
    """

    height: int
    log: str
    new: str
    new_signature: str
    old: str
    old_signature: str
    origin: str
    previous: str
    size: int
    time: int
    v: int = 1


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(KeyChange)


def sign(
    *, log: str, height: int, size: int, previous: str, time: int, old: SigningKey, new: SigningKey
) -> KeyChange:
    """Make the statement that `new` signs from block `height` on. Raises: KeyChangeError where a field is not what it must be."""
    unsigned = KeyChange(
        height=height,
        log=log,
        new=new.verifier.vkey(),
        new_signature="",
        old=old.verifier.vkey(),
        old_signature="",
        origin=old.name,
        previous=previous,
        size=size,
        time=time,
    )
    message = _message(unsigned)
    change = msgspec.structs.replace(
        unsigned, old_signature=old.sign(message).hex(), new_signature=new.sign(message).hex()
    )
    verify(change)
    return change


def statement(change: KeyChange) -> bytes:
    """Encode a change with its signatures, RFC 8785: what is stored, shown, and sealed into the root log."""
    return _ENCODER.encode(change)


def parse(data: bytes | str) -> KeyChange:
    """Read a statement's exact bytes and verify it. Raises: KeyChangeError, whatever the bytes."""
    change = decode(data)
    verify(change)
    return change


def decode(data: bytes | str) -> KeyChange:
    """Read a statement's exact bytes; neither its values nor its signatures are looked at. Raises: KeyChangeError, whatever the bytes."""
    if len(data) > MAX_STATEMENT_BYTES:
        raise KeyChangeError(f"a key change is over {MAX_STATEMENT_BYTES} bytes")
    try:
        change = _DECODER.decode(data)
        canonical = _ENCODER.encode(change)
        given = data if isinstance(data, bytes) else data.encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise KeyChangeError(f"not a key change: {error}") from error
    if canonical != given:
        raise KeyChangeError("a key change is not in its canonical form")
    return change


@lru_cache(maxsize=4 * MAX_CHANGES)  # a store's list is read again and again
def verify(change: KeyChange) -> None:
    """Check the fields and both signatures of one change. Raises: KeyChangeError."""
    _check(change)
    old, new = _key(change.old, change.origin), _key(change.new, change.origin)
    if old == new:
        raise KeyChangeError(f"{_place(change)}: the old and the new key are the same")
    message = _message(change)
    for verifier, signature, which in (
        (old, change.old_signature, "old"),
        (new, change.new_signature, "new"),
    ):
        if not verifier.is_valid(bytes.fromhex(signature), message):
            raise KeyChangeError(f"{_place(change)}: the {which} key did not sign it")


def verify_chain(changes: Sequence[KeyChange]) -> None:
    """Check all changes of one log in one store, oldest first: as `verify_succession`, and their heights grow.

    Raises: KeyChangeError.
    """
    verify_succession(changes)
    for before, after in pairwise(changes):
        if after.height <= before.height:
            raise KeyChangeError(f"{_place(after)}: is not after the change before")


def verify_succession(changes: Sequence[KeyChange]) -> None:
    """Check changes of one log, oldest first: each goes on with the key of the one before at a larger size, none comes back.

    Heights are not compared: a store made anew from Kafka cuts its blocks elsewhere.
    Raises: KeyChangeError.
    """
    if len(changes) > MAX_CHANGES:
        raise KeyChangeError(f"a log has over {MAX_CHANGES} changes of key")
    for change in changes:
        verify(change)
    for before, after in pairwise(changes):
        if (after.log, after.origin, after.old) != (before.log, before.origin, before.new):
            raise KeyChangeError(f"{_place(after)}: does not go on from the change before")
        if after.size <= before.size or after.time < before.time:
            raise KeyChangeError(f"{_place(after)}: is not after the change before")
    keys = [change.old for change in changes[:1]] + [change.new for change in changes]
    if len(set(keys)) != len(keys):
        raise KeyChangeError(f"{_place(changes[-1])}: a retired key comes back")


def joined(known: Sequence[KeyChange], given: Sequence[KeyChange]) -> tuple[KeyChange, ...] | None:
    """Put what is known of a log's changes and what is given now into one list; None where they contradict.

    What is given may leave out the first of those that are known, and go on from there or from the last: a store made anew
    from Kafka has the changes since then. It is for the key then in force to name the next, as ever; a retired one
    cannot.

    Args:
        known: oldest first; perhaps none.
        given: oldest first; at least one.
    """
    olds = [change.old for change in known] + [change.new for change in known[-1:]]
    if not known:
        return tuple(given)
    if given[0].old not in olds:
        return None
    place = olds.index(given[0].old)
    common = min(len(known) - place, len(given))
    if tuple(known[place : place + common]) != tuple(given[:common]):
        return None
    return (*known[:place], *given, *known[place + len(given) :])


def tree_found(change: KeyChange, header: bytes) -> Checkpoint:
    """Give the tree that the new key found: the statement, which it signed, has the hash of the header before its first block.

    Args:
        change: whose signatures were verified.
        header: exact bytes of that header.
    Raises: KeyChangeError where it is another one.
    """
    if header_hash(header) != change.previous:
        raise KeyChangeError(f"{_place(change)}: this is not the header of the block before it")
    try:
        found = decode_header(header)
    except BlockError as error:
        raise KeyChangeError(f"{_place(change)}: {error}") from error
    if (found.log, found.size) != (change.log, change.size):
        raise KeyChangeError(f"{_place(change)}: the block before it is not of its log and size")
    return Checkpoint(change.origin, change.size, bytes.fromhex(found.root))


def key_at(changes: Sequence[KeyChange], current: str, height: int) -> str:
    """Give the vkey that must have signed the block at `height`; `current` is the one in force now."""
    return next((change.old for change in changes if height < change.height), current)


def key_of_size(changes: Sequence[KeyChange], current: str, size: int) -> str:
    """Give the vkey that must have signed a checkpoint of `size`; `current` is the one in force now."""
    return next((change.old for change in changes if size <= change.size), current)


def _message(change: KeyChange) -> bytes:
    fields = msgspec.structs.asdict(change)
    del fields["old_signature"], fields["new_signature"]
    return SIGNATURE_DOMAIN + _ENCODER.encode(fields)


def _check(change: KeyChange) -> None:
    numbers = (change.height, change.size, change.time)
    signatures = (change.old_signature, change.new_signature)
    sound = (
        change.v == 1
        and all(0 <= number <= MAX_INTEGER for number in numbers)
        and _HASH.match(change.previous) is not None
        and all(_SIGNATURE.match(signature) for signature in signatures)
        and (change.height == 0) == (change.size == 0) == (change.previous == GENESIS_HASH)
        and change.size >= change.height
        and change.origin.endswith(f"/{change.log}")
        and len(statement(change)) <= MAX_STATEMENT_BYTES
    )
    if not sound:
        raise KeyChangeError(f"{_place(change)}: a field is out of its limits")


def _key(vkey: str, origin: str) -> Verifier:
    try:
        verifier = Verifier.parse(vkey)
    except NoteError as error:
        raise KeyChangeError(f"a key change names a malformed key: {error}") from error
    if verifier.name != origin:
        raise KeyChangeError(f"a key change of {origin!r} names a key of {verifier.name!r}")
    return verifier


def _place(change: KeyChange) -> str:
    return f"key change of {change.log} at height {change.height}"
