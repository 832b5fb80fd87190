"""Settings of the vault, the same for every service that records looks."""

from pathlib import Path
from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_SUFFIX: Final = "_vault"


class VaultSettings(BaseSettings):
    """Where the vault is.

    database: a MongoDB database of its own, so that it is backed up apart and its backups live short; by default the services' one with
    "_vault" after it. key_file: the key-encryption keys, one of 64 hexadecimal digits a line, the newest first: it wraps, the others open what is not
    wrapped again yet. retention_days: after so many days a day's pseudonyms are deleted, and their key.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_VAULT_", populate_by_name=True)

    database: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,63}$")
    key_file: Path = Path("run/keys/vault-keys")
    retention_days: int = Field(default=2, ge=1, le=30, validation_alias="GOODSTRACE_WATCH_RETENTION_DAYS")

    def database_beside(self, database: str) -> str:
        """Name the vault's database where the services' own is `database`."""
        return self.database or database + _SUFFIX
