"""C2SP checkpoints: the signed statement of a log's size and root, without extension lines.

Source: c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from goodstrace.errors import CheckpointError
from goodstrace.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from goodstrace.note import SigningKey, Verifier, open_note, sign_note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at one moment.

    Attributes:
        origin: the log's name, not empty, one line; the name of the key that signs it.
        size: number of leaves, 0..MAX_SIZE.
        root: the tree's RFC 6962 root, 32 bytes; `EMPTY_ROOT` where size is 0.

    Raises: CheckpointError, on anything else.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise CheckpointError("the origin is empty or has several lines")
        if not 0 <= self.size <= MAX_SIZE:
            raise CheckpointError(f"the size {self.size} is not in 0..2**63-1")
        if len(self.root) != HASH_SIZE:
            raise CheckpointError(f"the root has {len(self.root)} bytes, not 32")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError("the root of an empty tree is not the empty root")

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a note as a checkpoint, exactly as `text` writes it. Raises: CheckpointError, only."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise CheckpointError("a checkpoint here has exactly three lines")
        if not (lines[1].isascii() and lines[1].isdigit() and len(lines[1]) <= len(str(MAX_SIZE))):
            raise CheckpointError("the size is not a decimal number in 0..2**63-1")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise CheckpointError("the root is not base64") from error
        checkpoint = cls(lines[0], int(lines[1]), root)
        if checkpoint.text() != text:
            raise CheckpointError("the checkpoint is not in canonical form")
        return checkpoint

    def text(self) -> str:
        """Return the note text: origin, size and base64 root, each on a line."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, signer: SigningKey) -> str:
    """Return the checkpoint as a full signed note. The caller has made sure that the log is durable up to its size.

    Raises: CheckpointError, if the signer is not named after the checkpoint's origin.
    """
    if signer.name != checkpoint.origin:
        raise CheckpointError(f"the key {signer.name!r} does not sign for the log {checkpoint.origin!r}")
    return sign_note(checkpoint.text(), [signer]).encode()


def open_checkpoint(note: str | bytes, verifiers: Iterable[Verifier]) -> Checkpoint:
    """Verify a signed note and read it as a checkpoint of the log whose key signed it.

    Args:
        note: the full note; signatures of unknown keys in it are ignored.
        verifiers: the log's key (or keys). With keys of several logs, compare the returned `origin` with the log meant.
    Raises: NoteError, if no known key has signed it or one has wrongly; CheckpointError, if the text is no checkpoint
        or its origin is not the name of a key that signed it.
    """
    opened = open_note(note, verifiers)
    checkpoint = Checkpoint.parse(opened.text)
    if all(signature.name != checkpoint.origin for signature in opened.signatures):
        raise CheckpointError("the checkpoint's origin is not the name of the key that signed it")
    return checkpoint
