"""Settings of the ledger: `GOODSTRACE_LEDGER_...`; when blocks are cut is `GOODSTRACE_SEAL_...`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LedgerSettings(BaseSettings):
    """Where the ledger shows its metrics and health."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_LEDGER_")

    metrics_port: int = Field(9102, ge=0, le=65535)
