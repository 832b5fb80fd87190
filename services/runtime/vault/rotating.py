"""Another key-encryption key in the place of all that were: what old copies of the database hold opens by nothing from then on.

A deleted key goes from the vault at once, and stays, wrapped, where the store keeps what was: in its oplog, its journal and its files until they are written
over, and in backups. The key that wrapped it opens it there. So that key is destroyed as well:

1. a new key is put on top of the file; everybody wraps under it, and the others still open;
2. all that is left in the vault is wrapped under it, and once more after a while, for what was being written in between;
3. the others are taken out of the file;
4. they are looked for once more, by what is remembered of them here: a process that was stopped for that long may have written.

A kill after any step leaves a file that opens all that is in the vault, and the whole is done by doing it again.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from goodstrace.file_lock import alone, lock_beside
from services.runtime.aead import NONCE_BYTES
from services.runtime.mongo import Database, translated
from services.runtime.vault.errors import VaultError
from services.runtime.vault.keys import FRESH_S, KEYS, NAMES, Vault
from services.runtime.vault.people import DAYS
from services.runtime.vault.ring_file import read_ring, write_ring
from services.runtime.vault.wrapping import KEY_BYTES, MAX_KEYS, KeyRing

SETTLE_S: Final = FRESH_S + 1.0
"""Longer than a write to the store may take."""
WRAPPED: Final = (KEYS, NAMES, DAYS)
_A_READ: Final = 500


async def rewrap(vault: Vault) -> int:
    """Wrap under the newest key-encryption key what is wrapped under an older one; tells how many. May be repeated at any time.

    Raises: VaultError where one does not open, UnavailableError.
    """
    count = 0
    for name in WRAPPED:
        collection = vault.database[name]
        while True:
            async with translated():
                older = await collection.find({"kek": {"$ne": vault.ring.newest}}).to_list(_A_READ)
            if not older:
                break
            for document in older:
                of = document["_id"]
                about = of.encode() if isinstance(of, str) else bytes(of)
                secret = vault.ring.unwrap(document, about)
                again = vault.ring.wrap(secret, about, os.urandom(NONCE_BYTES))
                async with translated():
                    await collection.update_one({"_id": of, "kek": document["kek"]}, {"$set": again})
                count += 1
    return count


async def rotate(
    database: Database,
    path: Path,
    *,
    settle: bool = True,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Put a new key-encryption key in the place of all in a file; tells how many keys of the vault are wrapped under it now.

    Args:
        database: of the vault. Services may run: they read the file again.
        path: the file, of which this process must be the owner.
        settle: wait for 31 s before the old ones go, for what is being written. Without, no service may run.
        pause: waits.
    Raises: VaultError where something in the vault opens by no key of the file: nothing is changed then; UnavailableError; OSError, ValueError.
    """
    path = _own(path)
    with alone(lock_beside(path)):
        ring = read_ring(path)
        await _check(database, ring)
        if len(ring.keys) == MAX_KEYS:
            ring = await _newest_alone(database, path, ring, settle=settle, pause=pause)
        ring = write_ring(path, (os.urandom(KEY_BYTES), *ring.keys))
        ring = await _newest_alone(database, path, ring, settle=settle, pause=pause)
        counts = []
        for name in WRAPPED:
            async with translated():
                counts.append(await database[name].count_documents({"kek": ring.newest}))
        return sum(counts)


def _own(path: Path) -> Path:
    """Give the file that a path leads to, so that a link stays one; it must be ours, as a new file in its place will be. Raises: VaultError, OSError."""
    found = path.resolve()
    if found.stat().st_uid != os.geteuid():
        raise VaultError(f"{found} is another user's, who could not read it then: run this as that user")
    return found


async def _newest_alone(
    database: Database,
    path: Path,
    ring: KeyRing,
    *,
    settle: bool,
    pause: Callable[[float], Awaitable[None]],
) -> KeyRing:
    """Wrap all under the newest key of a file, and leave it alone there."""
    vault = Vault(database, ring)
    await rewrap(vault)
    if settle:
        await pause(SETTLE_S)
        await rewrap(vault)
    left = write_ring(path, ring.keys[:1])
    await rewrap(vault)
    return left


async def _check(database: Database, ring: KeyRing) -> None:
    for name in WRAPPED:
        async with translated():
            under = set(map(str, await database[name].distinct("kek")))
        if not under <= ring.names:
            raise VaultError(
                f"{name} is wrapped under {sorted(under - ring.names)} too, which are not in GOODSTRACE_VAULT_KEY_FILE: put them back"
            )
