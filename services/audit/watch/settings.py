"""Settings of the watch: `GOODSTRACE_WATCH_...`, each with its limits."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.audit.watch.rules import BUILT_IN


class WatchSettings(BaseSettings):
    """How a worker of the watch works.

    data_dir: where its RocksDB tables are; each worker has one of its own, and may lose it: the changelog makes it again. rules: the file of rules.
    session_s: how long the partitions of a killed worker wait until another one takes them; one that is started again under the same
    GOODSTRACE_INSTANCE gets its own back at once. batch_records and batch_s: so many records, or so long, make a batch. commit_s: how often offsets are committed:
    what came since is counted again after a kill, and skipped. retention_days: so long alerts about users, and their statistics, are kept; the vault, which keeps
    as long what links pseudonyms with people, goes by the same setting.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_WATCH_")

    metrics_port: int = Field(9105, ge=0, le=65535)
    data_dir: Path = Path("run/watch")
    rules: Path = BUILT_IN
    session_s: float = Field(10, ge=6, le=300)
    batch_records: int = Field(500, ge=1, le=5000)
    batch_s: float = Field(0.2, ge=0.01, le=10)
    commit_s: float = Field(1, ge=0.1, le=60)
    retention_days: int = Field(2, ge=1, le=30)
    store_mib: int = Field(
        16, ge=4, le=4096, description="RocksDB's cache, and its write buffer, of each partition"
    )
