"""The witness's folder: its key, made once, and the memory that belongs to it.

`witness.key` holds the 32-byte seed as hex (mode 600), `witness.vkey` the public key and with it the name. A key without
its memory would sign what contradicts it, so the one is never made anew beside the other.
"""

import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from goodstrace.cosignature import CosignatureVerifier, Cosigner
from goodstrace.errors import NoteError
from services.runtime.files import create_whole
from services.witness.errors import WitnessKeyError
from services.witness.store import Store

_SEED_BYTES: Final = 32
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Folder:
    """A witness's folder and the names in it."""

    path: Path

    @property
    def key(self) -> Path:
        """The private key."""
        return self.path / "witness.key"

    @property
    def vkey(self) -> Path:
        """The public key."""
        return self.path / "witness.vkey"

    @property
    def database(self) -> Path:
        """What was cosigned."""
        return self.path / "witness.db"

    @property
    def index(self) -> Path:
        """What was verified of a log `index`."""
        return self.path / "index"

    @property
    def evidence(self) -> Path:
        """Checkpoints that contradict one another."""
        return self.path / "evidence"


def open_folder(folder: Folder, name: str | None) -> tuple[Cosigner, Store]:
    """Open a witness's folder; where it is new, make it with a key named `name`.

    Args:
        folder: made with mode 700.
        name: of the witness: a URL without its scheme. Needed for a new one only; else it must be the same.
    Raises: WitnessKeyError, with what to do; StoreError.
    """
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_open(folder.path)
        has_key = folder.key.exists()
        if has_key and not folder.database.exists():
            raise WitnessKeyError(
                f"{folder.key} is there, but not {folder.database}, which says what it has signed: a witness that forgot "
                "could sign a rollback. Bring the database back as it was last, or make a new witness in another folder"
            )
        store = Store(folder.database, create=not has_key)  # the key is made after it
        try:
            return _cosigner(folder, name, store), store
        except BaseException:
            store.close()
            raise
    except (OSError, NoteError) as error:
        raise WitnessKeyError(f"{folder.path}: {error}") from error


def _cosigner(folder: Folder, name: str | None, store: Store) -> Cosigner:
    if not folder.key.exists():
        if name is None:
            raise WitnessKeyError(f"there is no witness in {folder.path} yet: name it with --name")
        if store.sizes():
            raise WitnessKeyError(f"{folder.key} is gone, but {folder.database} is there: bring the key back")
        Cosigner(
            name, bytes(_SEED_BYTES)
        )  # refuses a name that a key cannot have, before anything is written
        create_whole(folder.key, (secrets.token_hex(_SEED_BYTES) + "\n").encode())
    _refuse_open(folder.key)
    public = CosignatureVerifier.parse(folder.vkey.read_text().strip()) if folder.vkey.exists() else None
    if name is None and public is None:
        raise WitnessKeyError(f"{folder.vkey} is gone: name the witness with --name")
    cosigner = Cosigner(name or (public.name if public else ""), _seed(folder.key))
    if public is None:
        create_whole(folder.vkey, (cosigner.verifier.vkey() + "\n").encode(), mode=0o644)
    elif public != cosigner.verifier:
        raise WitnessKeyError(f"{folder.vkey} is of another key or another name: {public.vkey()}")
    return cosigner


def _seed(path: Path) -> bytes:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        # Not chained: the text is a secret, and an error's message may be logged.
        raise WitnessKeyError(f"{path} is not {_SEED_BYTES} bytes as hex")
    return seed


def _refuse_open(path: Path) -> None:
    if path.stat().st_mode & _OTHERS:
        raise WitnessKeyError(f"{path} is open to other users: give the folder mode 700 and the key mode 600")
