"""When blocks are cut, and how keys are kept; the same for every service that seals."""

import shlex
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.sealing.core import MAX_BLOCK_ENTRIES, MAX_DOCUMENT_BYTES, Limits

MIN_PASSPHRASE_CHARS: Final = 16


class SealSettings(BaseSettings):
    """A block is cut at so many entries, so many bytes of records, or so long after its first record came.

    block_spacing_ms: in a busy log it is also cut no sooner than so long after the block before it (`core.Limits`); 0: as soon.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_SEAL_")

    block_entries: int = Field(8000, ge=1, le=MAX_BLOCK_ENTRIES)
    block_bytes: int = Field(MAX_DOCUMENT_BYTES, ge=1024, le=64 * 1024 * 1024)
    block_age_ms: int = Field(250, ge=1, le=60_000)
    block_spacing_ms: int = Field(600, ge=0, le=60_000)

    def limits(self) -> Limits:
        """Give them as the core takes them."""
        return Limits(self.block_entries, self.block_bytes, self.block_age_ms, self.block_spacing_ms)


class KeySettings(BaseSettings):
    """How the logs' private keys are kept: see docs/keys.md. Secrets show in no error and no `repr`."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_", hide_input_in_errors=True)

    key_passphrase: SecretStr | None = Field(None, min_length=MIN_PASSPHRASE_CHARS)
    key_passphrase_file: Path | None = None
    key_command: str = ""
    key_command_timeout_ms: int = Field(5000, ge=100, le=60_000)

    @field_validator("key_passphrase_file")
    @classmethod
    def _check_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and info.data.get("key_passphrase") is not None:
            raise ValueError("GOODSTRACE_KEY_PASSPHRASE is set too: give one of them")
        if path is not None and len(_line(path)) < MIN_PASSPHRASE_CHARS:
            raise ValueError(f"the passphrase in it has less than {MIN_PASSPHRASE_CHARS} characters")
        return path

    @field_validator("key_command")
    @classmethod
    def _check_command(cls, command: str) -> str:
        shlex.split(command)
        return command

    def passphrase(self) -> bytes | None:
        """Give the passphrase of encrypted keys."""
        if self.key_passphrase is not None:
            return self.key_passphrase.get_secret_value().encode()
        return _line(self.key_passphrase_file).encode() if self.key_passphrase_file is not None else None

    def command(self) -> list[str]:
        """Give the command that keeps the keys, with its first arguments; nothing where there is none."""
        return shlex.split(self.key_command)


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ValueError("cannot be read") from None
