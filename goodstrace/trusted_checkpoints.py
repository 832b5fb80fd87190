"""What a client believes of logs: checkpoints by keys that it trusts, each of which contains what it saw of the log before."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from goodstrace.errors import (
    AnswerError,
    CallError,
    CheckpointError,
    KeyChangeError,
    NoteError,
    RollbackError,
    StaleError,
)
from goodstrace.key_changes import tree_found
from goodstrace.key_following import KeyFollower
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import LogKeys, log_of
from goodstrace.memory import CheckpointMemory
from goodstrace.policy import Policy
from goodstrace.verification import (
    VerifiedCheckpoint,
    remembered_checkpoint,
    verify_checkpoints,
    verify_growth,
    verify_quorum,
)

IN_FORCE_WITHIN_S: Final = 3.0
"""So long a key may be in force before its first checkpoint is published, unless witnesses are waited for: the statement is stored before.

For services that do not show the tree that the key found."""
Held = Mapping[str, str]
"""What was remembered when a question was sent: by log, the note of the largest checkpoint."""
_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")
_ASK_AGAIN_S: Final = 0.1
_NOT_SHOWN = ("NOT_FOUND", "OUT_OF_RANGE", "INVALID_ARGUMENT", "FAILED_PRECONDITION")


class TrustedCheckpoints:
    """Verifies the checkpoints of answers, and remembers the largest of each log."""

    def __init__(
        self,
        keys: LogKeys,
        memory: CheckpointMemory,
        policy: Policy | None,
        *,
        key_changes: Callable[[str], Iterable[bytes]],
        consistency: Callable[[str, int, int], Sequence[bytes]],
        newest: Callable[[str], log_pb2.Checkpoint | None],
        previous_header: Callable[[str], bytes],
    ) -> None:
        """Begin with what is trusted and remembered.

        Args:
            keys: that are trusted; changes of keys that they lead to are added.
            memory: what was verified before.
            policy: which witnesses must have cosigned a checkpoint; None: the log's own signature is enough.
            key_changes: asks for the changes of a log's key.
            consistency: asks for the proof that a log grew from a size to a size. Raises: CallError.
            newest: asks for a log's newest checkpoint.
            previous_header: asks for the header of the block before the last change of a log's key; empty where it is not told.
        """
        self._keys, self._memory, self._policy = keys, memory, policy
        self._follower = KeyFollower(keys, memory, key_changes)
        self._consistency = consistency
        self._newest = newest
        self._previous_header = previous_header

    def follow(self, log: str, note: str) -> None:
        """Follow the changes of a log's key to the one that signed a note."""
        self._follower.follow(log, note)

    def held(self, named: Collection[str] = ()) -> Held:
        """Give what is remembered now, to be called before a question is sent: it is answered from then or later.

        What another answer brings while this one is under way is none of it: of two questions at a time either may be answered first.

        Args:
            named: logs of which the question says at which size; these may be older.
        """
        origins = {log_of(each.name): each.name for each in self._keys}
        notes = {log: self._memory.get(origin) for log, origin in origins.items() if log not in named}
        return {log: note for log, note in notes.items() if note is not None}

    def opened(
        self, pages: Sequence[Sequence[log_pb2.Checkpoint]], held: Held
    ) -> Mapping[str, VerifiedCheckpoint]:
        """Open the checkpoints of all pages, which must be the same on each, and check them against those remembered.

        Args:
            pages: of one answer.
            held: when its first page was asked for.
        Raises: StaleError where a checkpoint is smaller than what was held; what `check_growth` and `verify_checkpoints` raise.
        """
        for message in pages[0]:
            self.follow(message.log, message.note)
        checkpoints = verify_checkpoints(pages[0], self._keys)
        for page in pages[1:]:
            if {each.log: _signed(each.note) for each in page} != {
                log: _signed(each.note) for log, each in checkpoints.items()
            }:
                raise AnswerError("the pages of one answer are proved under different checkpoints")
        for each in checkpoints.values():
            self.check_growth(each)
            _check_fresh(each, held.get(each.log))
        return checkpoints

    def check_growth(self, given: VerifiedCheckpoint) -> None:
        """Check that a log's checkpoint and what is remembered of it are of one log that grew; where a policy is asked for, its quorum first.

        One that is signed by a key retired since must be contained in one of the key in force, or in the tree that this key found when
        it took over. Else it proves nothing: whoever has the retired key signs any history that is no longer than the log was at the change.
        """
        if self._policy is not None:
            verify_quorum(given, self._policy)
        if self._keys.is_retired(given.log, given.checkpoint.size):
            self._see_vouched_for(given)
        self.remember(given)

    def remember(self, given: VerifiedCheckpoint) -> None:
        """Check that a log's checkpoint and what is remembered of it contain one another, and remember the larger; its quorum is not asked for."""
        origin = given.checkpoint.origin
        note = self._memory.get(origin)
        # Another client of the same memory may remember a larger one meanwhile: then with that. It only grows.
        while self._is_newer(given, note) and not self._memory.replace(origin, note, given.note):
            note = self._memory.get(origin)

    def _see_vouched_for(self, given: VerifiedCheckpoint) -> None:
        """See that the log's key in force vouches for a checkpoint of a retired one.

        A checkpoint by it is remembered from then on, and growth to what is remembered is checked for each that is given. Where none is
        published yet, which may take as long as witnesses do, what counts is the tree that it found.
        """
        note = self._memory.get(given.checkpoint.origin)
        if note is not None and self._is_in_force(given.log, note):
            return
        newest = self._newest_in_force(given.log)
        if newest is None and self._was_found(given):
            return
        deadline_s = time.monotonic() + IN_FORCE_WITHIN_S
        while newest is None and time.monotonic() < deadline_s:
            time.sleep(_ASK_AGAIN_S)
            newest = self._newest_in_force(given.log)
        if newest is None:
            raise AnswerError(
                f"the checkpoint of {given.log} of size {given.checkpoint.size} is signed by a retired key, and the service shows none"
                " of the key in force that contains it: whoever has the retired key can make such a one"
            )
        self.check_growth(verify_checkpoints([newest], self._keys)[given.log])

    def _was_found(self, given: VerifiedCheckpoint) -> bool:
        """Tell whether a checkpoint is contained in the tree that the log's key in force found; False where the service does not show that tree.

        Raises: RollbackError where it is not; what `follow` raises.
        """
        # The header that is shown is of the last change, and no checkpoint may lead there yet.
        self._follower.follow_all(given.log)
        try:
            tree = tree_found(self._keys.changes(given.log)[-1], self._previous_header(given.log))
        except KeyChangeError:
            return False
        found = VerifiedCheckpoint(given.log, tree, note="")
        verify_growth(given, found, self._growth_proof(given, found))
        return True

    def _newest_in_force(self, log: str) -> log_pb2.Checkpoint | None:
        newest = self._newest(log)
        if newest is not None:
            self.follow(log, newest.note)
        return newest if newest is not None and self._is_in_force(log, newest.note) else None

    def _is_in_force(self, log: str, note: str) -> bool:
        """Tell whether a log's key in force has signed a note; of what is remembered an earlier key may have signed any."""
        try:
            return not self._keys.is_retired(log, self._keys.open(log, note).size)
        except (NoteError, CheckpointError):
            return False

    def _is_newer(self, given: VerifiedCheckpoint, note: str | None) -> bool:
        """Check that a checkpoint and the one remembered are of one log that grew; tell whether it is the larger one."""
        if note is None:
            return True
        known = remembered_checkpoint(given.log, note)
        older, newer = sorted((known, given), key=lambda each: each.checkpoint.size)
        verify_growth(older, newer, self._growth_proof(older, newer))
        return given.checkpoint.size > known.checkpoint.size

    def _growth_proof(self, older: VerifiedCheckpoint, newer: VerifiedCheckpoint) -> Sequence[bytes]:
        old_size, new_size = older.checkpoint.size, newer.checkpoint.size
        if old_size in (0, new_size):
            return ()
        try:
            return self._consistency(newer.log, old_size, new_size)
        except CallError as error:
            if error.code not in _NOT_SHOWN:
                raise
            raise RollbackError(
                f"the service cannot show that the log {newer.log} of size {new_size} contains what it was at {old_size}: {error}"
            ) from error


def _check_fresh(given: VerifiedCheckpoint, note: str | None) -> None:
    """Check that a checkpoint is no smaller than the one that was held; which of the two contains the other was checked. Raises: StaleError."""
    size = remembered_checkpoint(given.log, note).checkpoint.size if note is not None else 0
    if given.checkpoint.size < size:
        raise StaleError(
            f"the service answers from {given.log} at size {given.checkpoint.size}, which had {size} before it was asked: it was rolled back or "
            "restored to an earlier state, or hides what came since. Ask again; if it stays so, keep the remembered checkpoints and show them to "
            "the operator and the witnesses. To see an earlier state on purpose, name its sizes (as_of, --as-of)"
        )


def once_more(ask: Callable[_Asked, _Answer]) -> Callable[_Asked, _Answer]:
    """Have a question asked once more where its answer is stale: a process that was just behind is no longer; who goes back stays back."""

    @wraps(ask)
    def asked(*args: _Asked.args, **options: _Asked.kwargs) -> _Answer:
        try:
            return ask(*args, **options)
        except StaleError:
            return ask(*args, **options)

    return asked


def _signed(note: str) -> str:
    """Give what a note says: between two pages it may have got another cosignature."""
    return note.partition("\n\n")[0]
