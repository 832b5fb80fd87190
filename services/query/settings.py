"""Settings of the query service: `GOODSTRACE_QUERY_...`, each with its limits."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.query.webhooks.guard import Reach
from services.runtime.errors import SettingsError
from services.sealing.front import FrontSettings


class QuerySettings(FrontSettings):
    """How the query service serves.

    A trace stops at `max_events` events, or as many nodes, and says so. At most `max_walks` traces are walked at a time,
    since each may hold tens of megabytes; the others wait for their turn. Streams, of which `max_streams` are answered at a time, have
    turns of their own; one whose caller does not read a message for `write_s` seconds ends. Of streams and of subscriptions one caller has
    `caller_share` at the most, and at least one. What came of a trace that has more pages is kept for them: of the last ones about `keep_mib` MiB in all. A recall stops at `max_goods` goods, for each of which it remembers some 100 bytes. At most `max_subscriptions` are open at a time;
    what is new for them is asked for each `subscription_poll_ms`, once for all.

    `visibility` is `enforced` (each sees what merchants' policies allow: what it is without a setting) or `open` (whoever is signed in sees
    everything: for a closed circle, and what it is where accounts are off).

    `webhooks` says where EPCIS subscriptions may be sent to: "off" has none, "loopback" to this machine only, "https" to public
    addresses only. Who may make one: docs/access.md. An attempt may take `webhook_timeout_s`; where it fails
    the next one waits at most `webhook_longest_wait_s`, and after `webhook_give_up_s` without a success it is disabled.
    There are at most `max_webhooks` of them, `max_webhooks_per_owner` of one owner, and as many named queries.

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
    webhooks: Reach = Reach.OFF
    max_webhooks: int = Field(100, ge=1, le=10_000)
    max_webhooks_per_owner: int = Field(20, ge=1, le=10_000)
    webhook_timeout_s: float = Field(10, gt=0, le=60)
    webhook_longest_wait_s: float = Field(3600, gt=0, le=86_400)
    webhook_give_up_s: float = Field(5 * 86_400, gt=0, le=30 * 86_400)
    max_events: int = Field(10_000, ge=1, le=100_000)
    visibility: Literal["open", "enforced"] | None = None
    keep_mib: int = Field(64, ge=0, le=16_384)
    max_streams: int = Field(8, ge=1, le=1024)
    caller_share: float = Field(0.25, gt=0, le=1)
    write_s: float = Field(30, gt=0, le=3600)
    max_goods: int = Field(1_000_000, ge=1, le=10_000_000)
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
