"""When blocks are cut; the same for every service that seals."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.sealing.core import MAX_BLOCK_ENTRIES, MAX_DOCUMENT_BYTES, Limits


class SealSettings(BaseSettings):
    """A block is cut at so many entries, so many bytes of records, or so long after its first record came."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_SEAL_")

    block_entries: int = Field(2000, ge=1, le=MAX_BLOCK_ENTRIES)
    block_bytes: int = Field(MAX_DOCUMENT_BYTES, ge=1024, le=64 * 1024 * 1024)
    block_age_ms: int = Field(250, ge=1, le=60_000)

    def limits(self) -> Limits:
        """Give them as the core takes them."""
        return Limits(self.block_entries, self.block_bytes, self.block_age_ms)
