"""Settings of the ledger: `GOODSTRACE_LEDGER_...`, `GOODSTRACE_ROOT_...`, `GOODSTRACE_COMPLETENESS_...`; when blocks are cut is `GOODSTRACE_SEAL_...`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LedgerSettings(BaseSettings):
    """Where the ledger shows its metrics and health."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_LEDGER_")

    metrics_port: int = Field(9102, ge=0, le=65535)


class RootSettings(BaseSettings):
    """How often the checkpoints of all logs are pinned in the root log."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_ROOT_")

    interval_ms: int = Field(1500, ge=10, le=600_000)


class CompletenessSettings(BaseSettings):
    """Whether the log `index` is kept, by which answers are proved to be complete, and how often it follows the root log.

    Runs that were merged are kept for `keep_s`: that long a proof may be asked for under an earlier leaf.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_COMPLETENESS_")

    enabled: bool = True
    interval_ms: int = Field(1500, ge=10, le=600_000)
    keep_s: float = Field(3600, ge=1, le=30 * 86_400)
