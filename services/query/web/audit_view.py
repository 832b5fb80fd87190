"""What auditors' pages show, out of headers, notes and answers of the audit service. Pure: no I/O, no language, nothing escaped."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from goodstrace import block
from goodstrace import entry as entries
from goodstrace.audit.v1 import audit_pb2
from goodstrace.block import BlockHeader
from goodstrace.cosignature import CosignatureVerifier
from goodstrace.entry import Entry
from goodstrace.errors import EntryError, NoteError
from goodstrace.note import parse_note
from goodstrace.verification import open_part
from services.query.web.trace_view import place_id
from services.sealing.pins import SignedHeader
from services.sealing.values import Head, LogInfo, StoredCheckpoint

MOST_KEYS_SHOWN: Final = 20
_MOST_TEXT: Final = 2048


class ShownLog(msgspec.Struct, frozen=True):
    """A log as it stands: `sealed_ms` is when its last block was sealed, 0 where that is not known."""

    info: LogInfo
    head: Head
    sealed_ms: int

    @property
    def published(self) -> int:
        """How many entries everybody may read."""
        return self.head.published.size if self.head.published else 0


class ShownBlock(msgspec.Struct, frozen=True):
    """A block: what its header says, the header's exact text and the signature, hex, and by which key (vkey) it must be signed."""

    header: BlockHeader
    text: str
    signature: str
    vkey: str


class ShownEntry(msgspec.Struct, frozen=True):
    """An entry of a block: its envelope, and the envelope's exact text. `entry` is None where the bytes are none."""

    index: int
    text: str
    entry: Entry | None


class Standing(msgspec.Struct, frozen=True):
    """How far a witness is behind in a log.

    witness: its key's name. size: of the newest checkpoint that it has cosigned, -1 where it is in none of those looked at. behind: entries that are signed
    beyond that. time_s: when it says that it cosigned, Unix seconds; 0 where that is not known. is_known: whether the policy names it, so that its
    cosignature was checked here.
    """

    witness: str
    log: str
    size: int
    behind: int
    time_s: int
    is_known: bool


class Look(msgspec.Struct, frozen=True):
    """A browse record. What is withheld of it is empty. `part_keys` are those that open its encrypted parts, `name=hex` with blanks between."""

    place_id: str
    entry_id: str
    time_ms: int
    user: str
    merchant: int
    network: str
    method: str
    query: str
    keys: tuple[str, ...]
    more_keys: int
    purpose: str
    events: str
    part_keys: str


def shown_block(info: LogInfo, signed: SignedHeader) -> ShownBlock:
    """Take a header apart. Raises: BlockError."""
    header = block.decode(signed.header)
    return ShownBlock(
        header, signed.header.decode(), signed.signature.hex(), info.verifier_at(header.height).vkey()
    )


def shown_entry(index: int, data: bytes) -> ShownEntry:
    """Show an envelope, whatever its bytes."""
    try:
        found: Entry | None = entries.decode(data)
    except EntryError:
        found = None
    return ShownEntry(index, data.decode("utf-8", "replace"), found)


def standings(
    log: str,
    origin: str,
    head: Head,
    newest: Sequence[StoredCheckpoint],
    witnesses: Sequence[CosignatureVerifier],
) -> list[Standing]:
    """Tell how far each witness is: those that are known here, and those others whose signature stands in a note.

    Args:
        log: its name.
        origin: of the log; its own signatures are passed over.
        head: how far it is signed.
        newest: its newest checkpoints, newest first.
        witnesses: those whose keys are known.
    """
    found: dict[str, Standing] = {}
    known = {(each.name, each.key_id): each for each in witnesses}
    signed = head.checkpoint.size
    for stored in (head.checkpoint, *([head.published] if head.published else []), *newest):
        note = parse_note(stored.note)
        for signature in note.signatures:
            verifier = known.get((signature.name, signature.key_id))
            if signature.name == origin or found.get(signature.name, _NONE).size >= stored.size:
                continue
            try:
                time_s = verifier.verify(signature, note.text) if verifier else 0
            except NoteError:
                continue  # it says that it is this witness's, and is not
            found[signature.name] = Standing(
                signature.name, log, stored.size, signed - stored.size, time_s, verifier is not None
            )
    for each in witnesses:
        found.setdefault(each.name, Standing(each.name, log, -1, signed, 0, is_known=True))
    return [found[name] for name in sorted(found)]


_NONE: Final = Standing("", "", -2, 0, 0, is_known=False)


def looks(answer: audit_pb2.ListBrowsesResponse) -> list[Look]:
    """Show browse records. Raises: EntryError where one is no entry, EncryptedPartError where a part does not open by the key beside it."""
    return [_look(each) for each in answer.browses]


def _look(sealed: Any) -> Look:
    entry = entries.decode(sealed.entry)
    parts = {part.name: _object(open_part(entry.id, part) or b"") for part in sealed.parts}
    who, what = parts.get("who", {}), parts.get("what", {})
    keys = (
        [str(each) for each in what.get("keys", []) if isinstance(each, str)]
        if isinstance(what.get("keys"), list)
        else []
    )
    asked = what.get("user", "")
    named = [*keys, *([asked] if isinstance(asked, str) and asked else [])]
    merchant = who.get("merchant", 0)
    return Look(
        place_id=place_id(sealed),
        entry_id=entry.id,
        time_ms=entry.time,
        user=_text(who, "user"),
        merchant=merchant if isinstance(merchant, int) else 0,
        network=_text(who, "network"),
        method=_text(what, "method"),
        query=_text(what, "query"),
        keys=tuple(named[:MOST_KEYS_SHOWN]),
        more_keys=max(0, len(named) - MOST_KEYS_SHOWN),
        purpose=_text(parts.get("purpose", {}), "purpose"),
        events=_text(parts.get("outcome", {}), "events"),
        part_keys=" ".join(f"{each.name}={each.key.hex()}" for each in sealed.parts if each.key),
    )


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(part: Mapping[str, Any], name: str) -> str:
    """Give a member as text; one that is too long is left out, since the browser compares what is shown with what is sealed."""
    value = part.get(name, "")
    text = str(value) if isinstance(value, str | int) else ""
    return text if len(text) <= _MOST_TEXT else ""
