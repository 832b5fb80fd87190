"""Settings of the query service: `GOODSTRACE_QUERY_...`, each with its limits."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class QuerySettings(BaseSettings):
    """How the query service serves.

    browse_timeout_s bounds the wait for Kafka's acknowledgement of a browse record; max_call_s a call whose caller gave no
    deadline, and every other one; page_bytes an answer; max_records what one trace may read; notice_s is how long health
    says NOT_SERVING before the port closes, drain_s how long running calls may take then.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_QUERY_")

    grpc_port: int = Field(50051, ge=0, le=65535)
    metrics_port: int = Field(9103, ge=0, le=65535)
    max_concurrent_calls: int = Field(256, ge=1, le=65536)
    max_call_s: float = Field(30, gt=0, le=600)
    browse_timeout_s: float = Field(5, gt=0, le=60)
    page_bytes: int = Field(3 * 1024 * 1024, ge=64 * 1024, le=32 * 1024 * 1024)
    max_records: int = Field(20_000, ge=1, le=1_000_000)
    notice_s: float = Field(0.5, ge=0, le=60)
    drain_s: float = Field(10, ge=0, le=300)
