"""What a log and a witness say to one another, and the rule by which a witness signs. No I/O.

A log sends `AddCheckpoint`; the witness answers 200 with signature lines, 409 with the size that it has, or a refusal.
`decide` is the whole of a witness's judgement; who calls it makes its outcome durable before a cosignature leaves.
Source: c2sp.org/tlog-witness (add-checkpoint).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from goodstrace.checkpoint import Checkpoint
from goodstrace.errors import CheckpointError, NoteError, ProofError, WitnessingError
from goodstrace.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE, verify_consistency
from goodstrace.note import MAX_NOTE_BYTES, Note, Signature, Verifier, open_note, parse_note

MAX_PROOF: Final = 63
MAX_REQUEST_BYTES: Final = 4 + 20 + MAX_PROOF * 45 + 1 + MAX_NOTE_BYTES
SIZE_TYPE: Final = "text/x.tlog.size"
"""The content type of a 409's body: the size that the witness has cosigned, in decimal, and a newline."""

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The request that a witness cosign a checkpoint.

    Attributes:
        old_size: the size that the sender takes the witness to have cosigned last, 0..MAX_SIZE; 0 for none.
        proof: the consistency proof from there, at most MAX_PROOF hashes of 32 bytes.
        note: the signed checkpoint's full text, canonical, at most MAX_NOTE_BYTES.

    Raises: WitnessingError, on anything else.
    """

    old_size: int
    proof: tuple[bytes, ...]
    note: str

    def __post_init__(self) -> None:
        if not 0 <= self.old_size <= MAX_SIZE:
            raise WitnessingError(f"the old size {self.old_size} is not in 0..2**63-1")
        if len(self.proof) > MAX_PROOF:
            raise WitnessingError(f"the proof has over {MAX_PROOF} hashes")
        if any(len(hash_) != HASH_SIZE for hash_ in self.proof):
            raise WitnessingError("a hash of the proof is not 32 bytes")
        _parsed(self.note)

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Read a request's body, exactly as `encode` writes it. Raises: WitnessingError; nothing else, whatever the bytes."""
        if len(body) > MAX_REQUEST_BYTES:
            raise WitnessingError(f"the request is over {MAX_REQUEST_BYTES} bytes")
        head, empty_line, note = body.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
            text = note.decode()
        except UnicodeDecodeError as error:
            raise WitnessingError("the request is not UTF-8") from error
        if not empty_line or not lines[0].startswith("old ") or len(lines) > MAX_PROOF + 1:
            raise WitnessingError(
                f"the request is not: old <size>, at most {MAX_PROOF} hashes, an empty line, a checkpoint"
            )
        old_size = _parse_size(lines[0].removeprefix("old "))
        return cls(old_size, tuple(_parse_hash(line) for line in lines[1:]), text)

    def encode(self) -> bytes:
        """Return the request's body."""
        hashes = "".join(f"{base64.b64encode(hash_).decode()}\n" for hash_ in self.proof)
        return f"old {self.old_size}\n{hashes}\n{self.note}".encode()

    @property
    def origin(self) -> str:
        """The checkpoint's first line, by which the witness finds the log's keys. Nothing of it is verified."""
        return self.note.partition("\n")[0]

    @property
    def size(self) -> int:
        """The size in the checkpoint's second line, by which the witness finds the key of that time; 0 where it is none."""
        line = self.note.partition("\n")[2].partition("\n")[0]
        return int(line) if _SIZE.fullmatch(line) else 0


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness remembers of a log: the size and root that it cosigned last."""

    size: int = 0
    root: bytes = EMPTY_ROOT


class Suspicion(StrEnum):
    """What is wrong with a log whose signed checkpoint does not fit what was cosigned of it before.

    FORK: the log's key signed two roots for one size: proof of misbehaviour by itself.
    INCONSISTENT: the proof between two signed checkpoints does not hold: a fork, or somebody sent a wrong proof.
    """

    FORK = "fork"
    INCONSISTENT = "inconsistent"


@dataclass(frozen=True, slots=True)
class Cosign:
    """The checkpoint goes on from what was cosigned: remember it durably, replacing exactly that, then cosign `note.text`.

    note: the checkpoint with the signatures of the log's known keys only.
    """

    checkpoint: Checkpoint
    note: Note


@dataclass(frozen=True, slots=True)
class Conflict:
    """The sender takes the witness to be elsewhere: answer 409 with the size it has."""

    size: int
    suspicion: Suspicion | None = None

    def body(self) -> str:
        """Return the answer's body; its content type is SIZE_TYPE."""
        return f"{self.size}\n"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The witness does not cosign: answer with the status (400, 403, 404 or 422) and the reason as plain text."""

    status: HTTPStatus
    reason: str
    suspicion: Suspicion | None = None


Decision = Cosign | Conflict | Refusal


def decide(cosigned: Cosigned, request: AddCheckpoint, keys: Collection[Verifier]) -> Decision:
    """Judge a request by what was cosigned of the log before.

    1. The log must be known and its key must have signed. 2. The text must be a checkpoint, not older than the old size
    that the request names, which must be what was cosigned. 3. The checkpoint must contain what was cosigned.

    Args:
        cosigned: the latest of the log `request.origin`.
        request: as it was parsed.
        keys: the keys that are trusted for the log of that origin; none where it is unknown.
    Source: c2sp.org/tlog-witness, in the order of its checks. A fork is also recognised where it comes with a 409.
    """
    if not keys:
        return Refusal(HTTPStatus.NOT_FOUND, "the log is unknown here")
    try:
        note = open_note(request.note, keys)
    except NoteError as error:
        return Refusal(HTTPStatus.FORBIDDEN, str(error))
    try:
        checkpoint = _checkpoint(note.text)
    except CheckpointError as error:
        return Refusal(HTTPStatus.BAD_REQUEST, str(error))
    return _judge(cosigned, request, checkpoint, note)


def _judge(cosigned: Cosigned, request: AddCheckpoint, checkpoint: Checkpoint | None, note: Note) -> Decision:
    if checkpoint is None:
        return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "the root of an empty tree is not the empty root")
    if request.old_size > checkpoint.size:
        return Refusal(HTTPStatus.BAD_REQUEST, "the old size is above the checkpoint's")
    forked = cosigned.size == checkpoint.size > 0 and cosigned.root != checkpoint.root
    if request.old_size != cosigned.size:
        return Conflict(cosigned.size, Suspicion.FORK if forked else None)
    if forked:
        reason = "another root was cosigned for this size"
        return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, reason, Suspicion.FORK)
    try:
        verify_consistency(cosigned.size, cosigned.root, checkpoint.size, checkpoint.root, request.proof)
    except ProofError as error:
        # Where nothing was cosigned, or just this, the checkpoint contradicts nothing: only the proof is too long.
        suspicion = Suspicion.INCONSISTENT if 0 < cosigned.size < checkpoint.size else None
        return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), suspicion)
    return Cosign(checkpoint, note)


def encode_cosignatures(signatures: Sequence[Signature]) -> str:
    """Return the body of a 200: the signature lines, at least one."""
    return "".join(signature.line() for signature in signatures)


def parse_cosignatures(body: bytes) -> tuple[Signature, ...]:
    """Read the body of a 200, at most MAX_NOTE_BYTES; nothing is verified.

    Raises: WitnessingError; nothing else, whatever the bytes.
    """
    answered = _parsed(b"\n\n" + body)  # as the signatures of a note whose text is empty
    if answered.text != "\n":
        raise WitnessingError("the answer is more than signature lines")
    return answered.signatures


def parse_conflict(body: bytes) -> int:
    """Read the body of a 409: the size that the witness has cosigned. Raises: WitnessingError; nothing else."""
    text = body.decode("ascii", errors="replace")
    if not text.endswith("\n"):
        raise WitnessingError("the witness's size does not end with a newline")
    return _parse_size(text[:-1])


def _checkpoint(text: str) -> Checkpoint | None:
    """Read the first three lines; None is the empty tree with a root that is not its own. Raises: CheckpointError.

    Extension lines are allowed and cosigned with the rest; nothing is said about them.
    """
    lines = text.split("\n")
    if any(not line for line in lines[:-1]):
        raise CheckpointError("the checkpoint has an empty line")
    head = "".join(f"{line}\n" for line in lines[:3])
    if len(lines) > 3 and lines[1] == "0" and head != Checkpoint(lines[0], 0, EMPTY_ROOT).text():
        return None
    return Checkpoint.parse(head)


def _parsed(note: str | bytes) -> Note:
    try:
        return parse_note(note)
    except NoteError as error:
        raise WitnessingError(str(error)) from error


def _parse_size(text: str) -> int:
    if not _SIZE.fullmatch(text) or int(text) > MAX_SIZE:
        raise WitnessingError("a size is not a decimal number in 0..2**63-1")
    return int(text)


def _parse_hash(line: str) -> bytes:
    try:
        hash_ = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WitnessingError("a hash of the proof is not base64") from error
    if base64.b64encode(hash_).decode() != line:
        raise WitnessingError("a hash of the proof is not in canonical base64")
    return hash_
