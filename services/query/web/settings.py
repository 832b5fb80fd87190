"""Settings of the web pages: `GOODSTRACE_QUERY_WEB_...`."""

import re
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from goodstrace.cosignature import CosignatureVerifier
from goodstrace.errors import PolicyError
from goodstrace.policy import Policy
from services.runtime.errors import SettingsError

_URL: Final = r"^(https?://[^\s?#@]+)?$"
_SERVICE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}=https?://[^\s?#@]+")


class WebSettings(BaseSettings):
    """How the pages answer.

    public_trace: whether who is not signed in sees the trace too, as far as merchants' policies make it public; else only the public face.
    looks_per_min: how many pages about goods one network (IPv4 /24, IPv6 /48) that is not signed in gets a minute, in bursts of as many.
    events_on_page: how many events stand on a page; others are on the next ones. depth: how many levels are shown without being asked for.
    timeout_s: how long a page may take. policy: a C2SP tlog-policy file, whose witnesses' cosignatures the browser checks, too; empty for none, and
    where it is not set that by which this installation publishes (GOODSTRACE_WITNESS_POLICY).

    complete: who gets proofs that nothing is left out of a page, and with them the index secret, without which no browser could check them: `local`
    (signed in on this machine, while no token for the index is set up: as over gRPC), `auditors`, `signed-in`, or `off`.

    audit: the audit service's gRPC target, which auditors' pages ask as the auditor; collector: the URL of the collector's HTTP port, which
    pages about rejections and registrations ask as who is signed in. services: whose readiness operators see, `name=http://host:port` of each
    one's port for metrics, with blanks between. prometheus: where this service asks for the backlog. grafana, prometheus_link: where operators' browsers
    are led to; without prometheus_link that is prometheus.
    neighbour_timeout_s: how long one of these may take. What is not set is said to be so on the pages. recall_timeout_s: how long a recall may
    take on a merchant's page, or as a sheet; what takes longer is for `goodstrace recall`.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_QUERY_WEB_")

    public_trace: bool = False
    looks_per_min: int = Field(60, ge=1, le=100_000)
    events_on_page: int = Field(40, ge=1, le=200)
    depth: int = Field(3, ge=1, le=20)
    timeout_s: float = Field(20, gt=0, le=600)
    policy: Path | None = None
    complete: Literal["local", "auditors", "signed-in", "off"] = "local"
    audit: str = ""
    collector: str = Field("", pattern=_URL)
    services: str = Field("", max_length=4096)
    grafana: str = Field("", pattern=_URL)
    prometheus: str = Field("", pattern=_URL)
    prometheus_link: str = Field("", pattern=_URL)
    neighbour_timeout_s: float = Field(5, gt=0, le=60)
    recall_timeout_s: float = Field(600, gt=0, le=3600)

    @field_validator("policy", mode="before")
    @classmethod
    def _none(cls, path: Any) -> Any:
        return path or None

    @field_validator("services")
    @classmethod
    def _named(cls, text: str) -> str:
        if not all(map(_SERVICE.fullmatch, text.split())):
            raise ValueError("name=http://host:port of each service, with blanks between")
        return text

    def dashboards(self) -> tuple[tuple[str, str, str], ...]:
        """List what operators are led to: its name, its address as their browsers reach it, empty for none, and the setting that says so."""
        prefix = str(self.model_config["env_prefix"])
        return (
            ("Grafana", self.grafana, f"{prefix}GRAFANA"),
            ("Prometheus", self.prometheus_link or self.prometheus, f"{prefix}PROMETHEUS_LINK"),
        )

    def ready_urls(self) -> tuple[tuple[str, str], ...]:
        """List the services with the address of each one's metrics and health."""
        pairs = (each.partition("=") for each in self.services.split())
        return tuple((name, url.rstrip("/")) for name, _, url in pairs)

    def witnesses(self) -> tuple[str, ...]:
        """Read the keys (vkeys) of the policy's witnesses. Raises: SettingsError where it cannot be read."""
        return tuple(each.vkey() for each in self.verifiers())

    def verifiers(self) -> tuple[CosignatureVerifier, ...]:
        """Read the keys of the policy's witnesses. Raises: SettingsError where it cannot be read."""
        if self.policy is None:
            return ()
        try:
            found = Policy.parse(self.policy.read_bytes())
        except (OSError, PolicyError) as error:
            raise SettingsError(f"GOODSTRACE_QUERY_WEB_POLICY: cannot read {self.policy}: {error}") from error
        return tuple(each.verifier for each in found.witnesses)
