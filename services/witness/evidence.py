"""Keeping two checkpoints of one log that contradict one another: whoever holds the log's key can check them."""

from hashlib import sha256
from pathlib import Path
from typing import Final

from goodstrace.completeness.wrong_index import SUFFIX
from goodstrace.witnessing import Suspicion
from services.runtime.files import create_whole
from services.witness.store import origin_hash

MAX_KEPT: Final = 100
"""The most cases kept of one log and one suspicion: anybody can send public checkpoints with wrong proofs."""


class Evidence:
    """A folder with a pair of files for each case: `....cosigned.note` and `....offered.note`."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made with the first case."""
        self.folder = folder

    def keep(self, origin: str, suspicion: Suspicion, cosigned: str, offered: str) -> Path | None:
        """Write both signed notes; they are on disk when this returns.

        Returns: the offered note's file, perhaps of an earlier time; None where there are MAX_KEPT already.
        Raises: OSError.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        prefix = f"{suspicion}-{origin_hash(origin)[:16]}"
        case = f"{prefix}-{sha256(f'{cosigned}{offered}'.encode()).hexdigest()[:16]}"
        path = self.folder / f"{case}.offered.note"
        if not path.exists():
            if sum(1 for _ in self.folder.glob(f"{prefix}-*.offered.note")) >= MAX_KEPT:
                return None
            create_whole(self.folder / f"{case}.cosigned.note", cosigned.encode())
            create_whole(path, offered.encode())
        return path

    def cases(self) -> list[Path]:
        """List the offered notes that are kept, and the proofs of a wrong index."""
        return sorted([*self.folder.glob("*.offered.note"), *self.folder.glob(f"*{SUFFIX}")])
