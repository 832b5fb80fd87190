"""Settings of the audit service: `GOODSTRACE_AUDIT_...`, each with its limits."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.sealing.front import FrontSettings


class AuditSettings(FrontSettings):
    """How the audit service serves."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_AUDIT_")

    grpc_port: int = Field(50052, ge=0, le=65535)
    metrics_port: int = Field(9104, ge=0, le=65535)
    remember_packs_mib: int = Field(64, ge=0, le=65536)  # looks are listed newest first, and seldom again
