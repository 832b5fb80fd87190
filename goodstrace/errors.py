"""Every error that `goodstrace` raises on purpose.

GoodstraceError
├── CallError               a service refused a call or could not be reached
├── CredentialsError        a file of keys or tokens cannot be read, or is open to others
│   └── SignedOutError      nobody is signed in, or the session has ended: sign in again
├── EventContentError       an event part is neither JSON nor XML of an event
├── EventHashError          an event cannot be hashed (goodstrace.event_hash)
├── FilterError             what a subscription asks for is out of its limits
├── RegistryFileError       a file of goods or places cannot be read
├── RememberedError         the file of remembered checkpoints cannot be read or written
├── TrustFileError          a file that says whom to trust (log keys, a policy, merchants' keys) cannot be read or is malformed
└── VerificationError       something from outside is not what it must be: do not use it
    ├── TreeError           tree data (frontier, tiles) that is malformed or does not fit the tree's size
    ├── ProofError          an inclusion or consistency proof does not hold, or none exists for these positions
    ├── NoteError           a signed note or key is malformed, or no known key has signed it rightly
    ├── CheckpointError     a rightly signed note is no checkpoint, or is one of another log
    ├── EncryptedPartError  encrypted content that is malformed, or that the key which came with it does not open
    ├── EntryError          an entry, a part or the facts of an event are not what they must be
    ├── UnknownLogError     an answer speaks of a log whose key the client does not trust
    ├── RollbackError       a log no longer contains what the client saw of it before
    ├── StaleError          an answer is from before what the client had seen when it asked
    ├── AnswerError         an answer contradicts itself, its proofs, or what was asked
    │   ├── WrongIndexError the log `index` leaves out an entry that it covers
    │   └── LeftOutError    an answer leaves out what the log `index` shows of a name it asks for
    ├── PolicyError         a trust policy is malformed
    ├── QuorumError         a checkpoint lacks the cosignatures that the client's trust policy asks for
    ├── WitnessingError     what a log sent to a witness, or a witness answered, is malformed
    ├── KeyChangeError      a log's change of key is malformed, wrongly signed, or does not follow the one before
    ├── SignatureError      a merchant's signature or key is malformed, or does not hold
    └── BlockError          a block header is malformed, wrongly signed, or does not follow the one before
"""

from __future__ import annotations


class GoodstraceError(Exception):
    """The root of all errors of this package."""


class EventContentError(GoodstraceError):
    """The bytes of an event part cannot be read; `offset` is where in them, None where that is not known."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


class VerificationError(GoodstraceError):
    """Something that came from outside does not verify."""


class CredentialsError(GoodstraceError):
    """A file with an API key or a token cannot be read, is open to others, or holds none."""


class SignedOutError(CredentialsError):
    """Nobody is signed in, or the session has ended: the message says how to sign in again."""


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


class EncryptedPartError(VerificationError):
    """Encrypted content of a part is malformed, or the key that came with it does not open it."""


class BlockError(VerificationError):
    """A block header is malformed, wrongly signed, or does not follow the one before it."""


class RegistryFileError(GoodstraceError):
    """A file of goods or places is none, or has a fault: the message names the place."""


class SignatureError(VerificationError):
    """A merchant's signature over an event, or its key, is malformed, or the signature does not hold."""


class PolicyError(VerificationError):
    """A trust policy (c2sp.org/tlog-policy) is malformed; the message names the line."""


class QuorumError(VerificationError):
    """A checkpoint is not signed and cosigned as the trust policy asks: it may be one that only this client is shown."""


class WitnessingError(VerificationError):
    """What a log sent to a witness, or what a witness answered, is not in the form of c2sp.org/tlog-witness."""


class KeyChangeError(VerificationError):
    """A log's change of key is malformed, wrongly signed, or does not follow the one before it."""


class CallError(GoodstraceError):
    """A service refused a call or could not be reached; `code` is the gRPC status or HTTP status as text.

    Where the service says so: `reason` is the name of what went wrong, `field` the field of the request that is wrong, and
    `retry_after_s` after how many seconds the same call may succeed.
    """

    def __init__(
        self, code: str, message: str, *, reason: str = "", field: str = "", retry_after_s: float = 0.0
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.reason, self.field, self.retry_after_s = code, reason, field, retry_after_s


class FilterError(GoodstraceError):
    """What a subscription asks for is out of its limits; `field` names the filter."""

    def __init__(self, problem: str, field: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.problem, self.field = problem, field


class RememberedError(GoodstraceError):
    """The file of remembered checkpoints cannot be read or written."""


class TrustFileError(GoodstraceError):
    """A file of one's own that says whom to trust (log keys, a policy, merchants' keys) is missing or malformed: nothing was verified yet.

    The message names the file, and the line where that is known.
    """


class UnknownLogError(VerificationError):
    """An answer speaks of a log whose key the client does not trust."""


class RollbackError(VerificationError):
    """A log no longer contains what the client saw of it before: keep both checkpoints, they are the evidence."""


class StaleError(VerificationError):
    """A question that names no size is answered from before what the client had seen when it asked.

    The log still contains both; the service, or what answers in its name, has gone back to an earlier state or shows one.
    """


class AnswerError(VerificationError):
    """An answer contradicts itself, its proofs, or what was asked."""


class WrongIndexError(AnswerError):
    """The log `index` leaves out an entry that it covers; `proof` is the file that shows it to anybody (wrong_index)."""

    def __init__(self, message: str, proof: bytes) -> None:
        super().__init__(message)
        self.proof = proof


class LeftOutError(AnswerError):
    """An answer leaves out entries of which the log `index` shows that they are there, or does not follow from all of them."""
