"""Settings of the query service: `GOODSTRACE_QUERY_...`, each with its limits."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime.errors import SettingsError
from services.sealing.front import FrontSettings


class QuerySettings(FrontSettings):
    """How the query service serves.

    A trace stops at `max_events` events, or as many nodes, and says so. At most `max_walks` traces are walked at a time,
    since each may hold tens of megabytes; the others wait for their turn. At most `max_subscriptions` are open at a time;
    what is new for them is asked for each `subscription_poll_ms`, once for all.

    The public logs are served on `http_port` (0 for any), to `http_connections` at a time, each request within
    `http_timeout_s`. `public_url` is that port as clients see it, where a proxy stands before it: the urls of `/logs`
    begin with it.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_QUERY_")

    grpc_port: int = Field(50051, ge=0, le=65535)
    metrics_port: int = Field(9103, ge=0, le=65535)
    max_walks: int = Field(16, ge=1, le=1024)
    max_subscriptions: int = Field(64, ge=1, le=1024)
    subscription_poll_ms: int = Field(250, ge=20, le=60_000)
    max_events: int = Field(10_000, ge=1, le=100_000)
    http_port: int = Field(8081, ge=0, le=65535)
    http_connections: int = Field(512, ge=1, le=65536)
    http_timeout_s: float = Field(10, gt=0, le=600)
    public_url: str = Field("", pattern=r"^(https?://[^/\s?#]+(/[^\s?#]*[^/\s?#])?)?$")


class IndexAccessSettings(BaseSettings):
    """Who gets the index secret, and the tags of entries: who shows the token in this file.

    Without a file only callers on the same machine do: set one up where a proxy on this machine lets others in.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_")

    index_token_file: Path | None = None

    def token(self) -> str | None:
        """Read the token; None where no file is named. Raises: SettingsError where it cannot be read, or is empty."""
        if self.index_token_file is None:
            return None
        try:
            token = self.index_token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read {self.index_token_file}: {error}") from error
        if not token:
            raise SettingsError(f"{self.index_token_file} is empty")
        return token
