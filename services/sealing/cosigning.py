"""Which checkpoint of a log its witnesses are asked for, and when it is published. No I/O, no clock.

All witnesses of a log are asked for the same checkpoint, its *round*: a quorum counts for one size only, and witnesses of
different speed that each take the newest would never meet at one. The next round begins once this one has its quorum, at
the earliest an interval after it began; a witness that answers later still adds its cosignature to the round it was asked
in. A round without quorum stays: witnesses that come back finish it, and go on with the newest.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum

import msgspec

from goodstrace.errors import NoteError
from goodstrace.note import MAX_SIGNATURES, Note, Signature, parse_note
from goodstrace.policy import Policy
from services.sealing.errors import CorruptError
from services.sealing.values import StoredCheckpoint


class FaultKind(StrEnum):
    """Why a witness did not cosign.

    UNAVAILABLE: no answer, or an error of its own. UNKNOWN_LOG: it does not know the log or its key. FORK: what it cosigned
    is not in what we asked for. ROLLED_BACK: it cosigned more than we have. CONFLICT: its size was another twice.
    REFUSED: any other refusal. MALFORMED: an answer that is none, or whose signature is wrong.
    """

    UNAVAILABLE = "unavailable"
    UNKNOWN_LOG = "unknown-log"
    FORK = "fork"
    ROLLED_BACK = "rolled-back"
    CONFLICT = "conflict"
    REFUSED = "refused"
    MALFORMED = "malformed"


class Cosignatures(msgspec.Struct, frozen=True):
    """Cosignatures that verified, by the witness's name in the policy; at least one."""

    by_name: Mapping[str, Signature]


class Holds(msgspec.Struct, frozen=True):
    """The witness has cosigned another size than we took it to have: a 409."""

    size: int


class Fault(msgspec.Struct, frozen=True):
    """The witness did not cosign."""

    kind: FaultKind
    detail: str


Answer = Cosignatures | Holds | Fault


class Round:
    """One checkpoint that a log's witnesses are asked for, and the cosignatures it has so far."""

    def __init__(self, policy: Policy, signed: StoredCheckpoint, cosigned_note: str = "") -> None:
        """Begin with the log's own signature, or with a note that has cosignatures already. Raises: CorruptError.

        Who has cosigned that note is asked again all the same: only a witness can tell that the store was rolled back.
        """
        self.signed = signed
        self._policy = policy
        self._answered = set[str]()
        try:
            self._note: Note = parse_note(cosigned_note or signed.note)
            self._names = set(policy.cosigners(cosigned_note)) if cosigned_note else set[str]()
        except NoteError as error:
            raise CorruptError(f"{signed.log}: the checkpoint of size {signed.size}: {error}") from error

    @property
    def size(self) -> int:
        """The checkpoint's."""
        return self.signed.size

    @property
    def reached(self) -> bool:
        """Whether it has its quorum."""
        return self._policy.is_satisfied(self._names)

    @property
    def checkpoint(self) -> StoredCheckpoint:
        """The checkpoint with the cosignatures it has, to be published where it has its quorum."""
        return msgspec.structs.replace(self.signed, note=self._note.encode())

    def lacks(self, names: Collection[str]) -> bool:
        """Tell whether one of these witnesses has not answered with a cosignature of it yet."""
        return not self._answered.issuperset(names)

    def add(self, answer: Cosignatures) -> bool:
        """Attach what is new, below what is there, as long as a note has room; False where nothing is."""
        room = MAX_SIGNATURES - len(self._note.signatures)  # those of witnesses of an earlier policy stay
        fresh = [(name, each) for name, each in answer.by_name.items() if name not in self._names]
        new = dict(fresh[:room])
        self._note = Note(self._note.text, (*self._note.signatures, *new.values()))
        self._names.update(new)
        self._answered.update(answer.by_name)
        return bool(new)


class Cosigning:
    """The rounds of one log. Times are in seconds of any clock that does not go back."""

    def __init__(self, policy: Policy, interval_s: float) -> None:
        """Ask by a policy, with at least `interval_s` between the beginnings of rounds."""
        self._policy = policy
        self._interval_s = interval_s
        self._begun_s = 0.0
        self._newest: StoredCheckpoint | None = None
        self._left_behind = False
        self.round: Round | None = None

    def resume(self, newest: StoredCheckpoint, cosigned_note: str, now_s: float) -> None:
        """Go on from what is stored: the newest checkpoint, and its note with the cosignatures that are kept of it.

        A witness can have cosigned no later one. Raises: CorruptError.
        """
        self.signed(newest)  # its writer may have told of a newer one meanwhile
        self._begin(Round(self._policy, newest, cosigned_note), now_s)

    def signed(self, checkpoint: StoredCheckpoint) -> None:
        """Take notice of a newer checkpoint; an older one is left."""
        if self._newest is None or checkpoint.size > self._newest.size:
            self._newest = checkpoint

    def left_behind(self, size: int) -> None:
        """Take notice that a witness is at `size`, which is signed: it can cosign nothing smaller any more."""
        self._left_behind = self.round is not None and size > self.round.size

    def due_s(self, now_s: float) -> float | None:
        """Tell in how many seconds the next round is to begin; None while there is nothing newer or no quorum yet."""
        if self._newest is None or (self.round is not None and self._newest.size <= self.round.size):
            return None
        if self.round is None or self._left_behind:
            return 0
        return max(0, self._begun_s + self._interval_s - now_s) if self.round.reached else None

    def turn(self, now_s: float) -> None:
        """Begin the next round, with the newest checkpoint."""
        assert self._newest is not None
        self._begin(Round(self._policy, self._newest), now_s)

    def wanted(self, names: Collection[str]) -> Round | None:
        """Give the round that these witnesses are to be asked in; None where they have cosigned it."""
        return self.round if self.round is not None and self.round.lacks(names) else None

    def _begin(self, round_: Round, now_s: float) -> None:
        self.round, self._begun_s, self._left_behind = round_, now_s, False
