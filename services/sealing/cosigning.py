"""Which checkpoint of a log its witnesses are asked for, and when it is published. No I/O, no clock.

All witnesses of a log are asked for the same checkpoint, its *round*: a quorum counts for one size only, and witnesses of
different speed that each take the newest would never meet at one. The next round begins once this one has its quorum, at
the earliest an interval after it began; a witness that answers later still adds its cosignature to the round it was asked
in. A round without quorum stays: witnesses that come back finish it, and go on with the newest. It is only left early
where witnesses say that they have cosigned more, and so cannot cosign this; since any one may say so falsely, the others
have their time first.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from goodstrace.errors import NoteError
from goodstrace.note import MAX_SIGNATURES, Note, Signature, parse_note
from goodstrace.policy import Policy
from services.sealing.errors import CorruptError
from services.sealing.values import StoredCheckpoint

PATIENCE: Final = 10
"""How many intervals a round has where a witness is beyond it and the others could still make its quorum."""


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
        self._beyond = set[str]()
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

    @property
    def is_left_behind(self) -> bool:
        """Whether a witness says that it has cosigned more."""
        return bool(self._beyond)

    def can_reach(self, asked: Collection[str]) -> bool:
        """Tell whether those of the witnesses asked that are not beyond it could make its quorum."""
        return self._policy.is_satisfied(self._names.union(asked) - (self._beyond - self._names))

    def lacks(self, names: Collection[str]) -> bool:
        """Tell whether the witness that signs by these names has not answered yet: to ask it again tells nothing new."""
        return self._answered.isdisjoint(names)

    def leave_out(self, names: Collection[str]) -> None:
        """Take notice that a witness can cosign this no more."""
        self._beyond.update(names)
        self._answered.update(names)

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

    def __init__(self, policy: Policy, interval_s: float, asked: Collection[str] | None = None) -> None:
        """Ask by a policy, with at least `interval_s` between the beginnings of rounds.

        `asked` are the names of the witnesses that are asked; all of the policy's where it is not given.
        """
        self._policy = policy
        self._asked = frozenset(each.name for each in policy.witnesses) if asked is None else frozenset(asked)
        self._interval_s = interval_s
        self._begun_s = 0.0
        self._newest: StoredCheckpoint | None = None
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

    def left_behind(self, names: Collection[str], size: int) -> None:
        """Take notice that a witness says it is at `size`, which is signed: it can cosign nothing smaller any more."""
        if self.round is not None and size > self.round.size:
            self.round.leave_out(names)

    def due_s(self, now_s: float) -> float | None:
        """Tell in how many seconds the next round is to begin; None while there is nothing newer or no quorum yet."""
        if self._newest is None or (self.round is not None and self._newest.size <= self.round.size):
            return None
        if self.round is None:
            return 0
        if self.round.reached or (self.round.is_left_behind and not self.round.can_reach(self._asked)):
            wait_s = self._interval_s
        elif self.round.is_left_behind:
            wait_s = PATIENCE * self._interval_s
        else:
            return None
        return max(0, self._begun_s + wait_s - now_s)

    def turn(self, now_s: float) -> None:
        """Begin the next round, with the newest checkpoint."""
        assert self._newest is not None
        self._begin(Round(self._policy, self._newest), now_s)

    def wanted(self, names: Collection[str]) -> Round | None:
        """Give the round that these witnesses are to be asked in; None where they have cosigned it."""
        return self.round if self.round is not None and self.round.lacks(names) else None

    def _begin(self, round_: Round, now_s: float) -> None:
        self.round, self._begun_s = round_, now_s
