"""What `fsck` can find: faults with their place, the kinds there are, and what to do about each."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

MAX_FAULTS: Final = 100  # of one kind in one log; more of them are counted and not listed


class Standing(StrEnum):
    """What a kind of fault is about."""

    SEALED = "sealed"  # nothing in the store gives it again
    DERIVED = "derived"  # `--repair` makes it again from what is sealed
    TRUST = "trust"  # the store against what somebody holds outside it


class Kind(msgspec.Struct, frozen=True):
    """A kind of fault: what it is about, what it means, what to do."""

    standing: Standing
    meaning: str
    hint: str

    def told(self, field: str) -> str:
        """Give a line for people of what it means and what to do, by its name in KINDS."""
        return f"{field} ({self.standing}): {self.meaning}. What to do: {self.hint}."


_RESTORE: Final = (
    "take a copy of the store as evidence, then restore the document from a backup, or make a new store from Kafka with"
    " `goodstrace replay rebuild`"
)
_REPAIR: Final = "`goodstrace fsck --repair` makes it again"
_ALARM: Final = "do not repair: keep the saved file and a copy of the store, and find out who wrote; it is what the log is there to show"

KINDS: Final[Mapping[str, Kind]] = {
    "log": Kind(
        Standing.TRUST,
        "a log that was asked for, or that a trusted key or saved checkpoint is of, is not in the store",
        "check --log, --vkeys and GOODSTRACE_DATABASE; if they are right the log was removed: restore a backup",
    ),
    "key": Kind(
        Standing.TRUST,
        "the key that the store names for the log, or its history of keys, is not the trusted one or not in order",
        "compare the `logs` document with the *.vkey file that you trust; restore the document if that is the right one",
    ),
    "document": Kind(
        Standing.SEALED,
        "a block's document is malformed, has fields that no block has, or repeats its header wrongly",
        _RESTORE,
    ),
    "header": Kind(Standing.SEALED, "a block's header is malformed", _RESTORE),
    "signature": Kind(
        Standing.SEALED, "a block's header is not signed by the key in force at its height", _RESTORE
    ),
    "chain": Kind(Standing.SEALED, "a block is missing, or does not follow the one before", _RESTORE),
    "kafka": Kind(
        Standing.SEALED, "the Kafka offsets of a block do not go on where the one before ended", _RESTORE
    ),
    "root": Kind(Standing.SEALED, "a block's leaf hashes do not give the root in its header", _RESTORE),
    "leaves": Kind(Standing.SEALED, "a block's leaf hashes are not whole", _RESTORE),
    "pack": Kind(
        Standing.SEALED,
        "records of a block are missing: a pack is gone, malformed, or holds too few or too many",
        _RESTORE,
    ),
    "entry": Kind(
        Standing.SEALED, "an entry's bytes are not those under the root, or not an entry's", _RESTORE
    ),
    "part": Kind(
        Standing.SEALED,
        "a part (its name, salt or content) is not what its entry commits to, missing, or one too many",
        _RESTORE,
    ),
    "tags": Kind(Standing.SEALED, "a record's tags are not those that its entry commits to", _RESTORE),
    "checkpoint": Kind(
        Standing.SEALED,
        "a checkpoint is missing, not signed by the log's key, or not of the size and root of the blocks",
        _RESTORE,
    ),
    "cosignature": Kind(
        Standing.SEALED,
        "a cosignature of a witness that the policy names is wrong",
        "ask the witness for a new one (the ledger does so at its next checkpoint), or restore the note from a backup",
    ),
    "stray": Kind(
        Standing.SEALED,
        "a document that belongs to no registered log, or to no place in its log",
        "find out where it came from, keep a copy, and remove it by hand: nothing reads it",
    ),
    "index": Kind(
        Standing.DERIVED, "records are not found by their tags, or are found by others' tags", _REPAIR
    ),
    "pack.row": Kind(
        Standing.DERIVED, "a pack's document repeats log, height, time or first index wrongly", _REPAIR
    ),
    "tile": Kind(
        Standing.DERIVED,
        "a tile is missing, is not what the blocks give, or is of no place in the tree",
        _REPAIR,
    ),
    "checkpoint.row": Kind(
        Standing.DERIVED, "a checkpoint's document repeats its signed note wrongly", _REPAIR
    ),
    "head": Kind(
        Standing.DERIVED,
        "the log's head is missing or malformed, or does not name the newest checkpoint",
        _REPAIR,
    ),
    "published": Kind(
        Standing.DERIVED,
        "what the head says is published is no checkpoint of the log, or lacks the policy's quorum",
        _REPAIR,
    ),
    "pinned": Kind(
        Standing.DERIVED,
        "a mark of `pins`, which says what is in the root log, is missing, malformed, or of no checkpoint",
        _REPAIR,
    ),
    "root-log": Kind(
        Standing.SEALED,
        "the root log has sealed another checkpoint or head block of a log than the store holds",
        _ALARM,
    ),
    "index-log": Kind(
        Standing.SEALED,
        "a leaf of the log `index` does not follow the one before, or the newest is not what the logs' entries give",
        "keep a copy: what is left out of the index can be proved to anybody, and answers under that leaf may lack it. Find out "
        "who wrote; a leaf that is right follows only in a log `index` that is begun anew",
    ),
    "index-run": Kind(
        Standing.DERIVED,
        "documents of the log `index`'s live runs, from which completeness is proved, are missing or wrong",
        _REPAIR,
    ),
    "rolled-back": Kind(Standing.TRUST, "a saved checkpoint is larger than the log is now", _ALARM),
    "rewritten": Kind(
        Standing.TRUST, "the log does not begin with what a saved checkpoint says it was", _ALARM
    ),
    "against": Kind(
        Standing.TRUST,
        "a saved checkpoint is not signed by a key of the log it names",
        "make sure that the file is a checkpoint of this installation; if it is, the log's key was exchanged",
    ),
    "broker": Kind(
        Standing.TRUST,
        "Kafka's cluster, topic or offsets are not those that the log was sealed from",
        "check KAFKA_BOOTSTRAP_SERVERS; if it is right the topic was made anew or lost records, and the ledger will not seal on",
    ),
}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something stored that is not what the log says: where it is, and what is wrong.

    `block` is a height, `index` an entry's; None where the fault is in no block, or in no single entry. `field` is one of
    KINDS.
    """

    log: str
    block: int | None = None
    index: int | None = None
    field: str
    problem: str

    @property
    def place(self) -> str:
        """Where it is, for people."""
        places = [self.log]
        if self.block is not None:
            places.append(f"block {self.block}")
        if self.index is not None:
            places.append(f"index {self.index}")
        return ", ".join([*places, self.field])


class Verdict(msgspec.Struct, kw_only=True):
    """What was checked of one log, and what was found.

    Attributes:
        blocks, entries: how many were checked; `resumed` of the entries in an earlier run.
        orphans: packs of commits cut off, which do no harm.
        root: hex, of the tree checked.
        saved: how many saved checkpoints it was compared with.
        pinned: of the root log: by log, how many checkpoints it has sealed, and the size of the newest.
        own: of the root log: whether it was seen to pin a block of this store, and not of one it was made anew from.
        own_sizes: of the root log: by log, the size up to which it was seen to pin blocks of this store.
        faults: the first MAX_FAULTS of each kind; `counts` has them all, by kind.
    """

    log: str
    blocks: int = 0
    entries: int = 0
    resumed: int = 0
    orphans: int = 0
    saved: int = 0
    root: str = ""
    pinned: dict[str, tuple[int, int]] = {}
    own: bool = False
    own_sizes: dict[str, int] = {}
    faults: list[Fault] = []
    counts: dict[str, int] = {}

    def found(
        self,
        field: str,
        problem: object,
        *,
        block: int | None = None,
        index: int | None = None,
        log: str | None = None,
    ) -> None:
        """Add a fault, of this log or of another one (which `store.merged` puts where it belongs)."""
        count = self.counts.get(field, 0) + 1
        self.counts[field] = count
        if count <= MAX_FAULTS:
            fault = Fault(log=log or self.log, block=block, index=index, field=field, problem=str(problem))
            self.faults.append(fault)

    def of_others(self) -> list[Fault]:
        """Take away the faults that are of other logs."""
        others = [fault for fault in self.faults if fault.log != self.log]
        self.faults = [fault for fault in self.faults if fault.log == self.log]
        for field in {fault.field for fault in others}:
            del self.counts[field]
            if left := sum(fault.field == field for fault in self.faults):
                self.counts[field] = left  # the root log pins itself where its key has changed
        return others

    def of(self, standing: Standing) -> dict[str, int]:
        """Count the faults of one standing, by kind."""
        return {field: count for field, count in self.counts.items() if KINDS[field].standing is standing}


def kinds_of(fields: Iterable[str]) -> dict[str, Kind]:
    """Give what each kind of fault that was found means, by its name, in order."""
    return {field: KINDS[field] for field in sorted(set(fields))}
