"""What a log is known to have been, by checkpoints that were kept elsewhere: is it still consistent with them? Pure.

Two things can have happened to a log that is not: it was *rolled back* (it is smaller than the saved checkpoint), or it was
*rewritten* (it does not begin with what it was). `fsck --against` and `replay verify` tell it by the same words.
"""

from collections.abc import Sequence

import msgspec

from goodstrace.errors import TreeError
from goodstrace.merkle import HASH_SIZE, Frontier
from services.sealing import core
from services.sealing.fsck.faults import Verdict


class Saved(msgspec.Struct, frozen=True, order=True):
    """Size and root (32 bytes) that a log is known to have had, and where that is known from: the checker vouches for it."""

    size: int
    root: bytes
    source: str


class SavedCheck:
    """Compares saved checkpoints of one log as it grows past their sizes."""

    def __init__(self, saved: Sequence[Saved], verdict: Verdict, compared: int = 0) -> None:
        """Begin, or go on after `compared` of them."""
        self._saved = sorted(saved)
        self._verdict = verdict
        self.compared = compared
        self._agreed = 0

    def grown(self, tree: Frontier, leaves: bytes, height: int) -> None:
        """Compare those up to the size that the tree has with these leaf hashes, which block `height` appended."""
        end = tree.size + len(leaves) // HASH_SIZE
        while self.compared < len(self._saved) and self._saved[self.compared].size <= end:
            saved = self._saved[self.compared]
            self.compared += 1
            upto = saved.size - tree.size
            if upto < 0:
                problem = f"{saved.source}: the blocks around size {saved.size} are missing"
                self._verdict.found("rewritten", problem, block=height, index=self._agreed)
                continue
            try:
                root = tree.append(core.split_hashes(leaves[: upto * HASH_SIZE])).root()
            except TreeError:
                root = b""
            if root == saved.root:
                self._agreed = saved.size
                continue
            problem = (
                f"{saved.source}: the root of size {saved.size} was {saved.root.hex()} and is {root.hex()} now:"
                f" rewritten, at index {self._agreed} or later, before index {saved.size}"
            )
            self._verdict.found("rewritten", problem, block=height, index=self._agreed)

    def ended(self, size: int) -> None:
        """Report those that are larger than the log has become."""
        for saved in self._saved[self.compared :]:
            problem = f"{saved.source}: was of size {saved.size}, the log has {size}: rolled back"
            self._verdict.found("rolled-back", problem, index=size)
        self.compared = len(self._saved)
