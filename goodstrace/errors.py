"""Every error that `goodstrace` raises on purpose.

GoodstraceError
└── VerificationError       something from outside is not what it must be: do not use it
    ├── TreeError           tree data (frontier, tiles) that is malformed or does not fit the tree's size
    ├── ProofError          an inclusion or consistency proof does not hold, or none exists for these positions
    ├── NoteError           a signed note or key is malformed, or no known key has signed it rightly
    ├── CheckpointError     a rightly signed note is no checkpoint, or is one of another log
    ├── EntryError          an entry, a part or the facts of an event are not what they must be
    └── BlockError          a block header is malformed, wrongly signed, or does not follow the one before
"""

from __future__ import annotations


class GoodstraceError(Exception):
    """The root of all errors of this package."""


class VerificationError(GoodstraceError):
    """Something that came from outside does not verify."""


class TreeError(VerificationError):
    """Tree data (a frontier, a tile) is malformed, missing, or does not fit the tree's size."""


class ProofError(VerificationError):
    """An inclusion or consistency proof does not hold, or there is none for the positions asked."""


class NoteError(VerificationError):
    """A signed note or a verifier key is malformed, or no known key has signed the note rightly."""


class CheckpointError(VerificationError):
    """The text of a note is no checkpoint, or the checkpoint is one of another log."""


class EntryError(VerificationError):
    """An entry, a disclosed part or the facts of an event are malformed or not what is committed to."""


class BlockError(VerificationError):
    """A block header is malformed, wrongly signed, or does not follow the one before it."""
