"""What the witness remembers, in one SQLite file: the newest cosigned checkpoint of each log, keys trusted on first use, changes of keys.

Several processes may share the file. Each change is one transaction that holds the write lock from its first read, and
it is on disk when a method returns. SQLite's rollback journal with synchronous=EXTRA also syncs the journal's removal:
with FULL, a power failure right after a commit could bring the journal back and with it the older size.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from goodstrace import key_changes
from goodstrace.errors import KeyChangeError
from goodstrace.key_changes import KeyChange
from goodstrace.witnessing import Cosigned
from services.witness.errors import StoreError

_VERSION: Final = 2
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY NOT NULL,
    origin_hash TEXT UNIQUE NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    note TEXT NOT NULL,
    time INTEGER NOT NULL CHECK (time > 0)
);
CREATE TABLE IF NOT EXISTS trusted (origin TEXT PRIMARY KEY NOT NULL, vkey TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS changed (origin TEXT PRIMARY KEY NOT NULL, statements TEXT NOT NULL);
PRAGMA user_version = {_VERSION};
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest cosigned checkpoint of a log: `note` with the log's signatures only, and the cosignature's time."""

    cosigned: Cosigned
    note: str
    time_s: int


class Store:
    """The file. Its methods block, and one thread at a time may be in them. Raises: StoreError from all of them."""

    def __init__(self, path: Path, busy_timeout_s: float = 5.0, *, create: bool = True) -> None:
        """Open the file, or make it where `create` is; another process that writes is waited for at most `busy_timeout_s`."""
        with _translated():
            self._database = sqlite3.connect(
                path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA synchronous = EXTRA")
            version = int(self._database.execute("PRAGMA user_version").fetchone()[0])
            if not 0 <= version <= _VERSION:
                raise StoreError(f"{path} is of version {version}, later than {_VERSION}")
            if version == 0 and not create:
                raise StoreError(
                    f"{path} is empty, though the witness has a key: it forgot what it signed, and could sign a rollback. "
                    "Bring the database back as it was last, or make a new witness in another folder"
                )
            if version < _VERSION:  # what a later version adds are tables
                self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def cosigned(self, origin: str) -> Cosigned:
        """Tell the size and root that were cosigned last of a log; `Cosigned()` where none was."""
        with _translated():
            row = self._database.execute(
                "SELECT size, root FROM cosigned WHERE origin = ?", (origin,)
            ).fetchone()
        return Cosigned(*row) if row else Cosigned()

    def advance(self, origin: str, before: Cosigned, after: Cosigned, note: str, now_s: int) -> int | None:
        """Remember that `after` is cosigned, durably, if `before` is still what was cosigned last.

        Returns: the time for the cosignature: `now_s`, or that of the log's last cosignature where the clock went back;
            None where `before` does not hold any more, and nothing was changed.
        """
        with _translated(), self._transaction():
            row = self._database.execute(
                "SELECT size, root, time FROM cosigned WHERE origin = ?", (origin,)
            ).fetchone()
            if (Cosigned(row[0], row[1]) if row else Cosigned()) != before:
                return None
            time_s = max(now_s, row[2] if row else 1)
            self._database.execute(
                "INSERT INTO cosigned VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE SET "
                "size = excluded.size, root = excluded.root, note = excluded.note, time = excluded.time",
                (origin, origin_hash(origin), after.size, after.root, note, time_s),
            )
        return time_s

    def latest(self, hash_: str) -> Latest | None:
        """Find the newest cosigned checkpoint of the log whose origin has this SHA-256, in lowercase hex."""
        with _translated():
            row = self._database.execute(
                "SELECT size, root, note, time FROM cosigned WHERE origin_hash = ?", (hash_,)
            ).fetchone()
        return Latest(Cosigned(row[0], row[1]), row[2], row[3]) if row else None

    def sizes(self) -> dict[str, int]:
        """List what was cosigned: the size by origin."""
        with _translated():
            return dict(
                self._database.execute("SELECT origin, size FROM cosigned ORDER BY origin").fetchall()
            )

    def trust(self, origin: str, vkey: str) -> str:
        """Trust a log's key if none is trusted yet for the origin; return the one that is."""
        with _translated(), self._transaction():
            self._database.execute("INSERT OR IGNORE INTO trusted VALUES (?, ?)", (origin, vkey))
            row = self._database.execute("SELECT vkey FROM trusted WHERE origin = ?", (origin,)).fetchone()
        return str(row[0])

    def trusted(self) -> list[str]:
        """List the vkeys that were trusted on first use."""
        with _translated():
            return [row[0] for row in self._database.execute("SELECT vkey FROM trusted ORDER BY origin")]

    def follow(self, origin: str, changes: Sequence[KeyChange]) -> tuple[KeyChange, ...]:
        """Remember changes of a log's key, which were verified, together with those that are known; return all.

        Raises: KeyChangeError where they contradict what is known.
        """
        with _translated(), self._transaction():
            row = self._database.execute(
                "SELECT statements FROM changed WHERE origin = ?", (origin,)
            ).fetchone()
            known = _changes(row[0]) if row else ()
            joined = key_changes.joined(known, changes)
            if joined is None:
                raise KeyChangeError(f"other changes of the key of {origin} are known")
            key_changes.verify_succession(joined)
            statements = b"\n".join(map(key_changes.statement, joined)).decode()
            self._database.execute("INSERT OR REPLACE INTO changed VALUES (?, ?)", (origin, statements))
        return joined

    def changed(self) -> dict[str, tuple[KeyChange, ...]]:
        """List the changes of keys that were followed, by origin, oldest first. Raises: KeyChangeError where one is damaged."""
        with _translated():
            rows = self._database.execute("SELECT origin, statements FROM changed").fetchall()
        return {origin: _changes(statements) for origin, statements in rows}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:  # an error, also one of the commit itself
                self._database.execute("ROLLBACK")


def _changes(statements: str) -> tuple[KeyChange, ...]:
    return tuple(map(key_changes.parse, statements.splitlines()))


def origin_hash(origin: str) -> str:
    """Give the name under which a witness shows a log: SHA-256 of its origin, lowercase hex. Source: c2sp.org/tlog-witness."""
    return sha256(origin.encode()).hexdigest()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{type(error).__name__}: {error}") from error
