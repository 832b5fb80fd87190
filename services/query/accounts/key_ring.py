"""The folder of keys that sign access tokens: one private file each, mode 600, and `jwks.json` of the public ones.

Commands change the folder, running query services read it again every two seconds. They write `jwks.json` as well, when a key's time has come
or gone; each writes the same, whole.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from services.query.accounts.errors import KeysError, ReadOnlyError
from services.query.accounts.metrics import LoginMetrics
from services.query.accounts.signing_keys import (
    PUBLISHED_MS,
    SigningKey,
    State,
    key_set,
    new_key,
    signing,
    states,
)
from services.runtime.access.settings import AccessSettings, LoginSettings
from services.runtime.files import create_whole, replace_whole
from services.runtime.settings import load

JWKS: Final = "jwks.json"
REREAD_S: Final = 2.0
MAX_KEYS: Final = 20
_SUFFIX: Final = ".key"


class KeyFiles:
    """The folder."""

    def __init__(self, folder: Path, tokens_last_s: int, jwks: Path | None = None) -> None:
        """Use `folder`; access tokens last so long. The public keys go to `jwks`, or beside the others."""
        self._folder = folder
        self._jwks = jwks or folder / JWKS
        self._tokens_last_ms = tokens_last_s * 1000

    def read(self) -> list[SigningKey]:
        """Read all keys. Raises: KeysError."""
        try:
            paths = sorted(self._folder.glob(f"*{_SUFFIX}"))[:MAX_KEYS]
            return [msgspec.json.decode(path.read_bytes(), type=SigningKey) for path in paths]
        except (OSError, msgspec.MsgspecError) as error:  # the text of the latter tells where, never what
            raise KeysError(f"{self._folder}: {type(error).__name__}: {error}") from None

    def make_first(self, now_ms: int) -> bool:
        """Make a key that signs at once where there is none; False where there is one. Raises: KeysError."""
        keys = self.read() if self._folder.exists() else []
        if not keys:
            self._write(new_key(now_ms, now_ms))
        self.publish(now_ms)
        return not keys

    def rotate(self, now_ms: int) -> SigningKey:
        """Make the next key, unless there is one already, and publish it; the first one signs at once. Raises: KeysError."""
        keys = self.read()
        for key in keys:
            if key.signs_from_ms > now_ms:
                return key
        # Where nothing signs yet nobody goes by another key set, and a service without a key that signs does not start.
        key = new_key(now_ms, now_ms + (PUBLISHED_MS if keys else 0))
        self._write(key)
        self.publish(now_ms)
        return key

    def retire(self, now_ms: int) -> list[str]:
        """Remove the keys whose last token has ended; gives their IDs. Raises: KeysError."""
        gone = [kid for kid, state in self.states(now_ms).items() if state is State.ENDED]
        for kid in gone:
            self._remove(kid)
        self.publish(now_ms)
        return gone

    def revoke(self, kid: str, now_ms: int) -> SigningKey:
        """Remove a key at once, with all tokens that it has signed; gives the one that signs from now on. Raises: KeysError."""
        keys = {key.kid: key for key in self.read()}
        if kid not in keys:
            raise KeysError(f"there is no key {kid}; see: goodstrace login-keys list")
        rest = [key for key in keys.values() if key.kid != kid]
        current = signing(rest, now_ms)
        if current is None or signing(list(keys.values()), now_ms) == keys[kid]:
            # A key that had been replaced shall not sign again: the next one begins now, or a new one.
            following = next((key for key in rest if key.signs_from_ms > now_ms), None)
            current = msgspec.structs.replace(following or new_key(now_ms, now_ms), signs_from_ms=now_ms)
            self._write(current)
        self._remove(kid)
        self.publish(now_ms)
        return current

    def states(self, now_ms: int) -> dict[str, State]:
        """Tell what each key is, oldest first. Raises: KeysError."""
        return states(self.read(), now_ms, self._tokens_last_ms)

    def key_set(self, keys: list[SigningKey], now_ms: int) -> bytes:
        """Give the key set to be published."""
        return key_set(keys, now_ms, self._tokens_last_ms)

    def publish(self, now_ms: int) -> bytes:
        """Write `jwks.json` where it says something else; gives it. Raises: KeysError, which is ReadOnlyError where its folder is read-only."""
        wanted = self.key_set(self.read(), now_ms)
        path = self._jwks
        try:
            if path.exists() and path.read_bytes() == wanted:
                return wanted
        except OSError as error:
            raise KeysError(f"cannot read {path}: {error.strerror}") from error
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace_whole(path, wanted, mode=0o644)
        except OSError as error:
            if error.errno == errno.EROFS or (
                path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK)
            ):
                raise ReadOnlyError(path, wanted) from error
            raise KeysError(f"cannot write {path}: {error.strerror}") from error
        return wanted

    def _write(self, key: SigningKey) -> None:
        path = self._folder / f"{key.kid}{_SUFFIX}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not create_whole(path, msgspec.json.encode(key)):
                replace_whole(path, msgspec.json.encode(key), mode=0o600)
        except OSError as error:
            raise KeysError(f"cannot write {path}: {error.strerror}") from error

    def _remove(self, kid: str) -> None:
        try:
            (self._folder / f"{kid}{_SUFFIX}").unlink(missing_ok=True)
        except OSError as error:
            raise KeysError(f"cannot remove the key {kid}: {error.strerror}") from error


def configured_files() -> KeyFiles:
    """Give the folder that the environment names; the public keys go where the other services look for them, if that is a path."""
    settings, place = load(LoginSettings), load(AccessSettings).accounts_jwks
    is_path = not place.startswith(("https:", "http:"))
    return KeyFiles(settings.key_dir, settings.access_s, Path(place) if is_path else None)


class KeyRing:
    """The keys as a running service has them."""

    def __init__(
        self,
        files: KeyFiles,
        now_ms: Callable[[], int],
        metrics: LoginMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Read the keys. Raises: KeysError where there is none."""
        self._files, self._now_ms = files, now_ms
        self._metrics, self._log = metrics, log
        self._told = b""
        self._keys = files.read()
        if signing(self._keys, now_ms()) is None:
            raise KeysError(
                "there is no key to sign with; make it with: python -m services.runtime.provision"
            )
        self._publish()

    def current(self) -> SigningKey:
        """Give the key that signs now."""
        key = signing(self._keys, self._now_ms())
        assert key is not None, "a key that has begun to sign does not end by itself"
        return key

    def key_set(self) -> bytes:
        """Give the public keys as they are published now."""
        return self._files.key_set(self._keys, self._now_ms())

    async def run(self, stop: asyncio.Event) -> None:
        """Read the keys again and again until `stop`."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(REREAD_S):
                    await stop.wait()
            except TimeoutError:
                await asyncio.to_thread(self.read_again)

    def read_again(self) -> None:
        """Take up what has changed in the folder; what cannot be read leaves the keys as they were."""
        try:
            keys = self._files.read()
        except KeysError as error:
            self._failed(error)
            return
        if signing(keys, self._now_ms()) is None:
            self._failed(KeysError("no key is left to sign with"))
            return
        if {key.kid for key in keys} != {key.kid for key in self._keys}:
            self._log.info("signing keys changed", keys=[key.kid for key in keys])
        self._keys = keys
        self._publish()

    def _publish(self) -> None:
        try:
            self._files.publish(self._now_ms())
            self._told = b""
        except ReadOnlyError as error:
            # A ConfigMap, say: whoever changes the keys there puts the key set there, too, and no attempt of ours would help.
            if error.wanted != self._told:
                self._told = error.wanted
                self._log.warning("signing keys", cause=str(error), wanted=error.wanted.decode())
        except KeysError as error:
            self._failed(error)

    def _failed(self, error: KeysError) -> None:
        self._metrics.key_failures.inc()
        self._log.error("signing keys", cause=str(error))
