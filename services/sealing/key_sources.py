"""Where the logs' keys come from: a command that keeps them, the environment, or files of a folder.

For each log the first of these that has its key counts: `GOODSTRACE_KEY_COMMAND` (then it is asked for every log);
`GOODSTRACE_LOG_KEY_GOODS_0` for goods/0, with `..._NEXT` for the key that shall follow, each a seed as hex or the path of a
file as services.sealing.key_text has it; the folder `GOODSTRACE_KEY_DIR`.
"""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from goodstrace.note import Signer, SigningKey
from services.runtime.settings import LogSettings, load
from services.sealing import key_text
from services.sealing.errors import LogKeyError
from services.sealing.key_command import CommandKeys, KeyCommand
from services.sealing.keys import KeyFolder
from services.sealing.ports import Keys
from services.sealing.settings import KeySettings
from services.sealing.values import LogInfo

PREFIX: Final = "GOODSTRACE_LOG_KEY_"
NEXT: Final = "_NEXT"
_SEED: Final = re.compile(r"[0-9a-fA-F]{64}\Z")
_LOG: Final = structlog.get_logger()


class EnvironmentKeys:
    """Keys handed in by environment variables; the keys of logs without one come from elsewhere."""

    def __init__(self, otherwise: Keys, environment: Mapping[str, str], passphrase: bytes | None) -> None:
        """Look into `environment` first."""
        self._otherwise = otherwise
        self._environment = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        self._passphrase = passphrase

    def find(self, log: str, origin: str, *, create: bool) -> Sequence[SigningKey]:
        """See Keys. Raises: LogKeyError, which names the variable and not what it says."""
        names = [name for name in (variable(log), variable(log) + NEXT) if name in self._environment]
        if not names:
            return self._otherwise.find(log, origin, create=create)
        return [Signer(origin, self._seed(name)) for name in names]

    def may_have_next(self, log: str) -> bool:
        """See Keys: a process's environment stays as it is, a next key in it is noticed when the log is taken up."""
        return variable(log) not in self._environment and self._otherwise.may_have_next(log)

    def settle(self, info: LogInfo) -> None:
        """See Keys. What is handed in is not ours to destroy: a log line says what to do."""
        name = variable(info.name)
        if name not in self._environment:
            self._otherwise.settle(info)
        elif name + NEXT in self._environment and self._vkey(name + NEXT, info) == info.vkey:
            _LOG.warning("key changed: move the next key into the variable of the old one", variable=name)

    def _vkey(self, name: str, info: LogInfo) -> str:
        return Signer(info.origin, self._seed(name)).verifier.vkey()

    def _seed(self, name: str) -> bytes:
        value = self._environment[name].strip()
        if _SEED.match(value):
            return bytes.fromhex(value)
        path = Path(value)
        # What was given may be a mistyped secret, so neither it nor an error that shows it may be told.
        try:
            if path.stat().st_mode & stat.S_IRWXO:
                raise LogKeyError(f"the file named by {name} is open to other users: give it mode 600")
            with path.open("rb") as file:
                text = file.read(key_text.MAX_TEXT_BYTES)
        except (OSError, ValueError):
            raise LogKeyError(
                f"{name} is neither a seed of 64 hex digits nor a file that can be read"
            ) from None
        return key_text.decode(text, self._passphrase, f"the file named by {name}")


def variable(log: str) -> str:
    """Name the environment variable of a log's key: GOODSTRACE_LOG_KEY_GOODS_0 for goods/0."""
    return PREFIX + re.sub(r"[^A-Z0-9]", "_", log.upper())


def key_folder(folder: Path | None = None) -> KeyFolder:
    """Give the folder of key files as the settings say, or another one. Exits with 2 where a setting is wrong."""
    return KeyFolder(folder or load(LogSettings).key_dir, load(KeySettings).passphrase())


def configured_keys() -> Keys:
    """Give the logs' keys as the settings say. Exits with 2 as `load` does."""
    settings = load(KeySettings)
    if settings.key_command:
        return CommandKeys(KeyCommand(settings.command(), settings.key_command_timeout_ms / 1000))
    return EnvironmentKeys(key_folder(), os.environ, settings.passphrase())
